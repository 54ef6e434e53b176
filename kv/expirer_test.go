package kv

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Expiry is proposed by a leader only, as soon as the cluster's clock says so, in bounded parts, and costs the log nothing when nothing
// is over. In the rig an entry of the log takes a second, and the clock is that of the next entry.
func TestExpiryIsProposedByTheLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", `{"allow_ttl":true}`)
	const count = expiryMax + 10
	for i := range count {
		r.ask("kv.put.app.k"+strconv.Itoa(i), "v", headerTTL, strconv.Itoa(count+20)+"s")
	}
	before := r.store.Applied()
	time.Sleep(3 * expiryPeriod)
	require.Equal(t, before, r.store.Applied(), "nothing is over, and nothing is logged")
	r.stepDown()
	for r.node.Clock() < int64(2*count+40)*int64(time.Second) {
		r.node.set(func(n *solo) { n.leading = true }) // the log grows, and no service knows that it leads
		require.NoError(t, r.node.Propose(command.Command{RemoveBucket: &command.RemoveBucket{Name: "none"}}.Encode(), func(any, rpc.EntryID) {}))
	}
	before = r.store.Applied()
	time.Sleep(3 * expiryPeriod)
	require.Equal(t, before, r.store.Applied(), "who does not lead proposes nothing")
	r.lead()
	require.Eventually(t, func() bool {
		return strings.Contains(string(r.ask("bucket.info.app", "").Data), `"values":0`)
	}, 10*time.Second, 10*time.Millisecond)
	require.EqualValues(t, before.Index+2, r.store.Applied().Index, "two commands did it")
}

// What is more than one command may end goes on at once, and not so much each time that the expirer looks.
func TestMuchThatIsOverGoesOnAtOnce(t *testing.T) {
	st, err := store.Open(store.Options{FS: vfs.NewMem(), Dir: "store"})
	require.NoError(t, err)
	n := newSolo(st)
	n.lead(true)
	s := &Service{node: n, store: st, elected: bell.New(), stop: make(chan struct{}), waits: waits{expiryWait: time.Minute}}
	s.epoch.Add(1) // it leads
	propose := func(c command.Command) {
		require.NoError(t, n.Propose(c.Encode(), func(any, rpc.EntryID) {}))
	}
	propose(command.Command{AddBucket: &command.AddBucket{Name: "app", Settings: command.Settings{AllowTTL: true}}})
	for i := range 2 * expiryMax {
		propose(command.Command{Write: &command.Write{Bucket: "app", Key: strconv.Itoa(i), TTL: time.Hour}})
	}
	require.False(t, s.expireSome(), "nothing is over")
	n.behind.Store(-int64(2 * time.Hour))
	require.False(t, s.expireSome(), "the log is behind the clock: nothing went, and would at once")
	n.behind.Store(0)
	later := command.Command{RemoveBucket: &command.RemoveBucket{Name: "none"}}
	_, err = st.Apply([]rpc.Entry{{Index: st.Applied().Index + 1, Term: 1, Kind: rpc.EntryCommand, Time: int64(2 * time.Hour), Data: later.Encode()}})
	require.NoError(t, err)
	for range 2 {
		require.True(t, s.expireSome())
	}
	require.False(t, s.expireSome(), "all has gone")
	require.NoError(t, st.Close())
}

// A deposed leader hears nothing of what it had proposed. When it leads again it proposes what is over all the same, at once (L9), and so does one
// that hears nothing for long.
func TestAnExpiryThatIsNotHeardOfIsProposedAgain(t *testing.T) {
	for wait, deposed := range map[time.Duration]bool{time.Millisecond: false, time.Hour: true} {
		r := newRig(t, func(o *Options) { o.expiryWait = wait })
		r.lead()
		r.ask("bucket.add.app", `{"allow_ttl":true}`)
		r.ask("kv.put.app.k", "v", headerTTL, "1h")
		r.node.set(func(n *solo) { n.hold = true })
		r.node.behind.Store(-int64(2 * time.Hour)) // the clock is ahead of the log
		r.awaitHeld()
		if deposed {
			r.node.lead(false)
			r.node.lead(true) // before anybody has looked
		}
		r.awaitHeld()
	}
}

// What is over by the log's time goes, though the voters' clocks were put back since: the log's does not go back.
func TestExpiryDoesNotWaitForClocksThatWerePutBack(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", `{"allow_ttl":true}`)
	r.node.behind.Store(int64(time.Hour))
	r.ask("kv.put.app.k", "v", headerTTL, "2s")
	r.ask("kv.put.app.other", "v")
	r.ask("kv.put.app.other", "v")
	require.Eventually(t, func() bool {
		return strings.Contains(string(r.ask("bucket.info.app", "").Data), `"values":1`)
	}, 10*time.Second, 10*time.Millisecond)
}

// What is over is gone within a tenth of a second: who waits for a lock whose holder is dead waits that much longer.
func TestWhatIsOverGoesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(store.Options{Engine: memengine.New(), ManualFlush: true})
		require.NoError(t, err)
		n := newSolo(st)
		n.lead(true)
		s := &Service{node: n, store: st, elected: bell.New(), stop: make(chan struct{}), waits: waits{expiryWait: time.Minute}}
		s.epoch.Add(1) // it leads
		s.run(s.expirer)
		for _, c := range []command.Command{
			{AddBucket: &command.AddBucket{Name: "app", Settings: command.Settings{AllowTTL: true}}},
			{Write: &command.Write{Bucket: "app", Key: "lock", TTL: time.Second}},
		} {
			require.NoError(t, n.Propose(c.Encode(), func(any, rpc.EntryID) {}))
		}
		time.Sleep(100 * time.Millisecond)
		info, err := st.Bucket("app")
		require.NoError(t, err)
		require.Zero(t, info.Entries)
		close(s.stop)
		s.wg.Wait()
		require.NoError(t, st.Close())
	})
}
