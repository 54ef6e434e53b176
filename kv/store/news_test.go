package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// watched is an engine that calls look when a view was taken, and at the beginning of each scan of one.
type watched struct {
	engine.Engine
	look *func()
}

func (w watched) Open() (engine.DB, error) {
	db, err := w.Engine.Open()
	return watchedDB{db, w.look}, err
}

type watchedDB struct {
	engine.DB
	look *func()
}

func (w watchedDB) NewView() engine.View {
	defer (*w.look)()
	return watchedView{w.DB.NewView(), w.look}
}

type watchedView struct {
	engine.View
	look *func()
}

func (w watchedView) Scan(from, to []byte, visit func(key, value []byte) (bool, error)) error {
	(*w.look)()
	return w.View.Scan(from, to, visit)
}

// However long somebody looks for what is over, Apply does not wait for it (L1). What is applied meanwhile is there for the next look, and that one
// does not take it back which could not see it.
func TestApplyWaitsForNobodyWhoLooks(t *testing.T) {
	for moment := 1; moment <= 4; moment++ { // the view, all buckets, what is over by its own time, and by the bucket's
		look := func() {}
		s, err := Open(Options{Engine: watched{memengine.New(), &look}, ManualFlush: true})
		require.NoError(t, err)
		f := feeder{t, s}
		f.at(time.Second, addBucket("app", command.Settings{AllowTTL: true, TTL: 2 * time.Hour}), putTTL("app", "late", time.Hour))
		seen := 0
		look = func() {
			if seen++; seen == moment {
				f.applyWithin(5*time.Second, putTTL("app", "soon", time.Minute))
			}
		}
		require.Empty(t, f.due(time.Second, 10))
		require.Equal(t, 4, seen)
		next, any := f.nextDue()
		require.True(t, any)
		require.Equal(t, time.Minute+time.Second, next)
		f.close()
	}
}

// applyWithin applies a command at the log's time, on another goroutine.
func (f feeder) applyWithin(limit time.Duration, c command.Command) {
	entry := rpc.Entry{Index: f.store.Applied().Index + 1, Term: 1, Kind: rpc.EntryCommand, Time: f.store.Time(), Data: c.Encode()}
	applied := make(chan error, 1)
	go func() {
		_, err := f.store.Apply([]rpc.Entry{entry})
		applied <- err
	}()
	select {
	case err := <-applied:
		require.NoError(f.t, err)
	case <-time.After(limit):
		require.Fail(f.t, "Apply waits")
	}
}

// Of several changes between two looks the soonest counts, and the last settings.
func TestNewsOfOneBucketIsOne(t *testing.T) {
	f := open(t, newMemory())
	ttl := func(ttl time.Duration) command.Command {
		return command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{AllowTTL: true, TTL: ttl}}}
	}
	requireNext := func(want time.Duration) {
		t.Helper()
		next, any := f.nextDue()
		require.True(t, any)
		require.Equal(t, want, next)
	}
	f.at(time.Second, addBucket("app", command.Settings{AllowTTL: true, TTL: time.Hour}))
	f.due(time.Second, 10)
	for i, own := range []time.Duration{9, 5, 7} {
		f.at(time.Second, putTTL("app", name(i), own*time.Minute))
	}
	requireNext(time.Second + 5*time.Minute)

	f.at(time.Second, command.Command{PurgeBucket: &command.PurgeBucket{Name: "app"}})
	require.Empty(t, f.due(2*time.Hour, 10))
	_, any := f.nextDue()
	require.False(t, any)
	f.at(2*time.Second, ttl(0))
	f.at(3*time.Second, put("app", "k", "v"))
	f.at(4*time.Second, ttl(time.Hour))
	f.at(5*time.Second, put("app", "l", "v"))
	requireNext(3*time.Second + time.Hour)
	require.Len(t, f.store.schedule.tables, 1)
	f.at(6*time.Second, ttl(time.Minute))
	f.at(7*time.Second, removeBucket("app"))
	_, any = f.nextDue()
	require.False(t, any)
	require.Empty(t, f.store.schedule.tables)
	f.close()
}

// News is bounded, also where nobody asks for it any more: then the next look begins anew.
func TestNewsIsBounded(t *testing.T) {
	f := open(t, newMemory())
	f.at(time.Second, addBucket("app", command.Settings{AllowTTL: true}))
	_, any := f.nextDue()
	require.False(t, any)
	for i := range uint64(newsMax) {
		f.store.schedule.news.changes[i+1e9] = change{}
	}
	f.at(time.Second, putTTL("app", "k", time.Second))
	require.Empty(t, f.store.schedule.news.changes)
	f.at(time.Second, putTTL("app", "l", time.Minute))
	require.Empty(t, f.store.schedule.news.changes)
	require.Len(t, f.due(2*time.Second, 10), 1)
	f.at(2*time.Second, putTTL("app", "k", time.Hour))
	require.Len(t, f.store.schedule.news.changes, 1)
	f.close()
}

// Who begins to lead lists all buckets before it serves anybody: with one view and one scan, however many they are (L1).
func TestAllBucketsAreListedInOneScan(t *testing.T) {
	looks := 0
	look := func() { looks++ }
	s, err := Open(Options{Engine: watched{memengine.New(), &look}, ManualFlush: true})
	require.NoError(t, err)
	f := feeder{t, s}
	f.at(time.Second, addBucket("b", command.Settings{}), addBucket("a", command.Settings{}), command.Command{AddBucket: &command.AddBucket{Name: "c", Importing: true}})
	looks = 0
	var all []string
	require.NoError(t, s.EachBucket(func(name string, _ *command.Settings, importing bool) { all = append(all, fmt.Sprint(name, importing)) }))
	require.Equal(t, []string{"afalse", "bfalse", "ctrue"}, all)
	require.Equal(t, 2, looks)
	f.close()
}
