package busclient

import (
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// twoConns are the connections of a node to its peers.
type twoConns struct{ control, bulk *Conn }

func dialBoth(t *testing.T, node string, urls ...string) twoConns {
	control := dialWith(t, ConnOptions{URLs: urls, Node: node, Role: RoleControl})
	return twoConns{control, dialWith(t, ConnOptions{URLs: urls, Node: node, Role: RoleBulk, Beside: control})}
}

// server is the one that both are at; empty: they are not.
func (b twoConns) server() string {
	at := b.control.NATS().ConnectedServerName()
	if b.bulk.NATS().ConnectedServerName() != at {
		return ""
	}
	return at
}

func (b twoConns) together() bool { return b.server() != "" }

// threeServers are of one cluster, and tell their clients of each other.
func threeServers(t *testing.T) (servers []*embedded.Server, urls []string) {
	servers, err := embedded.StartCluster(3, embedded.Options{})
	require.NoError(t, err)
	for i := range servers {
		t.Cleanup(func() { servers[i].Shutdown() })
		urls = append(urls, servers[i].URL())
	}
	return servers, urls
}

// restartOf starts a server anew on its ports.
func restartOf(t *testing.T, s *embedded.Server, others ...*embedded.Server) *embedded.Server {
	at, err := url.Parse(s.RouteURL())
	require.NoError(t, err)
	o := embedded.Options{ServerName: s.Name(), Port: s.Port(), ClusterName: "raftbus"}
	o.ClusterPort, err = strconv.Atoi(at.Port())
	require.NoError(t, err)
	for _, other := range others {
		o.Routes = append(o.Routes, other.RouteURL())
	}
	s.Shutdown()
	s, err = embedded.StartAgain(o)
	require.NoError(t, err)
	return s
}

// A node begins with both connections at one server, whichever that is.
func TestBothConnectionsBeginAtOneServer(t *testing.T) {
	t.Parallel()
	_, urls := threeServers(t)
	for i := range 6 {
		b := dialBoth(t, fmt.Sprintf("n%d", i), urls...)
		require.True(t, b.together())
		require.Zero(t, b.bulk.NATS().Stats().Reconnects)
	}
}

// F7: once each server was started anew each connection is wherever its client chose, but both of a node are at one server. Else one route that is cut
// may part nodes whose servers reach each other.
func TestBothConnectionsAreAtOneServerAgain(t *testing.T) {
	t.Parallel()
	servers, urls := threeServers(t)
	var nodes []twoConns
	for i := range 6 {
		nodes = append(nodes, dialBoth(t, fmt.Sprintf("n%d", i), urls[i%len(urls)])) // the nearest only: it learns of the others
	}
	for i, b := range nodes {
		eventually(t, "learnt", func() bool {
			return b.server() == servers[i%len(servers)].Name() && len(b.control.NATS().Servers()) == 3 && len(b.bulk.NATS().Servers()) == 3
		})
	}
	for i := range servers {
		servers[i] = restartOf(t, servers[i], servers[(i+1)%3], servers[(i+2)%3])
		for _, b := range nodes {
			eventually(t, "together", b.together)
		}
	}
}

// Which of the two moves is not left to chance: who is followed stays.
func TestTheBulkConnectionFollows(t *testing.T) {
	t.Parallel()
	_, urls := threeServers(t)
	b := dialBoth(t, "n1", urls...)
	require.True(t, b.together())
	for range 3 {
		before := b.server()
		b.control.Renew()
		eventually(t, "elsewhere", func() bool { at := b.server(); return at != "" && at != before })
	}
	require.EqualValues(t, 3, b.control.NATS().Stats().Reconnects)
	require.Zero(t, b.bulk.Stats().Disconnects, "it was not lost")
}

// A server that lets nobody else in, or an address that leads to any of several, does not have it connect anew for ever.
func TestOneServerIsSoughtForABoundedTime(t *testing.T) {
	var p pursuit
	began := time.Now()
	now := began
	here, there := place{id: "a"}, place{id: "b"}
	lookUntil := func(end time.Duration) (advices []advice) {
		for ; now.Before(began.Add(end)); now = now.Add(besideLook) {
			if a := p.look(here, there, now); a != stay {
				advices = append(advices, a)
			}
		}
		return advices
	}
	tried := []advice{goThere, goThere, goThere, goThere, goThere, goThere, giveUp}
	require.Empty(t, lookUntil(besideAfter))
	require.Equal(t, tried, lookUntil(time.Hour))
	there.id = "c" // where it may be let in
	require.Equal(t, tried, lookUntil(2*time.Hour))
	here.id = "c"
	require.Empty(t, lookUntil(2*time.Hour+besideLasts/2))
	here.id = "a"
	require.Empty(t, lookUntil(3*time.Hour), "it was let in, and did not stay")
	here.id = "c"
	require.Empty(t, lookUntil(3*time.Hour+2*besideLasts))
	here.id = "a"
	require.Equal(t, tried, lookUntil(4*time.Hour))
	here.id = ""
	require.Empty(t, lookUntil(5*time.Hour), "it is connecting")
}

// It is tried ever more seldom, and not for the moment in which one of the two connects.
func TestTheOthersServerIsSoughtEverMoreSeldom(t *testing.T) {
	var p pursuit
	now := time.Now()
	here, there := place{id: "a"}, place{id: "b"}
	require.Equal(t, stay, p.look(here, there, now))
	for n := range besideTries {
		wait := besideAfter << n
		require.Equal(t, stay, p.look(here, there, now.Add(wait-1)))
		now = now.Add(wait)
		require.Equal(t, goThere, p.look(here, there, now))
	}
	p = pursuit{}
	require.Equal(t, stay, p.look(here, there, now))
	require.Equal(t, stay, p.look(place{}, there, now.Add(besideAfter/2)))
	require.Equal(t, stay, p.look(here, there, now.Add(besideAfter)), "for so long it was not apart")
	require.Equal(t, goThere, p.look(here, there, now.Add(2*besideAfter)))
}

// Who cannot have the other's server is at some server soon.
func TestTheOthersServerIsNotTheOnlyOneThatIsTried(t *testing.T) { synctest.Test(t, seekTheOther) }

func seekTheOther(t *testing.T) {
	other := &Conn{}
	choose := besideServer(other)
	var pool []nats.Server
	for _, host := range []string{"a:1", "b:1", "c:1"} {
		pool = append(pool, nats.Server{URL: &url.URL{Host: host}})
	}
	chosen := func(last string) string {
		s, wait := choose(pool, nats.ServerInfo{ID: last})
		require.Zero(t, wait)
		if s == nil {
			return ""
		}
		return s.URL.Host
	}
	require.Empty(t, chosen("A"), "it is at none")
	other.at.Store(&place{id: "B", hosts: [2]string{"10.0.0.1:1", "b:1"}})
	require.Empty(t, chosen("B"), "lost there just now")
	require.Equal(t, "b:1", chosen("A"))
	require.Empty(t, chosen("A"), "again so soon")
	time.Sleep(besideAfter)
	require.Equal(t, "b:1", chosen("A"))
	other.at.Store(&place{id: "B", hosts: [2]string{"a:1", "b:1"}}) // with TLS one of the two may not do
	time.Sleep(besideAfter)
	first := chosen("A")
	time.Sleep(besideAfter)
	require.ElementsMatch(t, []string{"a:1", "b:1"}, []string{first, chosen("A")})
}
