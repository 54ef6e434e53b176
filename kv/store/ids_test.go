package store

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/rpc"
)

func putID(key, id string) command.Command {
	return write(command.Write{Bucket: "app", Key: key, Value: []byte("v"), MsgID: id})
}

// C4: one message id takes effect once within the window, by the log's time, also after a restart and through a snapshot.
func TestARetryIsAppliedOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		f.at(0, addBucket("app", command.Settings{History: 5, DuplicateWindow: time.Minute}))
		first := f.at(time.Second, putID("k", "id"))
		require.Equal(t, []Result{{Sequence: 1, Revision: 2}}, first)
		again := Result{Again: true, Sequence: 1, Revision: 2}
		f.at(time.Second, put("app", "k", "w"))
		require.Equal(t, []Result{again, again}, f.at(2*time.Second, putID("k", "id"), putID("other", "id")))
		conditional := command.Write{Bucket: "app", Key: "k", Condition: command.IfSequence, MsgID: "id"}
		require.Equal(t, []Result{again}, f.at(2*time.Second, write(conditional)), "the condition held when it was done")
		f.close()
		f = open(t, d)
		require.Equal(t, []Result{again}, f.at(3*time.Second, putID("k", "id")))
		g := open(t, fresh())
		require.NoError(t, g.store.Restore(bytes.NewReader(streamOf(t, f.store))))
		f.close()
		require.Equal(t, []Result{again}, g.at(61*time.Second-1, putID("k", "id")))
		require.Equal(t, []Result{{Sequence: 3, Revision: 4}}, g.at(61*time.Second, putID("k", "id")), "after the window it is a new write")
		require.Equal(t, []Result{{Again: true, Sequence: 3, Revision: 4}}, g.at(62*time.Second, putID("k", "id")))
		g.at(62*time.Second, purge(command.PurgeBucket{}))
		require.Equal(t, []Result{{Again: true, Sequence: 3, Revision: 4}}, g.at(62*time.Second, putID("k", "id")), "though the entry is gone")
		g.at(62*time.Second, removeBucket("app"))
		require.Equal(t, 1, records(t, g.store))
		g.close()
	})
}

// A write that was done is not refused when it is retried, though the bucket takes no more writes by then (C4, C5).
func TestARetryIsNotRefusedByWhatCameAfter(t *testing.T) {
	f := open(t, newMemory())
	f.at(0, command.Command{Raise: &command.Raise{Version: 3}}, addBucket("app", command.Settings{DuplicateWindow: time.Minute}))
	require.Equal(t, []Result{{Sequence: 1, Revision: 2}}, f.at(time.Second, putID("k", "id")))
	f.at(0, command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{ReadOnly: true, DuplicateWindow: time.Minute}}})
	require.Equal(t, []Result{{Again: true, Sequence: 1, Revision: 2}, {Code: ReadOnly}}, f.at(2*time.Second, putID("k", "id"), putID("k", "other")))
	f.close()
}

// What was refused was not done, so its id is free.
func TestARefusedWriteKeepsNoID(t *testing.T) {
	f := open(t, newMemory())
	f.at(0, addBucket("app", command.Settings{}))
	refused := command.Write{Bucket: "app", Key: "k", Condition: command.IfPresent, MsgID: "id"}
	require.Equal(t, []Result{{Code: KeyNotFound}, {Sequence: 1, Revision: 2}}, f.at(0, write(refused), putID("k", "id")))
	f.close()
}

func TestLastMsgID(t *testing.T) {
	f := open(t, newMemory())
	expecting := func(id, last string) command.Command {
		return write(command.Write{Bucket: "app", Key: "k", MsgID: id, LastMsgID: last})
	}
	f.at(1, addBucket("app", command.Settings{}))
	require.Equal(t, []Result{{Code: WrongLastID}, {Sequence: 1, Revision: 2}, {Code: WrongLastID, MsgID: "a"}, {Sequence: 2, Revision: 3}},
		f.at(1, expecting("a", "b"), expecting("a", ""), expecting("b", "x"), expecting("b", "a")))
	f.at(1, put("app", "k", "v"))
	require.Equal(t, []Result{{Code: WrongLastID}}, f.at(1, expecting("c", "b")), "the last entry has none")
	f.close()
}

// Ids are forgotten a few at a time, by whatever is written, and never before their window is over.
func TestIDsAreForgotten(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.at(0, addBucket("app", command.Settings{DuplicateWindow: 16 * time.Second}))
		const count = 3*idsForgottenMax + 5
		var batch []command.Command
		for i := range count {
			batch = append(batch, putID("k", fmt.Sprint(i)))
		}
		f.at(time.Second, batch...)
		f.at(10*time.Second, putID("k", "young"))
		base := records(t, f.store)
		f.at(18*time.Second-1, put("app", "k", "v"))
		require.Equal(t, base, records(t, f.store), "a part of the window more, so that many are forgotten at a time")
		for i := 1; i <= 4; i++ {
			f.at(18*time.Second, put("app", "k", "v"))
			require.Equal(t, base-2*min(count, i*idsForgottenMax), records(t, f.store))
		}
		require.True(t, f.at(26*time.Second-1, putID("k", "young"))[0].Again)
		require.False(t, f.at(26*time.Second, putID("k", "young"))[0].Again)
		f.close()
	})
}

// Those that are to be forgotten are looked for after those that were, which the database passes over one by one until it has compacted them away.
func TestIDsAreLookedForAfterThoseThatWereForgotten(t *testing.T) {
	f := open(t, newMemory())
	f.at(0, addBucket("app", command.Settings{DuplicateWindow: 16 * time.Second}))
	var batch []command.Command
	for i := range 3 * idsForgottenMax {
		batch = append(batch, putID("k", fmt.Sprint(i)))
	}
	f.at(time.Second, batch...)
	f.at(18*time.Second, put("app", "k", "v"))
	db, _, err := f.store.use()
	require.NoError(t, err)
	var from []byte
	tx := newTxn(scansFrom{db, &from}, *f.store.current.Load(), &f.store.recent)
	b, err := tx.bucket("app")
	require.NoError(t, err)
	oldest, err := tx.oldestIDs(b)
	require.NoError(t, err)
	require.EqualValues(t, idsForgottenMax+1, oldest[0].sequence)
	require.Equal(t, idOrderKey(b.record.incarnation, idsForgottenMax), from)
	tx.batch.Close()
	db.release()
	f.close()
}

// A window may be as long as a number can say: then no write looks for ids that are to be forgotten.
func TestIDsOfTheLongestWindowAreNotLookedFor(t *testing.T) {
	f := open(t, newMemory())
	f.at(time.Second, addBucket("app", command.Settings{DuplicateWindow: math.MaxInt64}), putID("k", "id"))
	db, _, err := f.store.use()
	require.NoError(t, err)
	var from []byte
	tx := newTxn(scansFrom{db, &from}, *f.store.current.Load(), &f.store.recent)
	b, err := tx.bucket("app")
	require.NoError(t, err)
	require.NoError(t, tx.keepID(b, ""))
	require.Nil(t, from)
	tx.batch.Close()
	db.release()
	f.close()
}

// scansFrom notes where scans begin.
type scansFrom struct {
	engine.DB
	at *[]byte
}

func (s scansFrom) Scan(from, to []byte, visit func(key, value []byte) (bool, error)) error {
	*s.at = bytes.Clone(from)
	return s.DB.Scan(from, to, visit)
}

// Who asks whether a write was done is told so for as long as it would be answered as then, and no longer.
func TestAnIDIsAnsweredWithinItsWindow(t *testing.T) { // C4
	f := open(t, newMemory())
	answered := func(id string) bool {
		then, err := f.store.Answered("app", id)
		require.NoError(t, err)
		return then.Again
	}
	f.at(0, addBucket("app", command.Settings{DuplicateWindow: 16 * time.Second}))
	f.at(time.Second, putID("k", "id"))
	require.False(t, answered("another"))
	f.at(17*time.Second-1, removeBucket("none")) // moves only the log's time
	require.True(t, answered("id"))
	then, err := f.store.Answered("app", "id")
	require.NoError(t, err)
	require.Equal(t, f.at(17*time.Second-1, putID("k", "id"))[0], then)
	f.at(17*time.Second, removeBucket("none"))
	require.False(t, answered("id"), "though its record is there")
	f.close()
}

// An id that is used again after its window is as a new one: nothing that is left of its first use ends it early (C4).
func TestAnIDThatIsUsedAgainLastsAsLong(t *testing.T) {
	f := open(t, newMemory())
	f.at(0, addBucket("app", command.Settings{DuplicateWindow: 16 * time.Second}))
	f.at(time.Second, putID("k", "another"), putID("k", "id"))
	require.False(t, f.at(17*time.Second, putID("k", "id"))[0].Again)
	f.at(18*time.Second, put("app", "k", "v")) // those of the first second are forgotten
	require.True(t, f.at(19*time.Second, putID("k", "id"))[0].Again)
	f.close()
}

// Ids that come and go in one batch leave what those of many batches do: each node has batches of its own (I5).
func TestIDsThatComeAndGoInOneBatch(t *testing.T) {
	entries := []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Time: 1, Data: addBucket("app", command.Settings{DuplicateWindow: 16 * time.Second}).Encode()}}
	for i := range 60 {
		entries = append(entries, rpc.Entry{
			Index: rpc.Index(i + 2), Term: 1, Kind: rpc.EntryCommand, Time: int64(i+1) * int64(3*time.Second), Data: putID("k", fmt.Sprint(i%9)).Encode(),
		})
	}
	var sums []string
	for _, size := range []int{1, 20, len(entries)} {
		f := open(t, newMemory())
		for batch := range slices.Chunk(entries, size) {
			_, err := f.store.Apply(batch)
			require.NoError(t, err)
		}
		sums = append(sums, sumOf(t, f.store))
		f.close()
	}
	require.Equal(t, []string{sums[0], sums[0], sums[0]}, sums)
}

// A longer window brings back nothing that was over.
func TestALongerWindowBringsNothingBack(t *testing.T) {
	f := open(t, newMemory())
	update := func(window time.Duration) command.Command {
		return command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{DuplicateWindow: window}}}
	}
	f.at(time.Hour, addBucket("app", command.Settings{DuplicateWindow: 10 * time.Second}), putID("k", "old"))
	f.at(time.Hour+5*time.Second, putID("k", "young"))
	f.at(time.Hour+10*time.Second, update(time.Minute))
	f.at(time.Hour+11*time.Second, update(time.Hour)) // nor does one that is longer still
	results := f.at(time.Hour+20*time.Second, putID("k", "old"), putID("k", "young"))
	require.False(t, results[0].Again)
	require.True(t, results[1].Again)
	f.close()
}
