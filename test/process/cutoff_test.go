package process

// One node cut off from NATS in silence: its connections stay as they are, half-open (F10).

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noticed is how soon a node knows that its connections are dead, and how soon it is back when they could live (F10).
const noticed = 4 * time.Second

// The leader sends into nothing, hears nothing, or both: another leads soon (F10, K63, L1); it notices by itself, and its return
// causes no election (F2, L3).
func TestHalfOpenConnections(t *testing.T) {
	needNamespaces(t)
	c := started(t, layout{nodes: 3, hosts: true})
	for _, way := range []struct {
		name  string
		rules func(node string) []*rule
	}{
		{"sends into nothing", func(node string) []*rule { return oneWay([]string{node}, c.serverNames()) }},
		{"hears nothing", func(node string) []*rule { return oneWay(c.serverNames(), []string{node}) }},
		{"is cut off", func(node string) []*rule { return between([]string{node}, c.serverNames(), vanish) }},
	} {
		c.converged(time.Minute)
		leader := c.leader()
		l := startLoad(c, 4, 20, 4*time.Millisecond)
		l.waitAck(time.Now(), worstGap)
		c.halfOpen(l, way.name, leader, way.rules(leader))
		l.finish()
	}
}

func (c *cluster) halfOpen(l *load, name, leader string, rules []*rule) {
	t, node := c.t, c.nodes[leader]
	before := node.said("connection to NATS lost")
	cut := time.Now()
	lift := c.net.impose(rules...)
	require.NotEqual(t, leader, c.leader(leader))
	l.waitAck(time.Now(), worstGap)
	gap := l.longestGap(cut, time.Now())
	require.Less(t, gap, worstGap)
	require.Eventually(t, func() bool { return node.said("connection to NATS lost") >= before+3 },
		time.Until(cut.Add(noticed)), 5*time.Millisecond, "not all three connections were found dead")
	term := c.term()
	lift()
	lifted := time.Now()
	require.Eventually(t, func() bool { _, there := c.statuses()[leader]; return there }, noticed, 5*time.Millisecond, "%s does not come back", leader)
	back := time.Since(lifted)
	c.converged(time.Minute)
	require.Equal(t, term, c.term(), "the return of %s caused an election", leader)
	t.Logf("%s %s: %v without a write, back %v after the end of it", leader, name, rounded(gap), rounded(back))
}

// A leader that was cut off leaves its subscriptions with NATS, which hears of no end; when it could, NATS is long in trying again to send what it
// has for it. A planned move at that moment loses no request: the one who leads listens until they are gone (L2).
func TestPlannedMoveAfterACutOff(t *testing.T) {
	needNamespaces(t)
	c := started(t, layout{nodes: 3, hosts: true})
	for name, move := range map[string]func(leader string){
		"a transfer": func(string) { c.command("leader", "transfer") },
		"a stop":     c.restart,
	} {
		c.converged(time.Minute)
		leader := c.leader()
		l := startLoad(c, 4, 20, 4*time.Millisecond)
		l.waitAck(time.Now(), worstGap)
		lost := c.nodes[leader].said("connection to NATS lost")
		lift := c.net.impose(between([]string{leader}, c.serverNames(), vanish)...)
		next := c.leader(leader)
		require.Eventually(t, func() bool { return c.nodes[leader].said("connection to NATS lost") >= lost+3 }, 2*noticed, 5*time.Millisecond)
		time.Sleep(noticed) // the longer it is cut off, the longer NATS waits until it tries again
		p := startProbe(c.connect(), true, 0)
		lift()
		move(next)
		c.leader(next)
		asked, gone := p.finish()
		t.Logf("%s of %s, %s was cut off: a client that asks again: %d requests, the slowest took %v", name, next, leader, asked, rounded(p.slowest))
		require.Zero(t, gone, "a planned move lost a request: %s", p.failure)
		l.finish()
	}
}
