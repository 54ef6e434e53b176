package store

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// feeder makes entries and applies them, as a node would.
type feeder struct {
	t     *testing.T
	store *Store
}

func open(t *testing.T, d disk) feeder {
	t.Helper()
	s, err := Open(d.options())
	require.NoError(t, err)
	return feeder{t, s}
}

// disk is what a store under test stands on, of one engine or the other: it outlives the store, and can lose power.
type disk interface {
	options() Options
	// crash is what a power loss now would leave: what is durable, and perhaps more, by the seed and a likelihood in percent.
	crash(kept int, seed uint64) disk
}

type pebbleDisk struct{ vfs.FS }

func (d pebbleDisk) options() Options { return Options{FS: d, Dir: "node/store"} }

func (d pebbleDisk) crash(kept int, seed uint64) disk {
	return pebbleDisk{crashed(d.FS.(*vfs.MemFS), kept, seed)}
}

type memoryDisk struct{ *memengine.Memory }

func (d memoryDisk) options() Options { return Options{Engine: d.Memory, ManualFlush: true} }

func (d memoryDisk) crash(kept int, seed uint64) disk {
	if seed%100 < uint64(kept) {
		_ = d.Flush() // by itself, as Pebble may; the store does not know
	}
	return memoryDisk{d.Crash()}
}

func newPebble() disk { return pebbleDisk{vfs.NewCrashableMem()} }
func newMemory() disk { return memoryDisk{memengine.New()} }

// onEachEngine runs a test of the conformance suite: what it asks of the store holds on any engine.
func onEachEngine(t *testing.T, test func(t *testing.T, fresh func() disk)) {
	t.Run("pebble", func(t *testing.T) { test(t, newPebble) })
	t.Run("memory", func(t *testing.T) { test(t, newMemory) })
}

// apply applies commands, one entry each, in one call.
func (f feeder) apply(commands ...command.Command) []Result {
	f.t.Helper()
	last := f.store.Applied()
	entries := make([]rpc.Entry, len(commands))
	for i, c := range commands {
		index := last.Index + 1 + rpc.Index(i)
		entries[i] = rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Time: int64(index) * 1000, Data: c.Encode()}
	}
	answers, err := f.store.Apply(entries)
	require.NoError(f.t, err)
	results := make([]Result, len(answers))
	for i, answer := range answers {
		results[i] = answer.(Result)
	}
	return results
}

func (f feeder) one(c command.Command) Result {
	f.t.Helper()
	return f.apply(c)[0]
}

func (f feeder) close() {
	f.t.Helper()
	require.NoError(f.t, f.store.Close())
}

func addBucket(name string, s command.Settings) command.Command {
	return command.Command{AddBucket: &command.AddBucket{Name: name, Settings: s}}
}

func removeBucket(name string) command.Command {
	return command.Command{RemoveBucket: &command.RemoveBucket{Name: name}}
}

func put(bucket, key, value string) command.Command {
	return write(command.Write{Bucket: bucket, Key: key, Value: []byte(value)})
}

func write(w command.Write) command.Command { return command.Command{Write: &w} }

func del(bucket, key string) command.Command {
	return write(command.Write{Bucket: bucket, Key: key, Op: command.Delete})
}

// Who still reads an earlier moment does not begin where the first entry is by now.
func TestTheFirstEntryIsOfTheMomentThatIsRead(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{}), put("app", "a", "1"), put("app", "b", "1"))
		require.NoError(t, f.store.viewBucket("app", func(v *bucketView) error {
			f.one(put("app", "a", "2"))
			now, err := f.store.State("app")
			require.NoError(t, err)
			require.EqualValues(t, 2, now.First)
			first, err := v.first(f.store.firsts.from(v))
			require.EqualValues(t, 1, first.Sequence)
			return err
		}))
		f.close()
	})
}

// However many buckets are asked about, it is remembered of so many where their first entry is.
func TestFirstEntriesAreRememberedOfSoManyBuckets(t *testing.T) {
	var c cursors
	for i := range uint64(2*cursorsMax + 1) {
		v := &bucketView{bucket: &bucket{record: bucketRecord{incarnation: i}}, at: 1}
		c.found(v, i+1)
		require.Equal(t, i+1, c.from(v))
		require.LessOrEqual(t, len(c.at), cursorsMax)
	}
}

func TestPutIsReadAndSurvivesReopen(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		require.Equal(t, Result{Revision: 1}, f.one(addBucket("app", command.Settings{})))
		require.Equal(t, Result{Sequence: 1, Revision: 2}, f.one(put("app", "color", "blue")))
		want := Entry{Key: "color", Value: []byte("blue"), Sequence: 1, Revision: 2, Time: 2000}
		got, err := f.store.Get("app", "color")
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Zero(t, f.store.Durable())
		f.close()

		f = open(t, d)
		require.Equal(t, rpc.EntryID{Term: 1, Index: 2}, f.store.Applied())
		require.Equal(t, rpc.Index(2), f.store.Durable())
		got, err = f.store.Get("app", "color")
		require.NoError(t, err)
		require.Equal(t, want, got)
		f.close()
	})
}

func TestRestoreGivesTheSameState(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(addBucket("app", command.Settings{History: 3}))
		for range 5 {
			f.one(put("app", "color", "blue"))
		}
		snap, err := f.store.Snapshot()
		require.NoError(t, err)
		var stream bytes.Buffer
		n, err := snap.WriteTo(&stream)
		require.NoError(t, err)
		require.EqualValues(t, stream.Len(), n)
		require.NoError(t, snap.Close())

		g := open(t, fresh())
		g.one(addBucket("other", command.Settings{}))
		require.NoError(t, g.store.Restore(&stream))
		atF, sumF, err := f.store.StateHash()
		require.NoError(t, err)
		atG, sumG, err := g.store.StateHash()
		require.NoError(t, err)
		require.Equal(t, atF, atG)
		require.Equal(t, sumF, sumG)
		require.Equal(t, rpc.Index(6), g.store.Durable())
		f.close()
		g.close()
	})
}

func TestNewerFormatIsRefused(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		record := (&state{applied: rpc.EntryID{Term: 1, Index: 1}}).encode()
		record[1] = formatVersion + 1
		b := f.store.db.NewBatch()
		b.Set(stateKey, record)
		require.NoError(t, b.Commit())
		b.Close()
		f.close()
		_, err := Open(d.options())
		require.ErrorContains(t, err, "newer")
	})
}

func TestASecondStoreInOnePlaceIsRefused(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		_, err := Open(d.options())
		require.Error(t, err)
		f.close()
	})
}

func TestDurableNeverFalls(t *testing.T) { // I8: a flush that ends late, of a state that Restore has replaced
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.store.madeDurable(5)
		f.store.madeDurable(3)
		require.EqualValues(t, 5, f.store.Durable())
		f.close()
	})
}

func TestClosedStore(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.close()
		_, applying := f.store.Apply(nil)
		_, getting := f.store.Get("a", "b")
		_, snapping := f.store.Snapshot()
		for _, err := range []error{applying, getting, snapping, f.store.Restore(nil), f.store.Close()} {
			require.True(t, errors.Is(err, ErrClosed), err)
		}
	})
}
