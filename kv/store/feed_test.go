package store

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// That the feed is all that changes is the model's to show (mirror in machine_test.go); here is in which order.
func TestFeed(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		type seen struct {
			kind               EventKind
			sequence, previous uint64
			key                string
		}
		var got []seen
		var last Batch
		f.store.Follow(func(b Batch) {
			require.Equal(t, b.At, f.store.Applied().Index, "what is told can be read")
			for _, e := range b.Events {
				got = append(got, seen{e.Kind, e.Entry.Sequence, e.Previous, e.Entry.Key})
			}
			last = b
		})
		requireSeen := func(want ...seen) {
			t.Helper()
			require.Equal(t, want, got)
			got = nil
		}
		f.at(time.Second, addBucket("app", command.Settings{History: 2, MarkerTTL: time.Second, TTL: time.Minute}), put("app", "k", "1"), put("app", "k", "2"), put("app", "k", "3"))
		requireSeen(seen{kind: BucketAdded}, seen{Stored, 1, 0, "k"}, seen{Stored, 2, 1, "k"}, seen{kind: Removed, sequence: 1, key: "k"}, seen{Stored, 3, 2, "k"})
		require.Equal(t, Batch{At: 4, Time: int64(time.Second), Events: last.Events}, last)
		f.at(time.Second, write(command.Write{Bucket: "app", Key: "k", Condition: command.IfAbsent}))
		requireSeen()
		f.close()
	})
}

func TestTheFeedTellsOfEverythingInOrder(t *testing.T) {
	f := open(t, newMemory())
	var kinds []EventKind
	var texts []string
	f.store.Follow(func(b Batch) {
		for _, e := range b.Events {
			kinds = append(kinds, e.Kind)
			texts = append(texts, string(e.Entry.Header))
		}
	})
	f.at(time.Second, addBucket("app", command.Settings{MarkerTTL: time.Second, TTL: time.Minute}), put("app", "k", "1"))
	f.at(time.Hour, expire(f.due(time.Hour, 10)...))
	require.Equal(t, []EventKind{BucketAdded, Stored, Removed, Stored}, kinds)
	require.Contains(t, texts[3], "MaxAge", "a marker is an entry")
	kinds = nil
	add := command.Command{AddConsumer: &command.AddConsumer{Bucket: "app", Name: "c"}}
	move := command.Command{MoveConsumers: &command.MoveConsumers{Moves: []command.ConsumerMove{{Bucket: "app", Name: "c", Added: 4, Generation: 1}}}}
	stale := command.Command{MoveConsumers: &command.MoveConsumers{Moves: []command.ConsumerMove{{Bucket: "app", Name: "c", Added: 3, Generation: 1}}}}
	remove := command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: "app", Name: "c"}}
	update := command.Command{UpdateBucket: &command.UpdateBucket{Name: "app"}}
	rollup := write(command.Write{Bucket: "app", Key: "l", Rollup: command.RollupBucket})
	f.at(time.Hour, add, stale)
	require.Equal(t, []EventKind{ConsumerAdded}, kinds, "another of that name was to be moved")
	f.at(time.Hour, move, remove, update, rollup, purge(command.PurgeBucket{}), purge(command.PurgeBucket{}), removeBucket("app"))
	require.Equal(t, []EventKind{ConsumerAdded, ConsumerMoved, ConsumerRemoved, BucketUpdated, BucketPurged, Stored, BucketPurged, BucketRemoved}, kinds)
	f.close()
}

func TestTheFeedIsTheFollowersUntilItReturns(t *testing.T) {
	f := open(t, newMemory())
	var values [][]byte
	var first *Event
	f.store.Follow(func(b Batch) {
		for i := range b.Events {
			if e := &b.Events[i]; e.Kind == Stored {
				values = append(values, e.Entry.Value)
				if first == nil {
					first = e
				}
			}
		}
	})
	f.apply(addBucket("app", command.Settings{}), put("app", "k", "one"))
	for range 100 {
		f.apply(put("app", "k", "two"), put("app", "k", "two"))
	}
	require.Equal(t, "one", string(values[0]), "the bytes may be kept")
	require.NotEqual(t, "one", string(first.Entry.Value), "the batch may not: it is used again")
	f.close()
}

// What was told is let go of by the next Apply, however little that changes: a large batch's values do not stay in memory.
func TestTheFeedKeepsNothing(t *testing.T) {
	f := open(t, newMemory())
	f.store.Follow(func(Batch) {})
	large := []command.Command{addBucket("app", command.Settings{})}
	for i := range 100 {
		large = append(large, put("app", name(i), "v"))
	}
	f.apply(large...)
	f.apply(put("app", "k", "v"))
	list := f.store.feed.events.list
	require.Greater(t, cap(list), 100)
	for _, e := range list[len(list):cap(list)] {
		require.Zero(t, e)
	}
	f.close()
}

func TestAFailedApplyTellsNothing(t *testing.T) {
	f := open(t, newMemory())
	told := 0
	f.store.Follow(func(Batch) { told++ })
	f.one(addBucket("app", command.Settings{}))
	_, err := f.store.Apply([]rpc.Entry{
		{Index: 2, Term: 1, Kind: rpc.EntryCommand, Data: put("app", "k", "v").Encode()}, {Index: 3, Term: 1, Kind: rpc.EntryCommand, Data: []byte("\x08\x09")},
	})
	require.Error(t, err)
	require.Equal(t, 1, told)
	f.close()
}

func TestARestoreIsToldAsAReset(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.at(time.Second, addBucket("app", command.Settings{TTL: time.Second}), put("app", "k", "v"))
		stream := streamOf(t, f.store)
		f.close()
		f = open(t, fresh())
		var told []Batch
		f.store.Follow(func(b Batch) { told = append(told, b) })
		require.Empty(t, f.due(time.Hour, 10))
		require.Error(t, f.store.Restore(bytes.NewReader(stream[:20])))
		require.NoError(t, f.store.Restore(bytes.NewReader(stream)))
		require.Equal(t, []Batch{{At: 2, Time: int64(time.Second), Reset: true}}, told)
		require.Len(t, f.due(time.Hour, 10), 1, "and the schedule is made anew")
		f.close()
	})
}

// Whoever is told of a change and looks, sees it: also what Applies remember of a bucket is as new as what is told.
func TestAFollowerSeesWhatItIsToldOf(t *testing.T) {
	f := open(t, newPebble())
	defer f.close()
	looked := 0
	f.store.Follow(func(b Batch) {
		for _, e := range b.Events {
			info, err := f.store.Bucket(e.Bucket)
			require.NoError(t, err)
			switch e.Kind {
			case BucketAdded, BucketUpdated:
				require.Equal(t, *e.Settings, info.Settings)
			case Stored:
				require.Equal(t, e.Entry.Sequence, info.Sequence)
				last, err := f.store.Last(e.Bucket, e.Entry.Key)
				require.NoError(t, err)
				require.Equal(t, e.Entry.Sequence, last.Sequence)
			}
			looked++
		}
	})
	f.one(addBucket("app", command.Settings{History: 1}))
	f.one(put("app", "k", "v"))
	f.one(command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{History: 5}}})
	f.one(put("app", "k", "w"))
	require.GreaterOrEqual(t, looked, 4)
}

// A read sees one state, also beside an Apply: a key that is there in each of them is found, and a bucket's counts never go back.
func TestReadsBesideAnApplySeeOneState(t *testing.T) {
	t.Parallel()
	f := open(t, newPebble())
	defer f.close()
	anew := []command.Command{removeBucket("app"), addBucket("app", command.Settings{}), put("app", "k", "v")}
	f.apply(anew[1:]...)
	done, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(stopped)
		for made := uint64(0); ; {
			select {
			case <-done:
				return
			default:
			}
			_, err := f.store.Last("app", "k")
			state, stateErr := f.store.State("app")
			info, infoErr := f.store.Bucket("app")
			if err := errors.Join(err, stateErr, infoErr); err != nil {
				stopped <- err
				return
			}
			if state.Incarnation < made || info.Incarnation < state.Incarnation {
				stopped <- fmt.Errorf("made at %d, then %d, then %d", made, state.Incarnation, info.Incarnation)
				return
			}
			made = info.Incarnation
		}
	}()
	for range 2_000 {
		f.apply(anew...)
	}
	close(done)
	require.NoError(t, <-stopped)
}

// onCommit is an engine that calls when a batch is about to be readable, and when it is and Apply does not know that yet.
type onCommit struct {
	*memengine.Memory
	call func()
}

func (e onCommit) Open() (engine.DB, error) {
	db, err := e.Memory.Open()
	return onCommitDB{db, e.call}, err
}

type onCommitDB struct {
	engine.DB
	call func()
}

func (d onCommitDB) NewBatch() engine.Batch { return onCommitBatch{d.DB.NewBatch(), d.call} }

type onCommitBatch struct {
	engine.Batch
	call func()
}

func (b onCommitBatch) Commit() error {
	b.call()
	defer b.call()
	return b.Batch.Commit()
}

// What is remembered of a bucket, also what a read has just found, is not believed in the moment when its entries are newer already: a read that
// comes then would tell less than the one before it.
func TestWhatIsRememberedIsNotOlderThanWhatIsRead(t *testing.T) {
	var s *Store
	looked := 0
	s, err := Open(Options{ManualFlush: true, Engine: onCommit{memengine.New(), func() {
		state, gone := s.State("app")
		info, err := s.Bucket("app")
		require.Equal(t, gone, err)
		require.Equal(t, state.BucketInfo, info)
		looked++
	}}})
	require.NoError(t, err)
	f := feeder{t, s}
	f.one(addBucket("app", command.Settings{}))
	for range 3 {
		f.one(put("app", "k", "v"))
	}
	f.one(removeBucket("app"))
	require.Equal(t, 10, looked)
	f.close()
}
