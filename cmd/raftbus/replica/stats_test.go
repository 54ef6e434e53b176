package replica

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

// three starts a cluster of three nodes on a NATS server of its own, and returns them, the leader's place, and a client.
func three(t *testing.T) ([]*Replica, int, *nats.Conn) {
	t.Helper()
	server := natstest.Run(t, embedded.Options{Host: "127.0.0.1", Port: -1, LeafPort: embedded.Random})
	nodes, leads := startOn(t, NATSOptions{URLs: []string{server.URL()}, LeafURLs: []string{server.LeafURL()}}, "n1", "n2", "n3")
	nc := natstest.Connect(t, server)
	return nodes, leads, nc
}

// startOn starts the nodes of a cluster on NATS, and returns them, ready, and the leader's place.
func startOn(t *testing.T, where NATSOptions, members ...string) ([]*Replica, int) {
	t.Helper()
	return startWith(t, func(o *Options) { o.NATS = where }, members...)
}

// startWith is startOn, with options of each node as change has them.
func startWith(t *testing.T, change func(o *Options), members ...string) ([]*Replica, int) {
	t.Helper()
	nodes, errs := make([]*Replica, len(members)), make([]error, len(members))
	dir := t.TempDir()
	var all sync.WaitGroup
	for i, id := range members {
		all.Go(func() {
			o := Options{ID: id, Members: members, Dir: filepath.Join(dir, id), Logger: slog.New(slog.DiscardHandler)}
			change(&o)
			nodes[i], errs[i] = Start(t.Context(), o)
		})
	}
	all.Wait()
	for i := range nodes {
		require.NoError(t, errs[i])
		t.Cleanup(func() { stop(t, nodes[i]) })
	}
	leader := ""
	for _, r := range nodes {
		var err error
		leader, err = r.WaitReady(t.Context())
		require.NoError(t, err)
	}
	leads := slices.Index(members, leader)
	require.GreaterOrEqual(t, leads, 0, "a stranger leads: %s", leader)
	return nodes, leads
}

// askAll asks all nodes on a subject and returns what they say, by node.
func askAll[T any](t *testing.T, nc *nats.Conn, subject string, count int, id func(T) string) map[string]T {
	t.Helper()
	sub, err := nc.SubscribeSync(nc.NewInbox())
	require.NoError(t, err)
	defer func() { _ = sub.Unsubscribe() }()
	require.NoError(t, nc.PublishRequest(subject, sub.Subject, nil))
	found := map[string]T{}
	for len(found) < count {
		m, err := sub.NextMsg(patience)
		require.NoError(t, err)
		var one T
		require.NoError(t, json.Unmarshal(m.Data, &one))
		found[id(one)] = one
	}
	return found
}

func request(t *testing.T, nc *nats.Conn, subject, body string) string {
	t.Helper()
	m, err := nc.Request(subject, []byte(body), patience)
	require.NoError(t, err)
	return string(m.Data)
}

func statsOf(s observe.Stats) string { return s.Node }

// An answer that NATS does not take over another connection than the request's counts among the requests without one.
func TestAnswersThatNATSDoesNotTakeAreCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(`no_auth_user: n
authorization { users: [ { user: n, password: n, permissions: { publish: { deny: "_INBOX.late" } } } ] }
`), 0o600))
	server := natstest.Run(t, embedded.Options{LeafPort: embedded.Random, ConfigFile: file})
	nodes, _ := startOn(t, NATSOptions{URLs: []string{server.URL()}, LeafURLs: []string{server.LeafURL()}}, "n1")
	s := nodes[0].first()
	require.NoError(t, s.conn.NATS().ForceReconnect())
	require.Eventually(t, func() bool { return s.reconnects() == 1 && s.connected() }, patience, time.Millisecond)
	require.NoError(t, s.conn.NATS().Publish("_INBOX.late", nil))
	require.Eventually(t, func() bool { return total(nodes[0].figures()).Unanswered == 1 }, patience, time.Millisecond)
}

// However many ask for the text of the figures, it is made ten times a second (Q12), and anew for who asks why the node is over.
func TestTheTextOfTheFiguresIsGivenAgain(t *testing.T) {
	r := ready(t, alone(t, vfs.NewMem()))
	text := func() *byte {
		text, err := r.exposition()
		require.NoError(t, err)
		return &text[0]
	}
	require.Eventually(t, func() bool { once, again := text(), text(); return once == again }, patience, time.Millisecond)
	before := text()
	require.Eventually(t, func() bool { return text() != before }, patience, time.Millisecond)
	stop(t, r)
	require.NotSame(t, text(), text())
}

// What nodes say of themselves is what happened to them.
func TestStatsSayWhatHappened(t *testing.T) {
	nodes, leads, nc := three(t)
	leader := nodes[leads].o.ID
	request(t, nc, "raftbus.bucket.add.app", "")
	const puts, gets = 20, 10
	for i := range puts {
		request(t, nc, fmt.Sprintf("raftbus.kv.put.app.k%d", i), "v")
	}
	for range gets {
		require.Contains(t, request(t, nc, "raftbus.kv.get.app.k1", ""), `"value":"v"`)
	}
	require.Contains(t, request(t, nc, "raftbus.kv.get.app.none", ""), "30003")
	require.Contains(t, request(t, nc, "raftbus.kv.create.app.k1", "v"), "30004")
	var all map[string]observe.Stats
	require.Eventually(t, func() bool { // the last answers are counted when they have left, and figures are as old as a tenth of a second
		all = askAll(t, nc, busclient.StatsSubject("raftbus", busclient.AllNodes), 3, statsOf)
		lead := all[leader]
		caughtUp := lead.Doors[0].Reads.Count == gets+1 && lead.Doors[0].Writes.Count == puts+1
		for _, s := range all {
			caughtUp = caughtUp && s.Log.Applied == lead.Log.Last && s.Health.Ready && s.Watches.Leaf
		}
		for _, p := range lead.Peers {
			caughtUp = caughtUp && p.Lag != nil && *p.Lag == 0
		}
		return caughtUp
	}, patience, 20*time.Millisecond)
	for id, s := range all {
		require.Equal(t, leader, s.Leader)
		require.Equal(t, []string{"n1", "n2", "n3"}, s.Members)
		require.Empty(t, s.Health.Reasons)
		require.Greater(t, s.Disk.Entries, uint64(puts))
		require.Positive(t, s.Disk.Syncs.Count)
		require.Positive(t, s.Disk.Syncs.Sum)
		require.Positive(t, s.Process.Goroutines)
		require.Positive(t, s.Process.HeapBytes)
		require.Positive(t, s.Store.MemoryBytes+s.Store.Bytes)
		require.Len(t, s.Peers, 2)
		require.Len(t, s.NATS, 3)
		for _, p := range s.Peers {
			require.Equal(t, "connected", p.Link)
			require.Positive(t, p.RoundTrip)
			require.Equal(t, id == leader, p.Match != nil, "what a leader knows, only a leader says")
		}
		for _, q := range s.Queues {
			require.Positive(t, q.Max, q.Name)
		}
		if id != leader {
			require.Zero(t, s.Doors[0].Writes.Count)
		}
	}
	lead := all[leader]
	require.Equal(t, []observe.Errors{{Code: 30003, Name: "key not found", Count: 1}, {Code: 30004, Name: "key exists", Count: 1}}, lead.Doors[0].Errors)
	require.EqualValues(t, 1, lead.Doors[1].Writes.Count, "the bucket")
	metrics := request(t, nc, busclient.NodeSubject("raftbus", leader, "metrics"), "")
	for _, line := range []string{
		`raftbus_raft_role{cluster="raftbus",node="` + leader + `",role="leader"} 1`,
		`raftbus_request_duration_seconds_count{cluster="raftbus",door="kv",node="` + leader + `",operation="write"} 21`,
		`raftbus_request_errors_total{cluster="raftbus",code="30004",door="kv",name="key exists",node="` + leader + `"} 1`,
	} {
		require.Contains(t, metrics, line+"\n")
	}
	one := request(t, nc, busclient.StatsSubject("raftbus", leader), "")
	require.Contains(t, one, `"role":"leader"`)
	var health observe.Health
	well := observe.Health{Node: "n1", Live: true, Ready: true, Reasons: []string{}, Warnings: []string{}}
	require.Eventually(t, func() bool { // a disk may have been slow, and is said to be for some seconds
		health = askAll(t, nc, busclient.NodeSubject("raftbus", busclient.AllNodes, "health"), 3, func(h observe.Health) string { return h.Node })["n1"]
		return reflect.DeepEqual(well, health)
	}, patience, 100*time.Millisecond, "%+v", &health)
}
