package engine_test

// The conformance suite of engines: Pebble and the one in memory against a model made of maps, under random batches, with
// views, flushes, crashes and replacements between them.

import (
	"bytes"
	"errors"
	"flag"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/leaktest"
)

func TestMain(m *testing.M) {
	// A few random histories on each run; more with -rapid.checks=1000.
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

// disk is what an engine stands on: it can lose power.
type disk interface {
	engine() engine.Engine
	// crash is what a power loss now would leave: what is durable, and perhaps more, by the seed and a likelihood in percent.
	crash(kept int, seed uint64) disk
}

type pebbleDisk struct{ fs *vfs.MemFS }

func (d pebbleDisk) engine() engine.Engine {
	return engine.NewPebble(d.fs, "node/store", slog.New(slog.DiscardHandler), func() {}, nil)
}

func (d pebbleDisk) crash(kept int, seed uint64) disk {
	return pebbleDisk{d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rand.New(rand.NewPCG(seed, 0))})}
}

type memoryDisk struct{ *memengine.Memory }

func (d memoryDisk) engine() engine.Engine { return d.Memory }

func (d memoryDisk) crash(kept int, seed uint64) disk {
	if seed%100 < uint64(kept) {
		_ = d.Flush()
	}
	return memoryDisk{d.Crash()}
}

// gatheredDisk has an engine that gathers a few pairs before the one below hears of them.
type gatheredDisk struct{ disk }

func (d gatheredDisk) engine() engine.Engine { return engine.NewGather(d.disk.engine(), 1000) }

func (d gatheredDisk) crash(kept int, seed uint64) disk {
	return gatheredDisk{d.disk.crash(kept, seed)}
}

func onEachEngine(t *testing.T, test func(t *testing.T, fresh func() disk)) {
	t.Run("pebble", func(t *testing.T) { test(t, func() disk { return pebbleDisk{vfs.NewCrashableMem()} }) })
	t.Run("memory", func(t *testing.T) { test(t, func() disk { return memoryDisk{memengine.New()} }) })
	t.Run("gathered pebble", func(t *testing.T) { test(t, func() disk { return gatheredDisk{pebbleDisk{vfs.NewCrashableMem()}} }) })
	t.Run("gathered memory", func(t *testing.T) { test(t, func() disk { return gatheredDisk{memoryDisk{memengine.New()}} }) })
}

type contents map[string]string

func (c contents) between(from, to []byte) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(c)) {
		if key >= string(from) && (to == nil || key < string(to)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// scanned reads a range the way Scan gives it, and stops by itself after limit pairs.
func scanned(t require.TestingT, r engine.Reader, from, to []byte, limit int) contents {
	found := contents{}
	var last []byte
	require.NoError(t, r.Scan(from, to, func(key, value []byte) (bool, error) {
		require.True(t, last == nil || bytes.Compare(last, key) < 0, "in order")
		require.Less(t, len(found), limit, "visited after it wanted no more")
		last = bytes.Clone(key)
		found[string(key)] = string(value)
		return len(found) < limit, nil
	}))
	return found
}

// requireSame compares all that can be read with the model.
func (c contents) requireSame(t require.TestingT, r engine.Reader) {
	c.requireGets(t, r)
	require.Equal(t, c, scanned(t, r, nil, nil, len(c)+1))
	c.requireGets(t, r)
}

// requireGets is requireSame without a scan, after which nothing is gathered any more.
func (c contents) requireGets(t require.TestingT, r engine.Reader) {
	for _, key := range drawnKeys {
		value, err := r.Get([]byte(key))
		require.NoError(t, err)
		want, there := c[key]
		require.Equal(t, there, value != nil)
		require.Equal(t, want, string(value))
		clear(value) // it is the caller's
	}
}

var drawnKeys = []string{"\x00", "a", "a\x00", "ab", "b", "ba", "c", "c\xff", "c\xff\xff", "d", "\xff"}

func drawKey(t *rapid.T) []byte { return []byte(rapid.SampledFrom(drawnKeys).Draw(t, "key")) }

type openView struct {
	view engine.View
	want contents
}

// machine is an engine under test. What a crash may leave are the states of whole batches from the last flush on.
type machine struct {
	t        *rapid.T
	disk     disk
	engine   engine.Engine
	db       engine.DB
	prepared engine.DB // to replace it; nil: none is
	now      contents
	since    []contents // what each commit since the last flush found
	views    []openView
}

func (m *machine) open() {
	m.engine = m.disk.engine()
	var err error
	m.db, err = m.engine.Open()
	require.NoError(m.t, err)
}

// change draws changes into a batch, and makes the same to a copy of the model.
func (m *machine) change(b engine.Batch, from contents) contents {
	after := maps.Clone(from)
	for range rapid.IntRange(1, 6).Draw(m.t, "changes") {
		key := drawKey(m.t)
		switch rapid.IntRange(0, 4).Draw(m.t, "change") {
		case 0:
			b.Delete(key)
			delete(after, string(key))
		case 1:
			to := drawKey(m.t)
			if bytes.Compare(key, to) > 0 {
				key, to = to, key
			}
			b.DeleteRange(key, to)
			for _, gone := range after.between(key, to) {
				delete(after, gone)
			}
		default:
			value := rapid.SampledFrom([]string{"", "1", "22", "333"}).Draw(m.t, "value")
			if _, there := after[string(key)]; there {
				b.Set(key, []byte(value))
			} else {
				b.Add(key, []byte(value))
			}
			after[string(key)] = value
		}
		clear(key) // a batch keeps copies
	}
	require.Positive(m.t, b.Len())
	return after
}

func (m *machine) commit(*rapid.T) {
	b := m.db.NewBatch()
	for range rapid.IntRange(1, 2).Draw(m.t, "commits") { // a batch can be used again
		after := m.change(b, m.now)
		m.now.requireGets(m.t, m.db)
		require.NoError(m.t, b.Commit())
		m.since, m.now = append(m.since, m.now), after
	}
	m.change(b, m.now)
	b.Close() // given up
}

func (m *machine) flush(*rapid.T) {
	require.NoError(m.t, m.db.Flush())
	m.since = nil
}

func (m *machine) view(*rapid.T) {
	m.views = append(m.views, openView{m.db.NewView(), m.now})
}

func (m *machine) closeViews(*rapid.T) {
	for _, v := range m.views {
		v.want.requireSame(m.t, v.view)
		require.NoError(m.t, v.view.Close())
	}
	m.views = nil
}

func (m *machine) scan(*rapid.T) {
	var from, to []byte
	if rapid.Bool().Draw(m.t, "from") {
		from = drawKey(m.t)
	}
	if rapid.Bool().Draw(m.t, "to") {
		to = drawKey(m.t)
	}
	want := m.now.between(from, to)
	limit := rapid.IntRange(1, 12).Draw(m.t, "limit")
	want = want[:min(len(want), limit)]
	got := scanned(m.t, m.db, from, to, limit)
	require.ElementsMatch(m.t, want, slices.Collect(maps.Keys(got)))
	failing := errors.New("no")
	err := m.db.Scan(from, to, func(_, _ []byte) (bool, error) { return true, failing })
	require.Equal(m.t, len(want) > 0, errors.Is(err, failing))
}

// restart closes without a flush, and crash loses power: of both a whole prefix of the batches is left (K56).
func (m *machine) restart(*rapid.T) { m.leave(nil) }
func (m *machine) crash(*rapid.T)   { m.leave(m.crashed()) }

func (m *machine) crashed() disk {
	kept := rapid.SampledFrom([]int{0, 50, 100}).Draw(m.t, "kept percent")
	return m.disk.crash(kept, rapid.Uint64().Draw(m.t, "seed"))
}

func (m *machine) leave(left disk) {
	m.closeViews(nil)
	require.NoError(m.t, m.db.Close())
	if left != nil {
		m.disk = left
	}
	m.open()
	if rapid.Bool().Draw(m.t, "remove leftovers") { // else the next Prepare finds them
		require.NoError(m.t, m.engine.RemoveLeftovers())
	}
	found := scanned(m.t, m.db, nil, nil, 100)
	require.Contains(m.t, append(m.since, m.now), found)
	m.now, m.since = found, nil
	m.now.requireSame(m.t, m.db)
}

// replace puts another database in the place of this one. A crash before the switch leaves the old, one after it the new.
func (m *machine) replace(*rapid.T) {
	prepared, err := m.engine.Prepare()
	require.NoError(m.t, err)
	m.prepared = prepared
	contents{}.requireSame(m.t, prepared)
	b := prepared.NewBatch()
	after := m.change(b, contents{})
	require.NoError(m.t, b.Commit())
	b.Close()
	m.now.requireSame(m.t, m.db)
	require.NoError(m.t, prepared.Flush())
	fate, left := rapid.IntRange(0, 3).Draw(m.t, "fate"), m.crashed()
	m.prepared = nil
	switch fate {
	case 0:
		require.NoError(m.t, prepared.Discard())
	case 1:
		require.NoError(m.t, prepared.Discard())
		m.leave(left)
	default:
		require.NoError(m.t, m.engine.Switch(prepared))
		m.closeViews(nil) // of the old one
		require.NoError(m.t, m.db.Discard())
		m.db, m.now, m.since = prepared, after, nil
	}
}

func (m *machine) check(*rapid.T) {
	m.now.requireGets(m.t, m.db)
	for _, v := range m.views {
		v.want.requireSame(m.t, v.view)
	}
	require.NoError(m.t, m.db.Err())
}

func TestEngineIsTheModel(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		rapid.Check(t, func(t *rapid.T) {
			m := &machine{t: t, disk: fresh(), now: contents{}}
			m.open()
			t.Cleanup(func() { // also when rapid gives up a history midway
				for _, v := range m.views {
					_ = v.view.Close()
				}
				if m.prepared != nil {
					_ = m.prepared.Close()
				}
				_ = m.db.Close()
			})
			t.Repeat(map[string]func(*rapid.T){
				"": m.check, "commit": m.commit, "commit 2": m.commit, "commit 3": m.commit, "flush": m.flush, "scan": m.scan,
				"view": m.view, "close views": m.closeViews, "restart": m.restart, "crash": m.crash, "replace": m.replace,
			})
		})
	})
}

func TestADatabaseIsOpenOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		db, err := d.engine().Open()
		require.NoError(t, err)
		_, err = d.engine().Open()
		require.Error(t, err)
		require.NoError(t, db.Close())
		db, err = d.engine().Open()
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
}
