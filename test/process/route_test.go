package process

// Where servers tell of each other, a node that begins at the nearest is at any of them once each was started anew, and stays there.

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// F7, L4: both connections of a node to its peers are at one server by then. So a route that is cut parts the nodes of two servers only, and there is a
// leader, whichever route it is. At a server each, two routes of three are between some connections of each pair of nodes.
func TestACutRouteLeavesALeader(t *testing.T) {
	needNamespaces(t)
	t.Parallel()
	c := started(t, layout{nodes: 3, servers: 3, hosts: true, paired: true, told: true})
	for _, s := range c.servers {
		s.kill()
		c.startServer(s)
		c.togetherAgain()
	}
	for i, s := range c.servers {
		other := c.servers[(i+1)%3]
		l := c.askEverywhere()
		lift := c.net.impose(between([]string{s.name}, []string{other.name}, refuse)...)
		gap := l.useFor((electionsMax + 1) * electionTimeout)
		t.Logf("%s-%s: at most %v without a write", s.name, other.name, rounded(gap))
		require.Less(t, gap, electionsMax*electionTimeout)
		lift()
		c.converged(time.Minute)
	}
}

// togetherAgain waits until a node's connections to its peers are at one server, for each node.
func (c *cluster) togetherAgain() {
	require.Eventually(c.t, func() bool {
		for _, id := range c.members {
			control, bulk := c.nodes[id].at("control"), c.nodes[id].at("bulk")
			if control == "" || control != bulk {
				return false
			}
		}
		return true
	}, 15*time.Second, 50*time.Millisecond, "not together: %s", c.describe())
	c.converged(time.Minute)
}

// at is the server that a node's connection is at, as its log says; empty: none.
func (p *program) at(role string) (server string) {
	for line := range strings.Lines(p.log.String()) {
		switch {
		case !strings.Contains(line, "/"+role+" ") && !strings.Contains(line, "/"+role+`"`):
		case strings.Contains(line, "connected to NATS"):
			_, rest, _ := strings.Cut(line, "server")
			server = strings.Trim(rest, "=\":}\n ")
		case strings.Contains(line, "connection to NATS lost"), strings.Contains(line, "connecting to NATS anew"):
			server = ""
		}
	}
	return server
}
