package process

// A cluster of raftbus nodes and NATS servers: on the loopback, or every process on a host of its own network.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/test/built"
	inprocess "github.com/raftbus/raftbus/test/cluster"
	"github.com/raftbus/raftbus/test/linear"
)

// layout says what a cluster consists of.
type layout struct {
	nodes   int
	servers int  // of NATS; 0: 1
	hosts   bool // every process on a host of its own
	small   bool // no log is kept for nodes that are away: who misses a segment gets a snapshot
	several bool // what peers are to get alike goes to them as one message (--multicast)
	told    bool // servers tell their clients of each other
	paired  bool // node n1 uses server s1 only, n2 s2, ...: which nodes reach each other is then up to the servers' routes
}

// cluster is NATS servers and raftbus processes.
type cluster struct {
	t       *testing.T
	layout  layout
	root    string   // of all folders
	net     *network // nil: all on the loopback
	servers []*server
	members []string
	dirs    map[string]string
	builds  map[string]string // the binaries of nodes that run another than the one under test
	nodes   map[string]*program
	eyes    []*nats.Conn // by which the test asks nodes how they are: one per server if paired
}

// newCluster starts NATS, and prepares the nodes without starting them.
func newCluster(t *testing.T, l layout) *cluster {
	c := &cluster{t: t, layout: l, root: t.TempDir(), dirs: map[string]string{}, builds: map[string]string{}, nodes: map[string]*program{}}
	if l.hosts {
		c.net = newNetwork(t)
	}
	built.Seen(t)
	t.Cleanup(c.close)
	for i := range max(1, l.servers) {
		c.prepareServer(fmt.Sprintf("s%d", i+1))
	}
	for _, s := range c.servers {
		s.configure(t, c.root, c.servers, l.told)
		c.startServer(s)
	}
	for i := range l.nodes {
		c.prepareNode(fmt.Sprintf("n%d", i+1))
	}
	c.open()
	return c
}

// started is newCluster, with all nodes running, a leader, and the bucket 'app'.
func started(t *testing.T, l layout) *cluster {
	c := newCluster(t, l)
	c.startAll()
	c.leader()
	c.addBucket("app")
	return c
}

func (c *cluster) prepareServer(name string) {
	s := &server{name: name}
	if c.net == nil {
		s.address, s.routes, s.leaves = freeAddress(c.t), freeAddress(c.t), freeAddress(c.t)
	} else {
		c.net.add(name)
		host := c.net.address(name)
		s.address, s.routes, s.leaves = host+":4222", host+":6222", host+":7422"
	}
	c.servers = append(c.servers, s)
}

func (c *cluster) prepareNode(id string) {
	c.members = append(c.members, id)
	c.prepareHost(id)
}

// prepareHost gives a node a folder and a host, if it has none yet.
func (c *cluster) prepareHost(id string) {
	if c.dirs[id] != "" {
		return
	}
	c.dirs[id] = filepath.Join(c.root, id)
	if c.net != nil {
		c.net.add(id)
	}
}

// open makes the connections that the test asks by.
func (c *cluster) open() {
	if !c.layout.paired {
		c.eyes = []*nats.Conn{c.connect()}
		return
	}
	for _, s := range c.servers {
		c.eyes = append(c.eyes, c.connect(s))
	}
}

func (c *cluster) close() {
	for _, p := range c.nodes {
		p.kill()
	}
	for _, s := range c.servers {
		if s.program != nil {
			s.kill()
		}
	}
	if c.t.Failed() {
		for id, p := range c.nodes {
			c.t.Logf("log of %s:\n%s", id, p.history())
		}
		for _, s := range c.servers {
			c.t.Logf("log of %s:\n%s", s.name, s.history())
		}
	}
}

// on makes a command run where a node or server is.
func (c *cluster) on(host string, args ...string) []string {
	if c.net == nil {
		return args
	}
	return c.net.on(host, args...)
}

func (c *cluster) startServer(s *server) { s.start(c.t, c.on(s.name, os.Args[0])) }

// urls are those of the servers that a node uses.
func (c *cluster) urls(id string) string {
	if c.layout.paired {
		return c.servers[slices.Index(c.members, id)].url()
	}
	return urls(c.servers)
}

// leaves are the ports for leaf nodes of the servers that a node uses.
func (c *cluster) leaves(id string) string {
	if c.layout.paired {
		return c.servers[slices.Index(c.members, id)].leaves
	}
	var list []string
	for _, s := range c.servers {
		list = append(list, s.leaves)
	}
	return strings.Join(list, ",")
}

func urls(servers []*server) string {
	var list []string
	for _, s := range servers {
		list = append(list, s.url())
	}
	return strings.Join(list, ",")
}

// start starts a node's process, wrapped by a command if one is given.
func (c *cluster) start(id string, wrap ...string) *program {
	return c.launch(id, wrap, "--members", strings.Join(c.members, ","))
}

func (c *cluster) launch(id string, wrap []string, more ...string) *program {
	args := append(slices.Clone(wrap), binary, "node", "--insecure", "--id", id, "--dir", c.dirs[id], "--nats", c.urls(id), "--leaf", c.leaves(id))
	if c.layout.small {
		args = append(args, "--keep-log", "-1")
	}
	if c.layout.several {
		args = append(args, "--multicast")
	}
	args[len(wrap)] = cmp.Or(c.builds[id], binary)
	c.nodes[id] = run(c.t, c.nodes[id], nil, c.on(id, append(args, more...)...)...)
	return c.nodes[id]
}

func (c *cluster) startAll() {
	for _, id := range c.members {
		c.start(id)
	}
}

func (c *cluster) signal(id string, s os.Signal) { c.nodes[id].signal(c.t, s) }

func (c *cluster) kill(id string) { c.nodes[id].kill() }

// connect opens a client's connection to some servers, or any, which comes back every 100 ms.
func (c *cluster) connect(to ...*server) *nats.Conn {
	if len(to) == 0 {
		to = c.servers
	}
	var nc *nats.Conn
	require.Eventually(c.t, func() bool {
		var err error
		nc, err = nats.Connect(urls(to), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(0, 0),
			nats.ReconnectBufSize(-1), nats.Timeout(time.Second), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2))
		return err == nil
	}, 15*time.Second, 20*time.Millisecond, "NATS cannot be reached")
	c.t.Cleanup(nc.Close)
	return nc
}

// statuses asks all nodes, and returns what came within half a second.
func (c *cluster) statuses() map[string]replica.Status {
	var mu sync.Mutex
	var group sync.WaitGroup
	got := map[string]replica.Status{}
	for i, id := range c.members {
		eye := c.eyes[min(i, len(c.eyes)-1)]
		group.Go(func() {
			m, err := eye.Request(busclient.StatusSubject("raftbus", id), nil, 500*time.Millisecond)
			var s replica.Status
			if err == nil && json.Unmarshal(m.Data, &s) == nil {
				mu.Lock()
				defer mu.Unlock()
				got[id] = s
			}
		})
	}
	group.Wait()
	return got
}

// status is what one node says; a request may be lost.
func (c *cluster) status(id string) (s replica.Status) {
	require.Eventually(c.t, func() (ok bool) {
		s, ok = c.statuses()[id]
		return ok
	}, 10*time.Second, 50*time.Millisecond, "%s says nothing", id)
	return s
}

// leader waits until a majority of the nodes agrees on one that serves, other than those excluded.
func (c *cluster) leader(not ...string) string {
	var leader string
	require.Eventually(c.t, func() bool {
		leader = agreed(c.statuses(), len(c.members))
		return leader != "" && !slices.Contains(not, leader)
	}, 15*time.Second, 20*time.Millisecond, "no leader")
	return leader
}

// agreed is the leader that serves and that a majority follows; empty: none.
func agreed(all map[string]replica.Status, members int) string {
	votes := map[string]int{}
	for _, s := range all {
		if s.Ready {
			votes[s.Leader]++
		}
	}
	for id, n := range votes {
		if n > members/2 && all[id].Ready && all[id].Leader == id {
			return id
		}
	}
	return ""
}

// random is drawn from the seed.
func (c *cluster) random() *rand.Rand { return rand.New(rand.NewPCG(*seed, 0)) }

func (c *cluster) serverNames() (names []string) {
	for _, s := range c.servers {
		names = append(names, s.name)
	}
	return names
}

// followers are all nodes but the leader, in random order.
func (c *cluster) followers(r *rand.Rand, leader string) []string {
	list := slices.DeleteFunc(slices.Clone(c.members), func(id string) bool { return id == leader })
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// caughtUp waits until a node has applied what the others had committed when it was asked.
func (c *cluster) caughtUp(id string) {
	target := c.status(c.leader()).Commit
	require.Eventually(c.t, func() bool {
		s, ok := c.statuses()[id]
		return ok && s.Applied >= target && s.Ready
	}, 15*time.Second, 20*time.Millisecond, "%s does not catch up to %d", id, target)
}

// converged waits until all nodes are linked, follow one leader, and have applied all that its log held since they do (L8). More may be written
// meanwhile.
func (c *cluster) converged(within time.Duration) {
	leader, held := "", uint64(0)
	require.Eventually(c.t, func() bool {
		for id, p := range c.nodes {
			require.False(c.t, p.ended(), "%s has ended by itself: %v\n%s", id, p.err, p.log)
		}
		all := c.statuses()
		first, same := all[c.members[0]], len(all) == len(c.members)
		for _, s := range all {
			same = same && s.Ready && s.Leader == first.Leader && allLinked(s)
		}
		switch {
		case !same:
			leader = ""
			return false
		case leader != first.Leader:
			leader, held = first.Leader, all[first.Leader].LogLast
		}
		for _, s := range all {
			same = same && s.Applied >= held
		}
		return same
	}, within, 20*time.Millisecond, "not converged:\n%s", c.describe())
}

func allLinked(s replica.Status) bool {
	return !slices.ContainsFunc(s.Links, func(l replica.LinkStatus) bool { return l.State != "connected" })
}

// reply is what the native API answers.
type reply = linear.Reply

// request asks once. The error is the bus's: 'no responders', a timeout.
func request(nc *nats.Conn, patience time.Duration, subject, body string, header nats.Header) (reply, error) {
	return inprocess.AskMsg(nc, patience, &nats.Msg{Subject: subject, Data: []byte(body), Header: header})
}

// requestSurely asks again while nobody leads, by which nothing is done.
func requestSurely(nc *nats.Conn, patience time.Duration, subject, body string) (r reply, err error) {
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if r, err = request(nc, patience, subject, body, nil); !errors.Is(err, nats.ErrNoResponders) || time.Now().After(end) {
			return r, err
		}
	}
}

// addBucket makes a bucket, trying again while nobody leads.
func (c *cluster) addBucket(name string) {
	nc := c.connect()
	defer nc.Close()
	require.Eventually(c.t, func() bool {
		r, err := request(nc, time.Second, "raftbus.bucket.add."+name, "", nil)
		return err == nil && (r.Error == nil || strings.Contains(r.Error.Text, "exists"))
	}, 15*time.Second, 20*time.Millisecond, "the bucket cannot be made")
}
