// Package cluster runs whole raftbus clusters in one process for tests: an embedded NATS server and replicas on real
// files, whose wires to NATS can be cut and clogged.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/linear"
)

// Cluster is a NATS server and the nodes on it.
type Cluster struct {
	t       testing.TB
	NATS    *embedded.Server
	Members []string
	Nodes   map[string]*replica.Replica // those that run
	Wires   map[string]*Wire
	dirs    map[string]string
	joins   map[string]bool // started to be added to a cluster that runs
	root    string
	leafURL *url.URL
	change  func(*replica.Options)
}

// New starts NATS and prepares n nodes n1, n2, ... without starting them. change may alter their options.
func New(t testing.TB, n int, change ...func(*replica.Options)) *Cluster {
	c := &Cluster{
		t: t, Nodes: map[string]*replica.Replica{}, Wires: map[string]*Wire{}, dirs: map[string]string{}, joins: map[string]bool{}, root: t.TempDir(),
		change: func(o *replica.Options) {
			for _, f := range change {
				f(o)
			}
		},
	}
	for i := range n {
		c.prepare(fmt.Sprintf("n%d", i+1))
	}
	c.StartNATS(-1)
	t.Cleanup(c.close)
	return c
}

func (c *Cluster) prepare(id string) {
	c.Members = append(c.Members, id)
	c.Wires[id] = NewWire()
	c.dirs[id] = filepath.Join(c.root, id)
}

// Join starts a node that waits to be added. From then on it counts as a member here.
func (c *Cluster) Join(id string) {
	c.prepare(id)
	c.StartJoining(id)
}

// StartJoining starts a node that was wiped, as one that waits to be let in.
func (c *Cluster) StartJoining(id string) {
	c.joins[id] = true
	c.Start(id)
}

// Gone stops a node that was removed, and counts it no more.
func (c *Cluster) Gone(id string) {
	c.Stop(id)
	c.Members = slices.DeleteFunc(c.Members, func(other string) bool { return other == id })
}

// Wipe deletes the data folder of a node that does not run.
func (c *Cluster) Wipe(id string) { require.NoError(c.t, os.RemoveAll(c.dirs[id])) }

// Dir is a node's data folder.
func (c *Cluster) Dir(id string) string { return c.dirs[id] }

// Started is New, with all nodes started and a leader that serves.
func Started(t testing.TB, n int, change ...func(*replica.Options)) *Cluster {
	c := New(t, n, change...)
	for _, id := range c.Members {
		c.Start(id)
	}
	c.Leader()
	return c
}

// StartNATS starts the server on a port; -1: a free one. For leaf nodes it listens where it did before.
func (c *Cluster) StartNATS(port int) {
	leafPort := embedded.Random
	if c.leafURL != nil {
		leafPort, _ = strconv.Atoi(c.leafURL.Port())
	}
	server, err := embedded.StartAgain(embedded.Options{Host: "127.0.0.1", Port: port, LeafPort: leafPort})
	require.NoError(c.t, err)
	c.NATS = server
	c.leafURL, err = url.Parse(server.LeafURL())
	require.NoError(c.t, err)
}

func (c *Cluster) close() {
	for _, w := range c.Wires {
		w.Heal()
	}
	for id := range c.Nodes {
		c.Stop(id)
	}
	c.NATS.Shutdown()
}

// Start starts a node.
func (c *Cluster) Start(id string) {
	r, err := c.TryStart(id)
	require.NoError(c.t, err)
	c.Nodes[id] = r
}

// TryStart starts a node that may be refused.
func (c *Cluster) TryStart(id string) (*replica.Replica, error) {
	o := replica.Options{
		ID: id, Members: c.Members, Join: c.joins[id], Dir: c.dirs[id], Logger: slog.New(slog.NewTextHandler(c.t.Output(), nil)),
		NATS: replica.NATSOptions{
			URLs: []string{c.NATS.URL()}, LeafURLs: []string{c.leafURL.String()}, Options: []nats.Option{nats.SetCustomDialer(c.Wires[id])},
		},
	}
	c.change(&o)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return replica.Start(ctx, o)
}

// Stop stops a node gracefully.
func (c *Cluster) Stop(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(c.t, c.Nodes[id].Stop(ctx))
	delete(c.Nodes, id)
}

// Leader waits until a majority of the running nodes that can talk agree on a leader that serves, none of those excluded. What the machine takes
// of the time is not counted.
func (c *Cluster) Leader(not ...string) string {
	ended := make(chan struct{})
	defer close(ended)
	for stalls := stalltest.Until(ended); ; time.Sleep(5 * time.Millisecond) {
		if leader := c.agreed(not); leader != "" {
			return leader
		}
		require.Less(c.t, stalls.Took(), 15*time.Second, "no leader; %v", stalls)
	}
}

// agreed is that leader; empty: there is none now.
func (c *Cluster) agreed(not []string) string {
	votes := map[string]int{}
	for _, n := range c.Nodes {
		if s := n.Status(); s.Ready {
			votes[s.Leader]++
		}
	}
	for id, n := range votes {
		if n > len(c.Members)/2 && !slices.Contains(not, id) && c.answers(id) {
			return id
		}
	}
	return ""
}

// Transfer has a member lead by a planned hand-over; empty: any other than the one that does. It may be refused, as while another is under way.
func (c *Cluster) Transfer(to string) {
	old := c.Leader()
	require.Eventually(c.t, func() bool {
		leader := c.Leader()
		if leader == to || to == "" && leader != old {
			return true
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = c.Nodes[leader].TransferLeadership(ctx, to)
		return false
	}, 30*time.Second, 20*time.Millisecond, "leadership stays at %s", old)
}

// answers reports whether a node leads, and clients are answered: it listens to them a moment after its election.
func (c *Cluster) answers(id string) bool {
	return c.Nodes[id] != nil && c.Nodes[id].Status().Role == "leader" && c.Nodes[id].Listens()
}

// Connect opens a client's connection.
func (c *Cluster) Connect() *nats.Conn {
	nc, err := nats.Connect(c.NATS.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1))
	require.NoError(c.t, err)
	c.t.Cleanup(nc.Close)
	return nc
}

// Ask sends one request. The error is the bus's: 'no responders', or no answer in time: unknown.
func Ask(nc *nats.Conn, patience time.Duration, subject, body string) (linear.Reply, error) {
	return AskMsg(nc, patience, &nats.Msg{Subject: subject, Data: []byte(body)})
}

// AskMsg is Ask, of a request that may have a header.
func AskMsg(nc *nats.Conn, patience time.Duration, request *nats.Msg) (linear.Reply, error) {
	m, err := nc.RequestMsg(request, patience)
	if err != nil {
		return linear.Reply{}, err
	}
	var r linear.Reply
	return r, json.Unmarshal(m.Data, &r)
}

// Must sends a request until it is answered, and requires an answer without an error. It waits long before it asks again: an answer may be
// late, and what was done twice has other revisions, or an error.
func (c *Cluster) Must(nc *nats.Conn, subject, body string) linear.Reply {
	return c.must(nc, 10*time.Second, subject, body)
}

// MustSoon is Must where a node that goes may take a request with it, and it does not matter whether it is done twice.
func (c *Cluster) MustSoon(nc *nats.Conn, subject, body string) linear.Reply {
	return c.must(nc, time.Second, subject, body)
}

func (c *Cluster) must(nc *nats.Conn, patience time.Duration, subject, body string) linear.Reply {
	var r linear.Reply
	require.Eventually(c.t, func() bool {
		var err error
		r, err = Ask(nc, patience, subject, body)
		return err == nil
	}, 30*time.Second, 5*time.Millisecond, "%s is not answered", subject)
	require.Nil(c.t, r.Error, "%s: %+v", subject, r.Error)
	return r
}

// Applied waits until a node has applied all that the leader has committed by now.
func (c *Cluster) Applied(id string) {
	target := c.Nodes[c.Leader()].Status().Commit
	require.Eventually(c.t, func() bool { return c.Nodes[id].Status().Applied >= target }, 15*time.Second, 5*time.Millisecond,
		"%s does not reach %d", id, target)
}

// AwaitWatches waits until every node can serve watchers, and all know it.
func (c *Cluster) AwaitWatches() {
	require.Eventually(c.t, func() bool {
		for _, n := range c.Nodes {
			if n.Status().Watches.Hosts < len(c.Nodes) {
				return false
			}
		}
		return true
	}, 30*time.Second, 5*time.Millisecond, "a node has no leaf connection, or another does not know of it")
}

// NoResponders reports whether a request finds nobody.
func NoResponders(nc *nats.Conn, subject string) bool {
	_, err := Ask(nc, time.Second, subject, "")
	return errors.Is(err, nats.ErrNoResponders)
}
