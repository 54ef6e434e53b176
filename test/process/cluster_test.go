package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// binary is the raftbus binary under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "raftbus-process")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "raftbus")
	build := exec.Command("go", "build", "-o", binary, "github.com/raftbus/raftbus/cmd/raftbus")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// cluster is a NATS server and raftbus processes.
type cluster struct {
	t       *testing.T
	nats    *embedded.Server
	port    int
	members []string
	dirs    map[string]string
	nodes   map[string]*process
}

// process is one running `raftbus node`.
type process struct {
	cmd  *exec.Cmd
	log  *safeBuffer
	done chan struct{} // closed when it has ended
	err  error
}

// safeBuffer collects a process's output while tests read it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newCluster starts NATS, and prepares n nodes without starting them.
func newCluster(t *testing.T, n int) *cluster {
	c := &cluster{t: t, dirs: map[string]string{}, nodes: map[string]*process{}}
	c.startNATS(-1)
	root := t.TempDir()
	for i := range n {
		id := fmt.Sprintf("n%d", i+1)
		c.members = append(c.members, id)
		c.dirs[id] = filepath.Join(root, id)
	}
	t.Cleanup(c.close)
	return c
}

func (c *cluster) startNATS(port int) {
	var err error
	c.nats, err = embedded.Start(embedded.Options{Host: "127.0.0.1", Port: port})
	require.NoError(c.t, err)
	c.port = c.nats.Port()
}

func (c *cluster) close() {
	for id := range c.nodes {
		c.kill(id)
	}
	c.nats.Shutdown()
	if c.t.Failed() {
		for id, p := range c.nodes {
			c.t.Logf("log of %s:\n%s", id, p.log.String())
		}
	}
}

// start starts a node's process, wrapped by a command if one is given.
func (c *cluster) start(id string, wrap ...string) *process {
	args := append(wrap, binary, "node", "--id", id, "--members", strings.Join(c.members, ","), "--dir", c.dirs[id], "--nats", c.nats.URL())
	p := &process{cmd: exec.Command(args[0], args[1:]...), log: &safeBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if old := c.nodes[id]; old != nil {
		_, _ = p.log.Write([]byte(old.log.String() + "--- started again ---\n"))
	}
	require.NoError(c.t, p.cmd.Start())
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	c.nodes[id] = p
	return p
}

func (c *cluster) startAll() {
	for _, id := range c.members {
		c.start(id)
	}
}

func (c *cluster) signal(id string, s os.Signal) {
	require.NoError(c.t, c.nodes[id].cmd.Process.Signal(s))
}

// kill ends a process with SIGKILL, and waits until it is gone.
func (c *cluster) kill(id string) {
	_ = c.nodes[id].cmd.Process.Signal(syscall.SIGCONT)
	_ = c.nodes[id].cmd.Process.Kill()
	<-c.nodes[id].done
}

// connect opens a client's connection, which comes back every 100 ms.
func (c *cluster) connect() *nats.Conn {
	nc, err := nats.Connect(c.nats.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1), nats.ReconnectJitter(0, 0))
	require.NoError(c.t, err)
	c.t.Cleanup(nc.Close)
	return nc
}

// statuses asks all nodes, and returns what came within half a second.
func (c *cluster) statuses(nc *nats.Conn) map[string]replica.Status {
	got := map[string]replica.Status{}
	for _, id := range c.members {
		m, err := nc.Request("raftbus.node."+id+".status", nil, 500*time.Millisecond)
		var s replica.Status
		if err == nil && json.Unmarshal(m.Data, &s) == nil {
			got[id] = s
		}
	}
	return got
}

// leader waits until a majority of the nodes agrees on one that serves, other than those excluded.
func (c *cluster) leader(nc *nats.Conn, not ...string) string {
	var leader string
	require.Eventually(c.t, func() bool {
		votes := map[string]int{}
		for _, s := range c.statuses(nc) {
			if s.Ready {
				votes[s.Leader]++
			}
		}
		for _, id := range not {
			delete(votes, id)
		}
		for id, n := range votes {
			if n > len(c.members)/2 {
				leader = id
				return true
			}
		}
		return false
	}, 15*time.Second, 20*time.Millisecond, "no leader")
	return leader
}

// reply is what the native API answers.
type reply struct {
	Revision        uint64  `json:"revision"`
	ClusterRevision uint64  `json:"cluster_revision"`
	Value           string  `json:"value"`
	Error           *failed `json:"error"`
}

type failed struct {
	Code    int    `json:"code"`
	ErrCode int    `json:"err_code"`
	Text    string `json:"description"`
}

// request asks once. The error is the bus's: 'no responders', a timeout.
func request(nc *nats.Conn, patience time.Duration, subject, body string, header nats.Header) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Data: []byte(body), Header: header})
	if err != nil {
		return reply{}, err
	}
	var r reply
	return r, json.Unmarshal(m.Data, &r)
}

// addBucket makes a bucket, trying again while nobody leads.
func (c *cluster) addBucket(nc *nats.Conn, name string) {
	require.Eventually(c.t, func() bool {
		r, err := request(nc, time.Second, "raftbus.bucket.add."+name, "", nil)
		return err == nil && (r.Error == nil || strings.Contains(r.Error.Text, "exists"))
	}, 15*time.Second, 20*time.Millisecond, "the bucket cannot be made")
}

// logged waits until a node has written a line that holds all of the words.
func (p *process) logged(t *testing.T, within time.Duration, words ...string) {
	require.Eventually(t, func() bool {
		lines := bufio.NewScanner(strings.NewReader(p.log.String()))
		for lines.Scan() {
			all := true
			for _, w := range words {
				all = all && strings.Contains(lines.Text(), w)
			}
			if all {
				return true
			}
		}
		return false
	}, within, 20*time.Millisecond, "no line with %q in:\n%s", words, p.log)
}
