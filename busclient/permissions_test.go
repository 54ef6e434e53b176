package busclient

// NATS, not our code, decides who can speak as whom (Q2, Q5): a server with the templates enforces them.

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/raft/rpc"
)

func userOf(name string, p Permissions) embedded.User {
	return embedded.User{Name: name, Password: name, Publish: p.Publish, Subscribe: p.Subscribe, Responses: p.Responses}
}

func guardedNATS(t testing.TB) *embedded.Server {
	return startNATS(t, func(o *embedded.Options) {
		for _, id := range members {
			o.Users = append(o.Users, userOf(string(id), NodePermissions("raftbus", id).And(ServicePermissions("raftbus", id))))
		}
		o.Users = append(o.Users, userOf("ann", ClientPermissions("raftbus", "ann")), userOf("bob", ClientPermissions("raftbus", "bob")))
	})
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

func TestNodesWorkWithTheirPermissionsAlone(t *testing.T) {
	url := guardedNATS(t).URL()
	n1, n2 := startPeer(t, url, "n1", asUser("n1")), startPeer(t, url, "n2", asUser("n2"))
	n1.awaitLink("n2", "connected")
	n2.awaitLink("n1", "connected")
	n2.echo()
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
	require.Zero(t, node.Stats().PermissionErrors)
}

// F12: a permission that is missing is counted and named, not taken for a peer that is down.
func TestAMissingPermissionIsNamed(t *testing.T) {
	url := guardedNATS(t).URL()
	n1 := newPeer(t, url, "n1", asUser("n2"))
	ended := make(chan error, 1)
	go func() { ended <- n1.Start(t.Context()) }()
	eventually(t, "counted and named", func() bool {
		s := n1.control.Stats()
		return s.PermissionErrors > 0 && s.LastError != ""
	})
	n1.Close()
	require.True(t, errors.Is(await(t, ended), ErrClosed))
}
