// Package integration tests whole clusters in one process, with an embedded NATS server and real files: what a client
// sees while nodes come and go, wires are cut, and NATS restarts.
package integration

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/cluster"
	"github.com/raftbus/raftbus/test/linear"
)

const (
	add = "raftbus.bucket.add.app"
	put = "raftbus.kv.put.app."
	get = "raftbus.kv.get.app."
)

// serving is a cluster of n nodes that has the bucket app, and a client's connection to it.
func serving(t *testing.T, n int, change ...func(*replica.Options)) (*cluster.Cluster, *nats.Conn) {
	c := cluster.Started(t, n, change...)
	nc := c.Connect()
	c.Must(nc, add, "")
	return c, nc
}

// One, two and five nodes work too: a quorum is whatever the members say.
func TestOtherSizes(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, n := range []int{1, 2, 5} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			c, nc := serving(t, n)
			c.Must(nc, put+"k", "v")
			require.Equal(t, "v", c.Must(nc, get+"k", "").Value)
		})
	}
}

// Three nodes elect one leader, and all know it. One that stops is followed by another; what was acknowledged is there; the one that comes back catches up.
func TestFailoverAndCatchUp(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 3)
	require.Equal(t, uint64(1), c.Must(nc, put+"a", "1").Revision)
	old := c.Leader()
	for id, n := range c.Nodes {
		c.Applied(id)
		require.Equal(t, old, n.Status().Leader)
	}
	c.Stop(old)
	require.NotEqual(t, old, c.Leader(old))
	require.Equal(t, "1", c.Must(nc, get+"a", "").Value)
	for i := range 200 {
		c.Must(nc, put+"b", strconv.Itoa(i))
	}
	c.Start(old)
	c.Applied(old)
	require.Equal(t, "199", c.Must(nc, get+"b", "").Value)
}

// A leader whose wire is cut, or clogged (half-open, F10), is followed by another; it serves nothing meanwhile, and follows
// when it is healed, without another election (F2, L3).
func TestLeaderCutOff(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, fault := range map[string]func(*cluster.Wire){"cut": (*cluster.Wire).Cut, "clogged": (*cluster.Wire).Clog} {
		t.Run(name, func(t *testing.T) {
			c := cluster.Started(t, 3)
			stalls := stalltest.During(t)
			nc := c.Connect()
			c.Must(nc, add, "")
			c.Must(nc, put+"k", "old")
			old := c.Leader()
			fault(c.Wires[old])
			began := time.Now()
			next := c.Leader(old)
			t.Logf("%s leads after %v", next, time.Since(began))
			c.MustSoon(nc, put+"k", "new")
			followed, lost := time.Now(), stalls.Lost()
			require.Eventually(t, func() bool { return c.Nodes[old].Status().Role != "leader" }, 30*time.Second, 5*time.Millisecond, "a leader cut off goes on leading")
			require.Less(t, time.Since(followed), 3*time.Second+stalls.Lost()-lost, "%v", stalls)
			term := c.Nodes[next].Status().Term
			c.Wires[old].Heal()
			c.Applied(old)
			require.Equal(t, "new", c.Must(nc, get+"k", "").Value)
			require.Equal(t, next, c.Leader())
			require.Equal(t, term, c.Nodes[next].Status().Term, "a node that came back caused an election")
		})
	}
}

// An isolated follower comes back without an election or a new term (L3).
func TestIsolatedFollowerRejoins(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 3)
	leader := c.Leader()
	follower := "n1"
	if leader == follower {
		follower = "n2"
	}
	term := c.Nodes[leader].Status().Term
	c.Wires[follower].Cut()
	for i := range 50 {
		c.Must(nc, put+"k", strconv.Itoa(i))
	}
	require.Eventually(t, func() bool { return c.Nodes[follower].Status().Leader == "" }, 5*time.Second, 5*time.Millisecond)
	c.Wires[follower].Heal()
	c.Applied(follower)
	require.Equal(t, leader, c.Leader())
	require.Equal(t, term, c.Nodes[follower].Status().Term)
}

// With a majority away nothing is acknowledged; with all back everything goes on.
func TestNoMajorityNoAck(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 3)
	leader := c.Leader()
	for _, id := range c.Members {
		if id != leader {
			c.Wires[id].Cut()
		}
	}
	_, err := cluster.Ask(nc, time.Second, put+"k", "v")
	require.Error(t, err, "a write was answered without a majority")
	require.Eventually(t, func() bool { return cluster.NoResponders(nc, get+"k") }, 5*time.Second, 10*time.Millisecond, "somebody serves without a majority")
	for _, id := range c.Members {
		c.Wires[id].Heal()
	}
	c.MustSoon(nc, put+"k", "w")
	require.Equal(t, "w", c.Must(nc, get+"k", "").Value)
}

// The whole cluster stops and starts: the data is there, also what was not flushed.
func TestAllRestart(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 3)
	var last uint64
	for i := range 100 {
		last = c.Must(nc, put+"k"+strconv.Itoa(i), strconv.Itoa(i)).Revision
	}
	for _, id := range c.Members {
		c.Stop(id)
	}
	require.True(t, cluster.NoResponders(nc, get+"k0"), "with no leader the answer is 'no responders', at once")
	for _, id := range c.Members {
		c.Start(id)
	}
	for i := range 100 {
		require.Equal(t, strconv.Itoa(i), c.Must(nc, get+"k"+strconv.Itoa(i), "").Value)
	}
	m, err := nc.Request(put+"k0", []byte("again"), 15*time.Second) // once
	require.NoError(t, err)
	var r linear.Reply
	require.NoError(t, json.Unmarshal(m.Data, &r))
	require.Equal(t, last+1, r.Revision, "revisions go on where they were (C6): %s", m.Data)
}

// NATS may start last: nodes wait for it.
func TestNATSStartsLast(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.New(t, 3)
	port := c.NATS.Port()
	url := c.NATS.URL()
	c.NATS.Shutdown()
	for _, id := range c.Members {
		c.Start(id)
	}
	c.StartNATS(port)
	require.Equal(t, url, c.NATS.URL())
	c.Leader()
	nc := c.Connect()
	c.Must(nc, add, "")
	c.Must(nc, put+"k", "v")
}

// Bad requests get clear errors with their stable codes, at once, and the cluster goes on.
func TestErrors(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	stalls := stalltest.During(t)
	nc := c.Connect()
	c.Must(nc, add, "")
	c.Must(nc, put+"k", "v")
	limit := int(nc.MaxPayload()) - 8<<10
	for name, ask := range map[string]struct {
		subject, body, expected string
		code                    int
	}{
		"no bucket":      {subject: "raftbus.kv.put.none.k", body: "v", code: 404},
		"bucket exists":  {subject: add, code: 409},
		"key not found":  {subject: get + "none", code: 404},
		"key exists":     {subject: "raftbus.kv.create.app.k", body: "v", code: 409},
		"wrong revision": {subject: "raftbus.kv.update.app.k", body: "v", expected: "99", code: 409},
		"too large":      {subject: put + "k", body: strings.Repeat("x", limit+1), code: 413},
		"bad key":        {subject: put + "k!", body: "v", code: 400},
		"bad request":    {subject: "raftbus.kv.update.app.k", body: "v", expected: "soon", code: 400},
	} {
		t.Run(name, func(t *testing.T) {
			m := &nats.Msg{Subject: ask.subject, Data: []byte(ask.body), Header: nats.Header{}}
			if ask.expected != "" {
				m.Header.Set("Nats-Expected-Last-Subject-Sequence", ask.expected)
			}
			began, lost := time.Now(), stalls.Lost()
			answer, err := nc.RequestMsg(m, 15*time.Second)
			for end := began.Add(30 * time.Second); errors.Is(err, nats.ErrNoResponders) && time.Now().Before(end); {
				time.Sleep(5 * time.Millisecond) // on a busy machine nobody may lead for a moment
				began, lost = time.Now(), stalls.Lost()
				answer, err = nc.RequestMsg(m, 15*time.Second)
			}
			took := time.Since(began) - (stalls.Lost() - lost)
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(ask.code), answer.Header.Get("Nats-Service-Error-Code"))
			require.Contains(t, string(answer.Data), `"err_code":30`)
			require.Less(t, took, 4*time.Second, "the service gives up after 5; %v", stalls)
		})
	}
	c.Must(nc, put+"large", strings.Repeat("x", limit))
	require.Len(t, c.Must(nc, "raftbus.kv.get.app.large", "").Value, limit)
}

// Three NATS servers, each node and the client on one of its own: the cluster serves across routes, and one server's death
// costs 3 s at most (L6).
func TestNATSCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	stalls := stalltest.During(t)
	servers, err := embedded.StartCluster(3, embedded.Options{})
	require.NoError(t, err)
	stopped := map[int]bool{}
	t.Cleanup(func() {
		for i, s := range servers {
			if !stopped[i] {
				s.Shutdown()
			}
		}
	})
	from := func(first int) []string {
		return []string{servers[first].URL(), servers[(first+1)%3].URL(), servers[(first+2)%3].URL()}
	}
	place := map[string]int{"n1": 0, "n2": 1, "n3": 2}
	c := cluster.Started(t, 3, func(o *replica.Options) {
		o.NATS.URLs = from(place[o.ID])
		o.NATS.Options = append(o.NATS.Options, nats.DontRandomize())
	})
	leader := c.Leader()
	nc, err := nats.Connect(strings.Join(from((place[leader]+1)%3), ","), nats.DontRandomize(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	c.Must(nc, add, "")
	c.Must(nc, put+"k", "before")
	stopped[place[leader]] = true
	servers[place[leader]].Shutdown()
	died, lost := time.Now(), stalls.Lost()
	c.MustSoon(nc, put+"k", "after")
	t.Logf("writes back %v after the leader's NATS server died", time.Since(died))
	require.Less(t, time.Since(died), 3*time.Second+stalls.Lost()-lost, "%v", stalls)
	require.Equal(t, "after", c.Must(nc, get+"k", "").Value)
}

// A stop is quick also while NATS is away, for a leader that does not know it yet too: nothing is left to be said to anybody.
func TestStopWhileNATSIsAway(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	stalls := stalltest.During(t)
	nc := c.Connect()
	c.Must(nc, add, "")
	c.Must(nc, put+"k", "v")
	leader := c.Leader()
	c.NATS.Shutdown()
	for _, id := range append([]string{leader}, c.Members...) {
		if c.Nodes[id] == nil {
			continue
		}
		began, lost := time.Now(), stalls.Lost()
		c.Stop(id)
		t.Logf("%s (leader: %v) stopped in %v", id, id == leader, time.Since(began))
		require.Less(t, time.Since(began), 3*time.Second+stalls.Lost()-lost, "%v", stalls)
	}
}

// Another cluster under the same prefix, with other nodes: it is refused, with the remedy, and answers nobody (F14).
func TestTwoClustersOnOnePrefix(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 3)
	others := []string{"m1", "m2", "m3"}
	for _, id := range others {
		r, err := replica.Start(t.Context(), replica.Options{
			ID: id, Members: others, Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
			NATS: replica.NATSOptions{URLs: []string{c.NATS.URL()}},
		})
		require.NoError(t, err)
		<-r.Done()
		require.ErrorIs(t, r.Err(), replica.ErrForeignCluster)
		require.ErrorContains(t, r.Err(), "--prefix")
		require.Error(t, r.Stop(t.Context()), "a stop says why the node had stopped")
	}
	c.Must(nc, put+"k", "v")
	c.Stop(c.Leader())
	c.Leader()
}
