package sim

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	seedsFlag  = flag.Int("seeds", seedsAtOnce, "how many seeds to run")
	fromFlag   = flag.Uint64("from", 0, "the first seed")
	showFlag   = flag.Bool("show", false, "write what happens, to read it")
	firstFlag  = flag.Bool("first", false, "end at the first seed that fails")
	shrinkFlag = flag.Bool("shrink", true, "make failures smaller")
	faultsFlag = flag.String("faults", "", "the numbers of the only faults that happen, or none")
	calmFlag   = flag.String("calm", "", "what is not wrong with the bus: late, repeat, reorder, nobody, stray, loss, payload, delay")
	chaosFlag  = flag.Duration("chaos", 0, "when the faults end")
	manyFlag   = flag.Bool("multicast", false, "nodes send what peers are to get alike as one message")
)

// Seeds keep every promise, together they come into every situation, and each is the same run when it is run again.
func TestSeeds(t *testing.T) {
	v, err := parseVariant(*faultsFlag, *calmFlag, *chaosFlag)
	require.NoError(t, err)
	v.multicast = *manyFlag
	if *showFlag {
		for seed := *fromFlag; seed < *fromFlag+uint64(*seedsFlag); seed++ {
			if r := runSeed(seed, options{log: os.Stdout, variant: v}); r.wrong != nil {
				t.Errorf("seed %d, at %v: %v", seed, r.at, r.wrong)
			}
		}
		return
	}
	failures := wrongMax
	if *firstFlag {
		failures = 1
	}
	c := runCampaign(*fromFlag, *seedsFlag, failures, v)
	t.Log(c)
	for _, r := range c.wrong {
		smaller := v
		if *shrinkFlag {
			smaller = shrink(r, v)
		}
		t.Errorf("seed %d, at %v: %v\n\t%s", r.seed, r.at, r.wrong, smaller.command(r.seed))
	}
	if len(c.wrong) > 0 || *firstFlag {
		return
	}
	for i, again := range runCampaign(*fromFlag, len(c.first), failures, v).first {
		require.Equal(t, c.first[i], again, "seed %d is another run when it is run again", again.seed)
	}
	if v.whole() {
		require.Empty(t, c.total.reach.lacking(*seedsFlag), "%d seeds came into none of these situations: reach.go", *seedsFlag)
	}
}

// A campaign that was long enough for a situation, and never came into it, is told so.
func TestWhatACampaignDoesNotReachIsNamed(t *testing.T) {
	all := reach{}
	for s := range all {
		all[s] = 1
	}
	require.Empty(t, all.lacking(seldom))
	all[snapshotInJoint], all[startInJoint] = 0, 0
	require.Empty(t, all.lacking(often-1))
	require.Equal(t, []string{known[startInJoint].name}, all.lacking(often))
	require.Len(t, all.lacking(seldom), 2)
	var two reach
	two.add(&reach{twoLeaders: 3})
	two.add(&reach{twoLeaders: 2, leaderFull: 1})
	require.Equal(t, reach{twoLeaders: 2, leaderFull: 1}, two)
	for s := range known {
		require.NotEmpty(t, known[s].name)
	}
}

func TestSeedsDiffer(t *testing.T) {
	require.NotEqual(t, runSeed(1, options{}).hash, runSeed(2, options{}).hash)
}

// What is read changes nothing.
func TestATraceThatIsReadIsTheSame(t *testing.T) {
	require.Equal(t, runSeed(3, options{}).hash, runSeed(3, options{log: discard{}}).hash)
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// A stamp must be what package time would make of it.
func TestStampsAreTimesWithTwoReadings(t *testing.T) {
	wall := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)
	a, b := stamp(wall, time.Second), stamp(wall.Add(-time.Hour), 3*time.Second)
	require.Equal(t, wall.UnixNano(), a.UnixNano())
	require.Equal(t, wall.UnixNano()-int64(time.Hour), b.UnixNano())
	require.Equal(t, 2*time.Second, b.Sub(a), "the monotonic reading counts")
	require.True(t, a.Before(b))
	require.True(t, a.Add(time.Minute).After(b))
	require.Equal(t, 58*time.Second, a.Add(time.Minute).Sub(b))
	require.True(t, a.Round(0).Equal(wall))
}

// A machine that is suspended counts no time, and one that is started anew meanwhile does not go back to before.
func TestASuspendedClockStandsStillAndNeverGoesBack(t *testing.T) {
	w := &world{}
	c := nodeClock{world: w, rate: 1}
	w.now = time.Second
	c.suspend()
	w.now = 3 * time.Second
	require.Equal(t, time.Second, c.read())
	c.drift(2)
	require.Equal(t, time.Second, c.read())
	c.wake()
	w.now = 4 * time.Second
	require.Equal(t, 3*time.Second, c.read())
	c.wake()
	require.Equal(t, 3*time.Second, c.read())
}

// The leader's own clock is one among the voters': that it is set ahead moves the cluster's time no more than another's does (F24).
func TestALeadersClockThatIsSetMovesNoTime(t *testing.T) {
	for seed := range uint64(10) {
		o := options{variant: variant{faults: []int{}}}
		p := drawPlan(seed)
		o.apply(p)
		p.nodes, p.spares = 3, 0
		w := newWorld(seed, p)
		w.faults.only = o.set()
		for _, n := range w.list {
			w.at(0, n.restart)
		}
		var leader *process
		leads := func() bool {
			for _, n := range w.list {
				if n.process != nil && n.process.status.Serving {
					leader = n.process
				}
			}
			return leader != nil
		}
		require.True(t, w.run(time.Minute, leads), "seed %d", seed)
		w.run(w.now+5*time.Second, nil) // all have heard each other's clocks
		leader.node.clock.wall += time.Hour
		w.run(w.now+5*time.Second, func() bool {
			require.Less(t, time.Duration(leader.raft.Clock()-epoch.Add(w.now).UnixNano()), time.Second, "seed %d", seed)
			return false
		})
		require.Equal(t, leader, leader.node.process, "seed %d: it ran to the end", seed)
	}
}

// Of a write that a full disk has no place for, a follower's term may be durable all the same (F21): the watcher has seen that before anything is said in it.
func TestAFullDiskTakesTheHeadOfAWrite(t *testing.T) {
	for seed := range uint64(5) {
		o := options{variant: variant{faults: []int{}}}
		p := drawPlan(seed)
		o.apply(p)
		p.nodes, p.spares, p.segmentBytes, p.clients, p.small = 3, 0, 8<<10, 6, false
		w := newWorld(seed, p)
		w.faults.only = o.set()
		for _, n := range w.list {
			w.at(0, n.restart)
		}
		w.trade.begin()
		require.True(t, w.run(time.Minute, func() bool { return w.watch.last() > 20 && len(w.leaders()) == 1 }))
		leader := w.leaders()[0].node
		follower := w.list[0]
		if follower == leader {
			follower = w.list[1]
		}
		follower.disk.full = true
		follower.disconnect()
		leader.crash(loseNone, 0)
		leader.restart()
		from := w.watch.last()
		require.True(t, w.run(w.now+time.Minute, func() bool { return w.watch.last() > from+300 }))
		follower.connect()
		term := follower.mirror.HardState.Term
		require.True(t, w.run(w.now+time.Minute, func() bool { return follower.process.status.Term > term }))
		w.run(w.now+5*time.Second, nil)
		require.Greater(t, follower.mirror.HardState.Term, term)
		require.Less(t, follower.mirror.Last.Index, from+300, "seed %d: what followed had no place", seed)
	}
}

// What a start believes of its log is on the disk, also where an earlier life failed while an entry was repaired (F18, F20, D3).
func TestARepairThatFailsIsNotBelieved(t *testing.T) {
	for fails := 1; fails < 40; fails++ {
		o := options{variant: variant{faults: []int{}}}
		p := drawPlan(1)
		o.apply(p)
		p.nodes, p.spares, p.segmentBytes, p.keepLog, p.valueMax, p.small = 3, 0, 8<<10, []int64{1 << 30}, 1000, false
		w := newWorld(1, p)
		w.faults.only = o.set()
		for _, n := range w.list {
			w.at(0, n.restart)
		}
		w.trade.begin()
		require.True(t, w.run(time.Minute, func() bool { return w.watch.last() > 60 && len(w.leaders()) == 1 }))
		n := w.list[0]
		n.loseEntry(rand.New(rand.NewPCG(0, 0)))
		n.crash(loseNone, 0)
		n.restart()
		require.NotEmpty(t, n.mirror.Damaged)
		n.disk.failIn = fails
		whole := func() bool { return n.process != nil && n.disk.failIn == 0 && len(n.mirror.Damaged) == 0 }
		require.True(t, w.run(w.now+time.Minute, whole), "operation %d", fails)
	}
}
