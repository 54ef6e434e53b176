package store

// The heart of the conformance suite: the store against the model, under random commands in random batches, with flushes, restarts,
// crashes and snapshots between them. Any engine under the store must pass it.

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// machine is a store under test, with the log it was given.
type machine struct {
	t     *rapid.T
	fresh func() disk
	disk  disk
	store *Store
	log   []rpc.Entry
	now   *model // after all of the log
	feed  *mirror
}

func newMachine(t *rapid.T, fresh func() disk) *machine {
	m := &machine{t: t, fresh: fresh, disk: fresh(), now: newModel()}
	m.open()
	return m
}

func (m *machine) open() {
	s, err := Open(m.disk.options())
	require.NoError(m.t, err)
	m.t.Cleanup(func() { _ = s.Close() }) // also when rapid gives up a history midway
	require.Equal(m.t, s.Applied().Index, s.Durable(), "what a store opens with is durable")
	m.store = s
	m.feed = newMirror(m.t, m.modelAt(s.Applied().Index))
	s.Follow(m.feed.follow)
}

// modelAt is what the model says after the log's first entries.
func (m *machine) modelAt(index rpc.Index) *model {
	at := newModel()
	for i := range m.log[:index] {
		m.follow(at, &m.log[i])
	}
	return at
}

func newModel() *model { return &model{buckets: map[string]*modelBucket{}} }

// follow has a model apply an entry.
func (m *machine) follow(at *model, e *rpc.Entry) any {
	if e.Kind != rpc.EntryCommand {
		at.index, at.time = e.Index, max(at.time, e.Time)
		return nil
	}
	c, err := command.Decode(e.Data)
	require.NoError(m.t, err)
	return at.apply(c, e.Index, e.Time)
}

// apply draws a batch, applies it, and compares each result with the model's.
func (m *machine) apply(*rapid.T) {
	count := rapid.IntRange(1, 12).Draw(m.t, "entries")
	var want []any
	at := max(m.now.time, 1) // no log has an entry of the time 0
	for range count {
		index := rpc.Index(len(m.log) + 1)
		at += rapid.SampledFrom([]int64{0, 1000, 1000, int64(time.Second), int64(3 * time.Second)}).Draw(m.t, "passed")
		e := rpc.Entry{Index: index, Term: 1 + rpc.Term(len(m.log)/20), Kind: rpc.EntryNoop, Time: at}
		switch rapid.IntRange(0, 19).Draw(m.t, "kind") {
		case 0:
		case 1:
			e.Kind, e.Data = rpc.EntryConfiguration, []byte("a membership change")
		default:
			e.Kind, e.Data = rpc.EntryCommand, m.draw().Encode()
		}
		want = append(want, m.follow(m.now, &e))
		m.log = append(m.log, e)
	}
	batch := m.log[len(m.log)-count:]
	got, err := m.store.Apply(batch)
	require.NoError(m.t, err)
	require.Equal(m.t, want, got)
	require.Equal(m.t, batch[count-1].ID(), m.store.Applied())
	require.Equal(m.t, batch[count-1].Index, m.feed.at)
}

func (m *machine) replay() {
	for from := int(m.store.Applied().Index); from < len(m.log); {
		to := min(len(m.log), from+rapid.IntRange(1, 30).Draw(m.t, "replayed"))
		_, err := m.store.Apply(m.log[from:to])
		require.NoError(m.t, err)
		from = to
	}
}

func (m *machine) flush(*rapid.T) {
	require.NoError(m.t, m.store.Flush())
	require.Equal(m.t, m.store.Applied().Index, m.store.Durable())
}

func (m *machine) restart(*rapid.T) {
	require.NoError(m.t, m.store.Close())
	m.open()
	require.EqualValues(m.t, len(m.log), m.store.Applied().Index, "a clean stop replays nothing")
}

// crash loses what is not synced, or a part of it, and checks that what is left is a whole prefix (K56).
func (m *machine) crash(*rapid.T) {
	durable := m.store.Durable()
	kept := rapid.SampledFrom([]int{0, 50, 100}).Draw(m.t, "kept percent")
	seed := rapid.Uint64().Draw(m.t, "seed")
	left := m.disk.crash(kept, seed)
	require.NoError(m.t, m.store.Close())
	m.disk = left
	m.open()
	at := m.store.Applied().Index
	require.GreaterOrEqual(m.t, at, durable)
	require.LessOrEqual(m.t, int(at), len(m.log))
	m.modelAt(at).requireSame(m.t, m.store)
	m.replay()
}

// restore moves the state to another store, which had some of the log or none of it (I13).
func (m *machine) restore(*rapid.T) {
	stream := m.stream()
	other := newMachine(m.t, m.fresh)
	other.log, other.now = m.log, m.now
	if had := rapid.IntRange(0, len(m.log)).Draw(m.t, "had"); had > 0 {
		_, err := other.store.Apply(m.log[:had])
		require.NoError(m.t, err)
	}
	require.NoError(m.t, other.store.Restore(bytes.NewReader(stream)))
	require.True(m.t, other.feed.reset)
	*other.feed = *newMirror(m.t, m.now)
	require.Equal(m.t, m.store.Applied(), other.store.Applied())
	require.Equal(m.t, m.hash(), other.hash())
	require.NoError(m.t, m.store.Close())
	*m = *other
}

func (m *machine) stream() []byte {
	snap, err := m.store.Snapshot()
	require.NoError(m.t, err)
	var stream bytes.Buffer
	_, err = snap.WriteTo(&stream)
	require.NoError(m.t, err)
	require.NoError(m.t, snap.Close())
	_, _, err = Inspect(bytes.NewReader(stream.Bytes()), nil, nil)
	require.NoError(m.t, err)
	return stream.Bytes()
}

func (m *machine) hash() [sha256.Size]byte {
	at, sum, err := m.store.StateHash()
	require.NoError(m.t, err)
	require.Equal(m.t, m.store.Applied(), at)
	return sum
}

func (m *machine) check(*rapid.T) {
	m.now.requireSame(m.t, m.store)
	m.feed.requireSame(m.t, m.now)
}

// mirror is what a follower knows from the feed alone.
type mirror struct {
	t         require.TestingT
	at        rpc.Index
	reset     bool
	buckets   map[uint64]string
	settings  map[uint64]command.Settings
	entries   map[uint64]map[uint64]Entry
	consumers map[string]Consumer
}

func newMirror(t require.TestingT, m *model) *mirror {
	f := &mirror{
		t: t, at: m.index, buckets: map[uint64]string{}, settings: map[uint64]command.Settings{}, entries: map[uint64]map[uint64]Entry{},
		consumers: map[string]Consumer{},
	}
	for name, b := range m.buckets {
		f.buckets[b.incarnation], f.settings[b.incarnation], f.entries[b.incarnation] = name, b.settings, map[uint64]Entry{}
		for _, e := range b.all() {
			f.entries[b.incarnation][e.Sequence] = e
		}
		for _, c := range b.consumers {
			f.consumers[name+" "+c.Name] = c
		}
	}
	return f
}

func (f *mirror) follow(b Batch) {
	require.Equal(f.t, b.Reset, len(b.Events) == 0 && b.Reset)
	require.GreaterOrEqual(f.t, b.At, f.at)
	f.at, f.reset = b.At, b.Reset
	for _, e := range b.Events {
		f.take(e)
	}
}

func (f *mirror) take(e Event) {
	if e.Kind != BucketAdded {
		require.Equal(f.t, e.Bucket, f.buckets[e.Incarnation])
	}
	entries := f.entries[e.Incarnation]
	switch e.Kind {
	case Stored:
		require.Equal(f.t, e.Entry.Value, []byte(e.Entry.Value))
		entries[e.Entry.Sequence] = e.Entry
	case Removed:
		require.Equal(f.t, entries[e.Entry.Sequence].Key, e.Entry.Key)
		require.Contains(f.t, entries, e.Entry.Sequence)
		delete(entries, e.Entry.Sequence)
		if next := entries[e.Next]; e.Next > 0 && next.Sequence > 0 { // else it is what displaced the one removed
			require.Equal(f.t, e.Entry.Key, next.Key)
		}
		for sequence, other := range entries {
			require.False(f.t, other.Key == e.Entry.Key && sequence > e.Entry.Sequence && sequence < e.Next, "not the next")
			require.False(f.t, other.Key == e.Entry.Key && sequence > e.Entry.Sequence && e.Next == 0, "there is a next")
		}
	case BucketAdded:
		f.buckets[e.Incarnation], f.settings[e.Incarnation], f.entries[e.Incarnation] = e.Bucket, *e.Settings, map[uint64]Entry{}
	case BucketUpdated:
		f.settings[e.Incarnation] = *e.Settings
	case BucketRemoved:
		delete(f.buckets, e.Incarnation)
		delete(f.settings, e.Incarnation)
		delete(f.entries, e.Incarnation)
		maps.DeleteFunc(f.consumers, func(_ string, c Consumer) bool { return c.Bucket == e.Bucket })
	case BucketPurged:
		clear(entries)
	case ConsumerAdded, ConsumerMoved:
		f.consumers[e.Bucket+" "+e.Consumer.Name] = *e.Consumer
	case ConsumerRemoved:
		delete(f.consumers, e.Bucket+" "+e.Consumer.Name)
	}
}

func (f *mirror) requireSame(t require.TestingT, m *model) {
	want := newMirror(t, m)
	require.Equal(t, want.buckets, f.buckets)
	require.Equal(t, want.settings, f.settings)
	require.Equal(t, want.entries, f.entries)
	require.Equal(t, want.consumers, f.consumers)
}

// draw makes a command up, mostly one that does something as things are.
func (m *machine) draw() command.Command {
	t := m.t
	bucket := rapid.SampledFrom([]string{"a", "b", "ab"}).Draw(t, "bucket")
	switch rapid.IntRange(0, 39).Draw(t, "command") {
	case 0:
		return removeBucket(bucket)
	case 1, 2, 3, 4, 5:
		add := command.AddBucket{Name: bucket, Settings: m.drawSettings(), AcceptEqual: rapid.Bool().Draw(t, "accept"), Importing: rapid.IntRange(0, 2).Draw(t, "importing") == 0}
		return command.Command{AddBucket: &add}
	case 6, 7:
		changed := rapid.SampledFrom([]uint64{0, 0, 1, m.changed(bucket)}).Draw(t, "changed")
		return command.Command{UpdateBucket: &command.UpdateBucket{Name: bucket, Settings: m.drawSettings(), Changed: changed}}
	case 8, 9:
		return m.drawPurge(bucket)
	case 10, 11, 12, 13, 14, 15:
		return m.drawExpire(bucket)
	case 16, 17, 18:
		return m.drawConsumer(bucket)
	case 19:
		return command.Command{Raise: &command.Raise{Version: 3}}
	}
	if b := m.now.buckets[bucket]; b != nil && b.importing && rapid.IntRange(0, 3).Draw(t, "into") > 0 || rapid.IntRange(0, 19).Draw(t, "import") == 0 {
		return m.drawImport(bucket)
	}
	return m.drawWrite(bucket)
}

func (m *machine) changed(bucket string) uint64 {
	if b := m.now.buckets[bucket]; b != nil {
		return b.changed
	}
	return 0
}

func seconds(t *rapid.T, label string, choices ...int) time.Duration {
	return time.Duration(rapid.SampledFrom(choices).Draw(t, label)) * time.Second
}

func (m *machine) drawSettings() command.Settings {
	t := m.t
	s := command.Settings{
		History:         rapid.Uint64Range(0, 3).Draw(t, "history"),
		TTL:             rapid.SampledFrom([]time.Duration{0, 0, time.Second, 5 * time.Second, 1<<63 - 1}).Draw(t, "bucket ttl"),
		MaxValueSize:    rapid.SampledFrom([]uint64{0, 0, 3}).Draw(t, "max value"),
		MaxBytes:        rapid.SampledFrom([]uint64{0, 0, 200}).Draw(t, "max bytes"),
		MaxMessageSize:  rapid.SampledFrom([]uint64{0, 0, 30}).Draw(t, "max message"),
		MarkerTTL:       seconds(t, "marker ttl", 0, 2, 4),
		AllowTTL:        rapid.SampledFrom([]bool{true, true, false}).Draw(t, "allow ttl"),
		DuplicateWindow: seconds(t, "window", 0, 3, 60),
	}
	if rapid.IntRange(0, 3).Draw(t, "republish") == 0 {
		s.Republish = &command.Republish{Source: ">", Destination: "x.>"}
	}
	return s
}

func (m *machine) drawPurge(bucket string) command.Command {
	return command.Command{PurgeBucket: &command.PurgeBucket{
		Name:   bucket,
		Filter: rapid.SampledFrom([]string{"", ">", "k", "k.*", "*", "k..x"}).Draw(m.t, "filter"),
		Keep:   rapid.SampledFrom([]uint64{0, 0, 1, 2}).Draw(m.t, "keep"),
		Below:  rapid.SampledFrom([]uint64{0, 0, 1, 5, 20}).Draw(m.t, "below"),
	}}
}

// drawExpire names what the store says is over, soon or now, and something more.
func (m *machine) drawExpire(bucket string) command.Command {
	ahead := rapid.SampledFrom([]int64{0, int64(time.Second), int64(10 * time.Second)}).Draw(m.t, "ahead")
	items, err := m.store.Due(m.now.time+ahead, rapid.IntRange(1, 10).Draw(m.t, "items"))
	require.NoError(m.t, err)
	extra := command.ExpireItem{Bucket: bucket, Key: "k", Sequence: rapid.Uint64Range(0, 20).Draw(m.t, "sequence"), Incarnation: 1}
	if b := m.now.buckets[bucket]; b != nil && rapid.Bool().Draw(m.t, "real") {
		extra.Incarnation = b.incarnation
	}
	return command.Command{Expire: &command.Expire{Items: append(items, extra)}}
}

func (m *machine) drawConsumer(bucket string) command.Command {
	t := m.t
	name := rapid.SampledFrom([]string{"c", "d"}).Draw(t, "consumer")
	var added, changed rpc.Index
	generation := uint64(1)
	if b := m.now.buckets[bucket]; b != nil {
		added, generation = b.consumers[name].Added, b.consumers[name].Generation
		if m.now.version >= 3 {
			changed = rapid.SampledFrom([]rpc.Index{0, b.consumers[name].Changed, 1}).Draw(t, "only as changed")
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		added, generation = added+1, generation+1
	}
	boot := rpc.BootEpoch(rapid.Uint64Range(1, 3).Draw(t, "boot"))
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		return command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: bucket, Name: name, Added: rapid.SampledFrom([]rpc.Index{0, added}).Draw(t, "only"), Changed: changed}}
	case 1:
		move := command.ConsumerMove{Bucket: bucket, Name: name, Added: added, Generation: generation, Host: "n2", Boot: boot}
		return command.Command{MoveConsumers: &command.MoveConsumers{Moves: []command.ConsumerMove{move, {Bucket: "none", Name: name}}}}
	}
	return command.Command{AddConsumer: &command.AddConsumer{
		Bucket: bucket, Name: name, Config: []byte(rapid.SampledFrom([]string{"{}", "{1}"}).Draw(t, "config")), Deliver: "_INBOX.x", Host: "n1", Boot: boot,
		Mode:   rapid.SampledFrom([]command.AddMode{command.AddOrUpdate, command.AddOnly, command.UpdateOnly}).Draw(t, "mode"),
		Answer: rapid.SampledFrom([]string{"", "_INBOX.a"}).Draw(t, "answer"),
	}}
}

func (m *machine) drawWrite(bucket string) command.Command {
	t := m.t
	w := command.Write{Bucket: bucket, Key: rapid.SampledFrom([]string{"k", "k.1", "kk", "z"}).Draw(t, "key")}
	w.Op = rapid.SampledFrom([]command.Op{command.Put, command.Put, command.Put, command.Delete, command.Purge}).Draw(t, "op")
	if w.Op == command.Put {
		w.Value = []byte(strings.Repeat("v", rapid.IntRange(0, 4).Draw(t, "size")))
	}
	w.Rollup = rapid.SampledFrom([]command.Rollup{0, 0, 0, 0, command.RollupKey, command.RollupBucket}).Draw(t, "rollup")
	w.Condition = rapid.SampledFrom([]command.Condition{0, 0, 0, 1, 2, 3}).Draw(t, "condition")
	if w.Condition == command.IfSequence {
		w.Sequence = rapid.Uint64Range(0, 8).Draw(t, "expected")
	}
	w.TTL = rapid.SampledFrom([]time.Duration{0, 0, time.Second, 3 * time.Second, command.Never, 1<<63 - 1}).Draw(t, "ttl")
	switch rapid.IntRange(0, 3).Draw(t, "header") {
	case 0:
		w.Header = []byte("NATS/1.0\r\nNats-TTL: x\r\n\r\n")
	case 1:
		w.Header = []byte("NATS/1.0\r\nA: b\r\n\r\n")
	}
	w.MsgID = rapid.SampledFrom([]string{"", "", "i", "j", "l"}).Draw(t, "id")
	if b := m.now.buckets[bucket]; b != nil && rapid.IntRange(0, 9).Draw(t, "expecting") == 0 {
		last := b.sequence - rapid.Uint64Range(0, min(b.sequence, 1)).Draw(t, "behind")
		w.LastSequence = &last
		w.LastMsgID = rapid.SampledFrom([]string{"", "i", b.lastID}).Draw(t, "last id")
	}
	return command.Command{Write: &w}
}

func (m *machine) drawImport(bucket string) command.Command {
	t := m.t
	i := command.Import{Bucket: bucket}
	if b := m.now.buckets[bucket]; b != nil {
		i.After = b.sequence
	}
	at := i.After
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		at += rapid.SampledFrom([]uint64{1, 1, 3, 0}).Draw(t, "gap")
		w := m.drawWrite(bucket).Write
		ago := rapid.SampledFrom([]int64{0, int64(time.Second), int64(10 * time.Second), -int64(time.Second)}).Draw(t, "ago")
		i.Entries = append(i.Entries, command.ImportEntry{
			Key: w.Key, Sequence: at, Op: w.Op, Value: w.Value, Header: w.Header, TTL: w.TTL, Rollup: w.Rollup, Time: max(0, m.now.time-ago),
		})
	}
	i.Last = rapid.SampledFrom([]uint64{0, at, at + 3}).Draw(t, "last")
	i.LastTime = rapid.SampledFrom([]int64{0, 1, m.now.time, m.now.time + 1}).Draw(t, "last time")
	i.Done = rapid.IntRange(0, 4).Draw(t, "done") == 0
	if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		i.After++
	}
	return command.Command{Import: &i}
}

func TestStoreIsTheModel(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		rapid.Check(t, func(t *rapid.T) { checkHistory(t, fresh) })
	})
}

// checkHistory draws one history. Whatever happens on the way, the state is that of the log, applied one entry at a time, on
// any engine (I5, I13).
func checkHistory(t *rapid.T, fresh func() disk) {
	m := newMachine(t, fresh)
	t.Repeat(map[string]func(*rapid.T){
		"":        m.check,
		"apply":   m.apply,
		"apply 2": m.apply,
		"apply 3": m.apply,
		"apply 4": m.apply,
		"apply 5": m.apply,
		"apply 6": m.apply,
		"apply 7": m.apply,
		"apply 8": m.apply,
		"flush":   m.flush,
		"restart": m.restart,
		"crash":   m.crash,
		"restore": m.restore,
	})
	plain := newMachine(t, newMemory)
	for i := range m.log {
		_, err := plain.store.Apply(m.log[i : i+1])
		require.NoError(t, err)
	}
	require.Equal(t, plain.hash(), m.hash(), fmt.Sprint(len(m.log)))
	require.Equal(t, plain.stream(), m.stream(), "the same bytes, on any engine")
	require.NoError(t, plain.store.Close())
	require.NoError(t, m.store.Close())
}
