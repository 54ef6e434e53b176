package busclient

// NATS, not our code, decides who can speak as whom (Q2, Q5): a server with the templates enforces them.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/raft/rpc"
)

var roles = Roles{Prefix: "raftbus", DefaultAPI: true}

func userOf(name string, p Permissions) embedded.User {
	return embedded.User{Name: name, Password: name, Publish: p.Publish, Subscribe: p.Subscribe, DenyPublish: p.DenyPublish, Responses: p.Responses}
}

func guardedNATS(t testing.TB) *embedded.Server {
	return startNATS(t, func(o *embedded.Options) { o.Users = guarded() })
}

func guarded() (users []embedded.User) {
	for _, id := range four {
		users = append(users, userOf(string(id), roles.Node(id).And(roles.Service(id))))
	}
	return append(users, userOf("ann", roles.Client("ann")), userOf("bob", roles.Client("bob")), userOf("eve", roles.Admin("eve")))
}

func asUser(name string) func(*peerOptions) {
	return func(o *peerOptions) { o.nats = append(o.nats, nats.UserInfo(name, name)) }
}

// intruder is a connection of a user that counts what it is refused.
type intruder struct {
	t       testing.TB
	nc      *nats.Conn
	refused chan error
}

func intrude(t testing.TB, url, user string) *intruder {
	i := &intruder{t: t, refused: make(chan error, 64)}
	var err error
	i.nc, err = nats.Connect(url, nats.UserInfo(user, user), nats.CustomInboxPrefix(InboxPrefix(user)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { i.refused <- err }))
	require.NoError(t, err)
	t.Cleanup(i.nc.Close)
	return i
}

func (i *intruder) mayNot(publish, subscribe []string) {
	for _, subject := range publish {
		require.NoError(i.t, i.nc.Publish(subject, []byte("x")))
		require.NoError(i.t, i.nc.Flush())
		require.ErrorIs(i.t, await(i.t, i.refused), nats.ErrPermissionViolation, subject)
	}
	for _, subject := range subscribe {
		_, err := i.nc.Subscribe(subject, func(*nats.Msg) {})
		require.NoError(i.t, err)
		require.NoError(i.t, i.nc.Flush())
		require.ErrorIs(i.t, await(i.t, i.refused), nats.ErrPermissionViolation, subject)
	}
}

// F5: NATS restarts, and what a leader had taken it answers over the next connection, over which nobody may answer it. No permission is missing for that;
// where one is, that shows from then on.
func TestAnAnswerAfterAReconnectLacksNoPermission(t *testing.T) {
	server := guardedNATS(t)
	c := dial(t, server.URL(), "n1", RoleClient, nats.UserInfo("n1", "n1"))
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	requests := make(chan *nats.Msg, 2)
	_, err := c.NATS().Subscribe("raftbus.kv.>", func(m *nats.Msg) { requests <- m })
	require.NoError(t, err)
	require.NoError(t, c.Flush(soon))
	ann := intrude(t, server.URL(), "ann").nc
	for range cap(requests) {
		require.NoError(t, ann.PublishRequest("raftbus.kv.get.app.k", ann.NewRespInbox(), nil))
	}
	taken, later := await(t, requests), await(t, requests)
	require.NoError(t, c.NATS().Publish("_INBOX.unasked", nil))
	eventually(t, "refused", func() bool { return c.Stats().PermissionErrors == 1 }) // there was no connection before
	require.Zero(t, c.Stats().Unanswered)
	refused := c.Stats().Refused
	server.Shutdown()
	eventually(t, "down", func() bool { up, _ := c.Up(); return !up })
	restart(t, server, func(o *embedded.Options) { o.Users = guarded() })
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	require.NoError(t, taken.Respond([]byte("blue")))
	eventually(t, "not answered", func() bool { return c.Stats().Unanswered == 1 })
	require.Equal(t, uint64(1), c.Stats().PermissionErrors)
	require.Equal(t, refused, c.Stats().Refused)
	c.mu.Lock()
	c.since = c.since.Add(-time.Minute)
	c.mu.Unlock()
	require.NoError(t, later.Respond([]byte("blue")))
	eventually(t, "refused", func() bool { return c.Stats().PermissionErrors == 2 })
}

func TestNodesWorkWithTheirPermissionsAlone(t *testing.T) {
	url := guardedNATS(t).URL()
	n1, n2 := newPeer(t, url, "n1", asUser("n1")), newPeer(t, url, "n2", asUser("n2"))
	startAdmitted(n1, n2)
	awaitEachOther(n1, n2)
	n2.echo()
	defer stopClocks(n1, n2)()
	require.NoError(t, await(t, heartbeat(t, n1.to("n2"), 1)).Err)
	appended := make(chan error, 1)
	require.NoError(t, n1.to("n2").AppendLog(1, &rpc.AppendLogCommand{}, func(r rpc.Reply[*rpc.AppendLogReturn]) { appended <- r.Err }))
	require.NoError(t, await(t, appended))
	p, ok := n1.lastPing("n3")
	require.True(t, ok)
	require.ErrorIs(t, p.Err, ErrNoResponders, "that nobody listens is still told")
	for _, n := range []*peer{n1, n2} {
		require.Zero(t, n.control.Stats().PermissionErrors)
		require.Zero(t, n.bulk.Stats().PermissionErrors)
	}
}

func TestNoNodeSpeaksAsAnotherNorHearsIt(t *testing.T) {
	intrude(t, guardedNATS(t).URL(), "n1").mayNot(
		[]string{"raftbus.rpc.n3.n2.RequestVote", "raftbus.rpc.n3.n2.Return.x.1", "raftbus.rpc._all.n2.AppendLog", "raftbus.rpc.n1.n2.Ping", "raftbus.kv.put.a.b"},
		[]string{"raftbus.rpc.n2.>", "raftbus.rpc.>", "raftbus.rpc.*.n1.>", ">", "_INBOX.>", InboxPrefix("ann") + ".>"})
}

func TestClientsReachNothingOfRaft(t *testing.T) {
	url := guardedNATS(t).URL()
	intrude(t, url, "ann").mayNot(
		[]string{"raftbus.rpc.n1.n2.RequestVote", "raftbus.rpc.n1.ann.Ping", "raftbus.rpc._all.n1.AppendLog", "raftbus.admin.remove", InboxPrefix("bob") + ".x"},
		[]string{"raftbus.rpc.>", "raftbus.rpc.n1.>", ">", "_INBOX.>", InboxPrefix("bob") + ".>", "raftbus.kv.>"})
}

// An administrator is let through to the leader, and to nothing of Raft.
func TestAdministratorsAreServed(t *testing.T) {
	url := guardedNATS(t).URL()
	node := dial(t, url, "n1", RoleClient, nats.UserInfo("n1", "n1"))
	eventually(t, "up", func() bool { up, _ := node.Up(); return up })
	_, err := node.NATS().Subscribe("raftbus.admin.>", func(m *nats.Msg) { _ = m.Respond([]byte("ok")) })
	require.NoError(t, err)
	require.NoError(t, node.Flush(soon))
	eve := intrude(t, url, "eve")
	for _, subject := range []string{"raftbus.admin.members", "raftbus.admin.reconfigure", "raftbus.admin.transfer"} {
		_, err := eve.nc.Request(subject, nil, soon)
		require.NoError(t, err, subject)
	}
	eve.mayNot([]string{"raftbus.rpc.n1.n2.RequestVote", InboxPrefix("bob") + ".x"}, []string{"raftbus.rpc.>", "raftbus.admin.>"})
}

func TestClientsAreServed(t *testing.T) {
	url := guardedNATS(t).URL()
	node := dial(t, url, "n1", RoleClient, nats.UserInfo("n1", "n1"))
	eventually(t, "up", func() bool { up, _ := node.Up(); return up })
	for _, subject := range []string{"raftbus.kv.>", "raftbus.bucket.>", StatusSubject("raftbus", AllNodes), StatusSubject("raftbus", "n1"), "$JS.raftbus.API.>", "$KV.>"} {
		_, err := node.NATS().Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte("ok")) })
		require.NoError(t, err)
	}
	require.NoError(t, node.Flush(soon))
	ann := intrude(t, url, "ann")
	for _, subject := range []string{"raftbus.kv.put.a.b", "raftbus.bucket.ls", StatusSubject("raftbus", AllNodes), "$JS.raftbus.API.INFO", "$KV.a.b"} {
		m, err := ann.nc.Request(subject, nil, soon)
		require.NoError(t, err, subject)
		require.Equal(t, "ok", string(m.Data))
	}
	_, err := ann.nc.Request("$JS.ACK.KV_a.c.1.1.1.1.0", []byte("+ACK"), soon)
	require.ErrorIs(t, err, nats.ErrNoResponders, "who acknowledges is not refused")
	require.Zero(t, node.Stats().PermissionErrors)
}

// F12: a permission that is missing is counted and named, not taken for a peer that is down; and named once, not with each
// message that is refused.
func TestAMissingPermissionIsNamedOnce(t *testing.T) {
	url := guardedNATS(t).URL()
	log := &countingHandler{}
	c, err := Dial(t.Context(), ConnOptions{URLs: []string{url}, Prefix: "raftbus", Node: "n1", Role: RoleControl,
		Options: []nats.Option{nats.UserInfo("n2", "n2")}, Logger: slog.New(log)})
	require.NoError(t, err)
	defer c.Close()
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	for round := range uint64(40) {
		routes := newRoutes("raftbus", "n1", "n3", [paths]string{"x", "y"})
		require.NoError(t, c.Publish(routes.requests[rpc.MethodPing], routes.reply(control, round), nil))
		require.NoError(t, c.Publish(fmt.Sprintf("raftbus.rpc.n3.n1.Return.x.%d", round), "", nil))
		_, err := c.Subscribe(fmt.Sprintf("raftbus.rpc.n1.*.Return.x%d.*", round), func(Delivery) {})
		require.NoError(t, err)
	}
	eventually(t, "each is counted", func() bool { return c.Stats().PermissionErrors >= 3*40 })
	require.Equal(t, 2, log.count("NATS refuses this user a subject"), "one of each kind")
}

// countingHandler counts the lines of a log.
type countingHandler struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (h *countingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *countingHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }

func (h *countingHandler) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	h.lines = append(h.lines, line)
	return nil
}

func (h *countingHandler) count(text string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// F12: a permission that is missing makes no peer that is down.
func TestAMissingPermissionIsNamed(t *testing.T) {
	url := guardedNATS(t).URL()
	n1 := newPeer(t, url, "n1", asUser("n2"))
	ended := make(chan error, 1)
	go func() { ended <- n1.Start(t.Context()) }()
	eventually(t, "counted and named", func() bool {
		s := n1.control.Stats()
		return s.PermissionErrors > 0 && s.LastError != "" && !s.Refused.IsZero()
	})
	n1.Close()
	require.True(t, errors.Is(await(t, ended), ErrClosed))
}
