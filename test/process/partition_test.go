package process

// Partial partitions (F3, F7): which nodes hear each other is no longer an equivalence. Each node uses one NATS server of
// its own, and servers relay one hop only, so to cut the route of two servers is to part their nodes and nobody else.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shape is a partial partition by places: which still have a link, and at which the leader is when the rest is cut.
type shape struct {
	name   string
	links  [][2]int
	leader int
	nodes  int
	ways   []way // to take it, one after the other
}

// way is what is left of the links that are cut, and whether clients ask while that happens. Both are hard: asked, an old
// leader may answer what a new one knows better; not asked, no new entries keep those from being elected that do not hear
// the leader (K58).
type way struct {
	fate  fate
	asked bool
}

func (w way) String() string { return fmt.Sprintf("the rest %s, asked %v", w.fate, w.asked) }

var (
	twoWays  = []way{{refuse, true}, {vanish, false}}
	onlyIdle = []way{{refuse, false}}
)

var (
	chainOf3 = [][2]int{{0, 1}, {1, 2}} // which is the bridge, the star and the single quorum-connected node of 3, too
	chainOf5 = [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}}
	bridge   = [][2]int{{0, 1}, {0, 2}, {1, 2}, {2, 3}, {2, 4}, {3, 4}}
	star     = [][2]int{{2, 0}, {2, 1}, {2, 3}, {2, 4}} // only the middle is connected to a quorum
)

// In each of them some node is connected to a quorum. Where the leader is not, another must take over; where it is, those that
// do not hear it must let it be.
var shapes = []shape{
	{"chain of 3, from an end", chainOf3, 0, 3, twoWays},
	{"chain of 3, from the middle", chainOf3, 1, 3, onlyIdle},
	{"chain of 5, from an end", chainOf5, 0, 5, twoWays},
	{"chain of 5, from the middle", chainOf5, 2, 5, onlyIdle},
	{"bridge of 5, from a side", bridge, 0, 5, twoWays},
	{"bridge of 5, from the middle", bridge, 2, 5, onlyIdle},
	{"star of 5, from a point", star, 1, 5, twoWays},
	{"star of 5, from the middle", star, 2, 5, onlyIdle},
}

// electionTimeout is the longest E; electionsMax of them may pass until a leader stays (L4).
const (
	electionTimeout = 2 * time.Second
	electionsMax    = 4
)

// A stable leader within 4 E, and writes through it; healing changes no leader (F2, L3, L4; K58, K59, K63).
func TestPartialPartitions(t *testing.T) {
	needNamespaces(t)
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			c := started(t, layout{nodes: s.nodes, servers: s.nodes, hosts: true, paired: true})
			r := c.random()
			for _, how := range s.ways {
				c.partition(s, how, r)
			}
		})
	}
}

// partition has a cluster that is well take a shape, and heals it.
func (c *cluster) partition(s shape, how way, r *rand.Rand) {
	places := s.place(c, r)
	c.converged(time.Minute)
	before, acked := c.term(), []ack(nil)
	begin := func() {}
	if how.asked {
		l := c.askEverywhere()
		begin = func() { l.useFor(2 * electionTimeout); acked = l.acks() }
	}
	lift := c.net.impose(s.cuts(places, how.fate)...)
	w := c.watchReigns()
	defer w.end()
	begin()
	stable := w.stable(electionsMax * electionTimeout)
	s.requireShape(c, places)
	served := c.askEverywhere()
	gap := served.useFor(electionTimeout)
	after := w.now()
	lift()
	c.converged(time.Minute)
	c.t.Logf("%s, %v; places %v: %s leads after %v, term %d -> %d; then at most %v without a write",
		s.name, how, places, stable.leader, rounded(stable.since.Sub(w.from)), before, stable.term, rounded(gap))
	if s.quorum(s.leader) {
		require.Equal(c.t, before, stable.term, "nobody had to take over from a leader that kept its quorum")
	}
	require.Less(c.t, gap, electionTimeout/2, "a stable leader serves")
	require.Equal(c.t, stable.term, after.term, "being used unsettles the leader")
	require.Equal(c.t, stable.term, c.term(), "healing caused an election")
	c.checkAcked(append(acked, served.acks()...))
}

// askEverywhere has clients at every server, and returns when they are answered.
func (c *cluster) askEverywhere() *load {
	l := startLoad(c, 2*len(c.members), 5, 10*time.Millisecond)
	l.waitAck(time.Now(), worstGap)
	return l
}

// useFor lets clients ask for a while and judges what they saw. It returns the longest time without a write.
func (l *load) useFor(length time.Duration) (gap time.Duration) {
	began := time.Now()
	time.Sleep(length)
	gap = l.longestGap(began, time.Now())
	l.end()
	return gap
}

// requireShape makes sure that the partition is what it is meant to be: nodes are linked as their places are.
func (s shape) requireShape(c *cluster, places []string) {
	require.Eventually(c.t, func() bool {
		all, is := c.statuses(), true
		for i, a := range places {
			for _, l := range all[a].Links {
				is = is && (l.State == "connected") == s.linked(i, slices.Index(places, l.Peer))
			}
		}
		return is && len(all) == len(places)
	}, worstGap, 20*time.Millisecond, "not %s of %v:\n%s", s.name, places, c.describe())
}

func (s shape) linked(i, j int) bool {
	return slices.Contains(s.links, [2]int{i, j}) || slices.Contains(s.links, [2]int{j, i})
}

// quorum reports whether a place is linked to a majority, itself included.
func (s shape) quorum(i int) bool {
	count := 1
	for j := range s.nodes {
		if s.linked(i, j) {
			count++
		}
	}
	return count > s.nodes/2
}

// place gives each place a node: the leader its own, the others by chance.
func (s shape) place(c *cluster, r *rand.Rand) []string {
	leader := c.leader()
	return slices.Insert(c.followers(r, leader), s.leader, leader)
}

// cuts parts the servers of nodes whose places have no link.
func (s shape) cuts(places []string, f fate) (rules []*rule) {
	for i, a := range places {
		for j, b := range places[:i] {
			if !s.linked(i, j) {
				rules = append(rules, between([]string{serverOf(a)}, []string{serverOf(b)}, f)...)
			}
		}
	}
	return rules
}

// serverOf is the server that a node of a paired cluster uses.
func serverOf(node string) string { return "s" + node[1:] }

// reign is who leads, in which term, and since when the test has seen that.
type reign struct {
	leader string
	term   uint64
	since  time.Time
}

// reigns watches who leads.
type reigns struct {
	c    *cluster
	from time.Time
	stop chan struct{}
	done chan struct{}
	mu   sync.Mutex
	last reign
}

// watchReigns begins now. Whoever calls it ends it.
func (c *cluster) watchReigns() *reigns {
	now := time.Now()
	w := &reigns{c: c, from: now, stop: make(chan struct{}), done: make(chan struct{}), last: reign{since: now}}
	go w.run()
	return w
}

func (w *reigns) run() {
	defer close(w.done)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-poll.C:
		}
		leader, term, ok := w.c.reign()
		w.mu.Lock()
		if ok && (leader != w.last.leader || term != w.last.term) {
			w.last = reign{leader, term, time.Now()}
		}
		w.mu.Unlock()
	}
}

func (w *reigns) end() { close(w.stop); <-w.done }

func (w *reigns) now() reign {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// reign asks who leads: of several that think so the one of the latest term. ok: all nodes have answered.
func (c *cluster) reign() (leader string, term uint64, ok bool) {
	all := c.statuses()
	for id, s := range all {
		if s.Ready && s.Leader == id && s.Term > term {
			leader, term = id, s.Term
		}
	}
	return leader, term, len(all) == len(c.members)
}

// stable waits until a leader has stayed for -calm. The last change must have come soon enough after the watch began.
func (w *reigns) stable(within time.Duration) reign {
	for {
		last := w.now()
		late := last.leader == "" && time.Since(w.from) > within || last.since.Sub(w.from) > within
		require.False(w.c.t, late, "no stable leader %v after the cut: %+v\n%s", time.Since(w.from), last, w.c.describe())
		if last.leader != "" && time.Since(last.since) >= *calm {
			return last
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// describe is what every node says of itself.
func (c *cluster) describe() (text string) {
	all := c.statuses()
	for _, id := range c.members {
		s, ok := all[id]
		if !ok {
			text += id + " does not answer\n"
			continue
		}
		var links []string
		for _, l := range s.Links {
			links = append(links, l.Peer+" "+l.State)
		}
		text += fmt.Sprintf("%s: %s in term %d, leader %q, ready %v, committed %d, applied %d, last %d, links %v\n",
			id, s.Role, s.Term, s.Leader, s.Ready, s.Commit, s.Applied, s.LogLast, links)
	}
	return text
}
