package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The conformance suite: the store against a model made of maps, under random commands in random batches, with flushes,
// restarts, crashes and snapshots between them. Any engine under the store must pass it.

type modelEntry struct {
	sequence, revision uint64
	op                 command.Op
	value              string
	time               int64
}

type modelBucket struct {
	incarnation, sequence uint64
	created               int64
	settings              command.Settings
	keys                  map[string][]modelEntry
}

type model struct {
	revision uint64
	buckets  map[string]*modelBucket
}

func (b *modelBucket) bytes() (sum uint64) {
	for key, entries := range b.keys {
		for _, e := range entries {
			sum += uint64(len(key) + len(e.value) + 40)
		}
	}
	return sum
}

func (m *model) apply(c command.Command, time int64) Result {
	switch {
	case c.AddBucket != nil:
		if m.buckets[c.AddBucket.Name] != nil {
			return Result{Code: BucketExists}
		}
		m.revision++
		m.buckets[c.AddBucket.Name] = &modelBucket{m.revision, 0, time, c.AddBucket.Settings, map[string][]modelEntry{}}
		return Result{Revision: m.revision}
	case c.RemoveBucket != nil:
		if m.buckets[c.RemoveBucket.Name] == nil {
			return Result{Code: NoBucket}
		}
		m.revision++
		delete(m.buckets, c.RemoveBucket.Name)
		return Result{Revision: m.revision}
	}
	return m.write(c.Write, time)
}

func (m *model) write(w *command.Write, time int64) Result {
	b := m.buckets[w.Bucket]
	if b == nil {
		return Result{Code: NoBucket}
	}
	var newest modelEntry
	entries := b.keys[w.Key]
	if len(entries) > 0 {
		newest = entries[len(entries)-1]
	}
	hasValue := len(entries) > 0 && newest.op == command.Put
	switch {
	case b.settings.MaxValueSize > 0 && len(w.Value) > int(b.settings.MaxValueSize):
		return Result{Code: ValueTooLarge, Limit: b.settings.MaxValueSize}
	case w.Condition == command.IfAbsent && hasValue:
		return Result{Code: KeyExists, Current: newest.sequence}
	case w.Condition == command.IfPresent && !hasValue:
		return Result{Code: KeyNotFound}
	case w.Condition == command.IfSequence && newest.sequence != w.Sequence:
		return Result{Code: WrongRevision, Current: newest.sequence}
	}
	after := append(slices.Clone(entries), modelEntry{b.sequence + 1, m.revision + 1, w.Op, string(w.Value), time})
	if w.Op == command.Purge {
		after = after[len(after)-1:]
	}
	for len(after) > int(max(b.settings.History, 1)) {
		after = after[1:]
	}
	b.keys[w.Key] = after
	if b.settings.MaxBytes > 0 && w.Op == command.Put && b.bytes() > b.settings.MaxBytes {
		if b.keys[w.Key] = entries; entries == nil {
			delete(b.keys, w.Key)
		}
		return Result{Code: BucketFull, Limit: b.settings.MaxBytes}
	}
	b.sequence++
	m.revision++
	return Result{Sequence: b.sequence, Revision: m.revision}
}

// requireSame compares all that can be read of a store with the model.
func (m *model) requireSame(t require.TestingT, s *Store) {
	page, err := s.Buckets("", "", 1000)
	require.NoError(t, err)
	require.Equal(t, slices.Sorted(maps.Keys(m.buckets)), slices.Sorted(slices.Values(page.Names)))
	for name, b := range m.buckets {
		b.requireSame(t, s, name)
	}
}

func (b *modelBucket) requireSame(t require.TestingT, s *Store, name string) {
	want := BucketInfo{Name: name, Settings: b.settings, Created: b.created, Incarnation: b.incarnation, Sequence: b.sequence, Bytes: b.bytes()}
	var present []string
	for key, entries := range b.keys {
		want.Entries += uint64(len(entries))
		e := entries[len(entries)-1]
		got, err := s.Get(name, key)
		if e.op != command.Put {
			want.Deleted++
			require.ErrorIs(t, err, KeyNotFound)
			continue
		}
		want.Keys++
		present = append(present, key)
		require.NoError(t, err)
		require.Equal(t, Entry{Key: key, Value: []byte(e.value), Sequence: e.sequence, Revision: e.revision, Time: e.time}, got)
	}
	info, err := s.Bucket(name)
	require.NoError(t, err)
	require.Equal(t, want, info)
	slices.Sort(present)
	page, err := s.Keys(name, "", "", 1000)
	require.NoError(t, err)
	require.Equal(t, present, page.Names)
	require.False(t, page.More)
}

// machine is a store under test, with the log it was given.
type machine struct {
	t     *rapid.T
	fs    *vfs.MemFS
	store *Store
	log   []rpc.Entry
	now   *model // after all of the log
}

func (m *machine) open() {
	s, err := Open(Options{FS: m.fs, Dir: "node/store"})
	require.NoError(m.t, err)
	m.t.Cleanup(func() { _ = s.Close() }) // also when rapid gives up a history midway
	require.Equal(m.t, s.Applied().Index, s.Durable(), "what a store opens with is durable")
	m.store = s
}

// modelAt is what the model says after the log's first entries.
func (m *machine) modelAt(index rpc.Index) *model {
	at := &model{buckets: map[string]*modelBucket{}}
	for _, e := range m.log[:index] {
		if e.Kind == rpc.EntryNoop {
			continue
		}
		c, err := command.Decode(e.Data)
		require.NoError(m.t, err)
		at.apply(c, e.Time)
	}
	return at
}

// apply draws a batch, applies it, and compares each result with the model's.
func (m *machine) apply(*rapid.T) {
	count := rapid.IntRange(1, 12).Draw(m.t, "entries")
	var want []any
	for range count {
		index := rpc.Index(len(m.log) + 1)
		e := rpc.Entry{Index: index, Term: 1 + rpc.Term(len(m.log)/20), Kind: rpc.EntryNoop, Time: int64(index) * 1000}
		if rapid.IntRange(0, 9).Draw(m.t, "kind") > 0 {
			c := drawCommand(m.t)
			e.Kind, e.Data = rpc.EntryCommand, c.Encode()
			want = append(want, m.now.apply(c, e.Time))
		} else {
			want = append(want, nil)
		}
		m.log = append(m.log, e)
	}
	batch := m.log[len(m.log)-count:]
	got, err := m.store.Apply(batch)
	require.NoError(m.t, err)
	require.Equal(m.t, want, got)
	require.Equal(m.t, batch[count-1].ID(), m.store.Applied())
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
	require.NoError(m.t, m.store.flush())
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
	clone := m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(seed, 0))})
	require.NoError(m.t, m.store.Close())
	m.fs = clone
	m.open()
	at := m.store.Applied().Index
	require.GreaterOrEqual(m.t, at, durable)
	require.LessOrEqual(m.t, int(at), len(m.log))
	m.modelAt(at).requireSame(m.t, m.store)
	m.replay()
}

// restore moves the state to another store, which had some of the log or none of it (I13).
func (m *machine) restore(*rapid.T) {
	snap, err := m.store.Snapshot()
	require.NoError(m.t, err)
	var stream bytes.Buffer
	_, err = snap.WriteTo(&stream)
	require.NoError(m.t, err)
	require.NoError(m.t, snap.Close())
	other := &machine{t: m.t, fs: vfs.NewCrashableMem(), log: m.log, now: m.now}
	other.open()
	if had := rapid.IntRange(0, len(m.log)).Draw(m.t, "had"); had > 0 {
		_, err := other.store.Apply(m.log[:had])
		require.NoError(m.t, err)
	}
	require.NoError(m.t, other.store.Restore(&stream))
	require.Equal(m.t, m.store.Applied(), other.store.Applied())
	require.Equal(m.t, m.hash(), other.hash())
	require.NoError(m.t, m.store.Close())
	*m = *other
}

func (m *machine) hash() [sha256.Size]byte {
	at, sum, err := m.store.StateHash()
	require.NoError(m.t, err)
	require.Equal(m.t, m.store.Applied(), at)
	return sum
}

func (m *machine) check(*rapid.T) {
	m.now.requireSame(m.t, m.store)
}

func drawCommand(t *rapid.T) command.Command {
	bucket := rapid.SampledFrom([]string{"a", "b", "ab"}).Draw(t, "bucket")
	switch rapid.IntRange(0, 19).Draw(t, "command") {
	case 0:
		return removeBucket(bucket)
	case 1, 2, 3:
		return addBucket(bucket, command.Settings{
			History:      rapid.Uint64Range(0, 3).Draw(t, "history"),
			MaxValueSize: rapid.SampledFrom([]uint64{0, 3}).Draw(t, "max value"),
			MaxBytes:     rapid.SampledFrom([]uint64{0, 200}).Draw(t, "max bytes"),
		})
	}
	w := command.Write{Bucket: bucket, Key: rapid.SampledFrom([]string{"k", "k.1", "kk", "z"}).Draw(t, "key")}
	w.Op = rapid.SampledFrom([]command.Op{command.Put, command.Put, command.Put, command.Delete, command.Purge}).Draw(t, "op")
	if w.Op == command.Put {
		w.Value = []byte(strings.Repeat("v", rapid.IntRange(0, 4).Draw(t, "size")))
	}
	w.Condition = rapid.SampledFrom([]command.Condition{0, 0, 1, 2, 3}).Draw(t, "condition")
	if w.Condition == command.IfSequence {
		w.Sequence = rapid.Uint64Range(0, 8).Draw(t, "expected")
	}
	return write(w)
}

func TestStoreIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{t: t, fs: vfs.NewCrashableMem(), now: &model{buckets: map[string]*modelBucket{}}}
		m.open()
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
		// Whatever happened on the way, the state is that of the log, applied one entry at a time (I5, I13).
		plain := &machine{t: t, fs: vfs.NewCrashableMem()}
		plain.open()
		for i := range m.log {
			_, err := plain.store.Apply(m.log[i : i+1])
			require.NoError(t, err)
		}
		require.Equal(t, plain.hash(), m.hash(), fmt.Sprint(len(m.log)))
		require.NoError(t, plain.store.Close())
		require.NoError(t, m.store.Close())
	})
}
