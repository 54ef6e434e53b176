package store

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// A state that goes on in another cluster holds what it held, and gives no revision again that the old cluster may have given (C6).
func TestSucceedSkipsRevisions(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		f.apply(addBucket("app", command.Settings{History: 2, DuplicateWindow: time.Hour}), addBucket("empty", command.Settings{}))
		withID := command.Write{Bucket: "app", Key: "k", Value: []byte("1"), MsgID: "one"}
		first := f.one(write(withID))
		f.apply(put("app", "k", "2"), put("app", "l", "3"), del("app", "l"))
		before := f.store.Moment()
		require.Equal(t, Moment{rpc.EntryID{Term: 1, Index: 6}, 6, 6000}, before)

		require.ErrorContains(t, f.store.Succeed(rpc.EntryID{Term: 2, Index: 6}, 100), "does not follow")
		require.ErrorContains(t, f.store.Succeed(rpc.EntryID{Term: 1, Index: 7}, 100), "does not follow")
		at := rpc.EntryID{Term: 5, Index: 7}
		require.NoError(t, f.store.Succeed(at, 100))
		require.Equal(t, Moment{at, 106, 6000}, f.store.Moment())
		require.EqualValues(t, 7, f.store.Durable())
		d = d.crash(0, 1) // and it was durable
		f.close()

		f = open(t, d)
		require.Equal(t, Moment{at, 106, 6000}, f.store.Moment())
		e, err := f.store.Get("app", "k")
		require.NoError(t, err)
		require.Equal(t, Entry{Key: "k", Value: []byte("2"), Sequence: 2, Revision: 4, Time: 4000}, e)
		again := f.one(write(withID))
		require.True(t, again.Again)
		require.Equal(t, first.Sequence, again.Sequence, "a retry is known for one")
		r := f.one(put("app", "k", "after"))
		require.Equal(t, Result{Sequence: 105, Revision: 107}, r)
		require.Equal(t, Result{Sequence: 101, Revision: 108}, f.one(put("empty", "k", "first")))
		state, err := f.store.State("app")
		require.NoError(t, err)
		require.EqualValues(t, 105, state.Sequence)
		f.close()
	})
}

// It does so at once, and remembers nothing of what was counted before. No entry has the last revision then: its time is that of the state.
func TestSucceedIsTrueAtOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{}), put("app", "k", "1"), put("app", "k", "2"), removeBucket("none"))
		require.NoError(t, f.store.Succeed(rpc.EntryID{Term: 5, Index: 5}, 100))
		state, err := f.store.State("app")
		require.NoError(t, err)
		require.EqualValues(t, 102, state.Sequence)
		require.EqualValues(t, 4000, state.LastTime)
		require.Equal(t, Result{Sequence: 103, Revision: 104}, f.one(put("app", "k", "3")))
		f.close()
	})
}

// A bucket that is being imported has the sequences of where it comes from, and owes what is to be left out until that ends: its cluster knows of it.
func TestImportsOweWhatIsLeftOut(t *testing.T) { // C6
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(command.Command{AddBucket: &command.AddBucket{Name: "app", Importing: true}})
		require.EqualValues(t, 7, f.one(imports(command.Import{Last: 7, Entries: []command.ImportEntry{{Key: "k", Value: []byte("v"), Sequence: 5, Time: 1}}})).Sequence)
		succeed := func(skip uint64) {
			last := f.store.Moment().ID
			require.NoError(t, f.store.Succeed(rpc.EntryID{Term: last.Term + 1, Index: last.Index + 1}, skip))
		}
		succeed(0)
		require.EqualValues(t, command.Base, f.store.Open(), "nothing is owed")
		succeed(100)
		succeed(100)
		require.EqualValues(t, 3, f.store.Open())
		require.EqualValues(t, 9, f.one(imports(command.Import{After: 7, Last: 9})).Sequence, "it goes on where it was")
		require.EqualValues(t, 209, f.one(imports(command.Import{After: 9, Done: true})).Sequence)
		require.EqualValues(t, 210, f.one(put("app", "k", "w")).Sequence)
		succeed(1)
		require.EqualValues(t, 212, f.one(put("app", "k", "x")).Sequence, "what was owed is paid once")
		f.close()
	})
}

// What is foreseen is what Apply then does, and until then nothing has changed.
func TestForesee(t *testing.T) {
	f, other := open(t, newMemory()), open(t, newMemory())
	for _, f := range []feeder{f, other} {
		f.apply(addBucket("app", command.Settings{History: 3}), put("app", "k", "1"), put("app", "k", "2"), put("app", "k", "3"))
	}
	before := f.store.Moment()
	data := []command.Command{purge(command.PurgeBucket{Filter: "k", Keep: 1}), put("app", "k", "4"), put("nothing", "k", "5"), put("app", "l", "6")}
	var entries []rpc.Entry
	for i, c := range data {
		entries = append(entries, rpc.Entry{Index: rpc.Index(5 + i), Term: 1, Kind: rpc.EntryCommand, Time: int64(i+5) * 1000, Data: c.Encode()})
	}
	rest := slices.Clone(entries)
	then, err := f.store.Foresee(func() (next []rpc.Entry, err error) {
		if len(rest) > 0 {
			next, rest = rest[:1], rest[1:]
		}
		return next, nil
	})
	require.NoError(t, err)
	require.Equal(t, before, f.store.Moment())
	e, err := f.store.Get("app", "k")
	require.NoError(t, err)
	require.Equal(t, "3", string(e.Value))
	f.apply(data...)
	require.Equal(t, then, f.store.Moment())
	require.Equal(t, Moment{rpc.EntryID{Term: 1, Index: 8}, 6, 8000}, then)
	other.apply(data...)
	require.Equal(t, sumOf(t, other.store), sumOf(t, f.store), "nothing of what was foreseen is remembered")
	other.close()
	f.close()
}

// A snapshot that is read without a store tells what it is of and what it holds; a damaged one is refused, and so is one that lies.
func TestInspect(t *testing.T) {
	f := open(t, newMemory())
	f.apply(addBucket("app", command.Settings{History: 3}), addBucket("b", command.Settings{}))
	f.apply(put("app", "k", "1"), put("app", "k", "2"), put("app", "l", "3"), del("app", "l"), put("b", "m", "4"))
	view, at, holds, err := f.store.Still()
	require.NoError(t, err)
	require.Equal(t, Contents{Buckets: 2, Keys: 3, Entries: 5}, holds)
	require.Equal(t, f.store.Moment(), at)
	f.apply(put("app", "later", "5"))
	var stream bytes.Buffer
	_, err = view.WriteTo(&stream)
	require.NoError(t, err)
	require.NoError(t, view.Close())
	got, found, err := Inspect(bytes.NewReader(stream.Bytes()), nil, nil)
	require.NoError(t, err)
	require.Equal(t, at, got)
	require.Equal(t, holds, found)
	_, _, err = Inspect(bytes.NewReader(stream.Bytes()[:stream.Len()-1]), nil, nil)
	require.ErrorIs(t, err, ErrBadSnapshot)

	again := func(of rpc.EntryID, without []byte) error { // under checksums that fit
		var other bytes.Buffer
		w, err := NewSnapshotWriter(&other, of)
		require.NoError(t, err)
		require.NoError(t, ReadRecords(bytes.NewReader(stream.Bytes()), func(key, value []byte) error {
			if bytes.Equal(key, without) {
				return nil
			}
			return w.Record(key, value)
		}))
		require.NoError(t, w.End())
		_, _, err = Inspect(&other, nil, nil)
		return err
	}
	require.NoError(t, again(at.ID, nil))
	require.ErrorContains(t, again(at.ID, entryKey(1, 2)), "its buckets count")
	require.ErrorContains(t, again(f.store.Moment().ID, nil), "it says it is of entry")
	require.ErrorContains(t, again(at.ID, stateKey), "it says it is of entry")
	f.close()
}
