package replica

// Q6: a node that could be impersonated does not run.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// Permissions as NATS has them, of a node n1 and of others.
const (
	asN1     = `publish: ["raftbus.rpc.*.n1.>"], subscribe: ["raftbus.rpc.n1.>", "raftbus.rpc._all.>"]`
	services = `publish: {allow: ["raftbus.node.>", "raftbus.event.>", "raftbus._", "raftbus.bucket.ls"]}, subscribe: {allow: ["raftbus.node.>", "raftbus.admin.>", "raftbus.kv.>", "raftbus.bucket.>", "$JS.>", "$KV.>"]}, allow_responses: true`
)

func TestAnOpenBusIsRefused(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, c := range []struct{ name, config, finding string }{
		{"nobody asks who one is", `max_payload: 1048576`, "this node speak as another node"},
		{"no permissions", `authorization { users: [{user: n1, password: x}] }`, "this node speak as another node"},
		{"it may speak as another", `authorization { users: [{user: n1, password: x, permissions: {publish: ["raftbus.rpc.*.n1.>", "raftbus.rpc.*.n2.>"], subscribe: "raftbus.rpc.n1.>"}}] }`, "this node speak as n2"},
		{"it may speak to all as another", `authorization { users: [{user: n1, password: x, permissions: {publish: ["raftbus.rpc.*.n1.>", "raftbus.rpc._all.n2.>"], subscribe: ["raftbus.rpc.n1.>", "raftbus.rpc._all.>"]}}] }`, "this node speak as n2"},
		{"clients may hear what is for all", `authorization { users: [{user: n1, password: x, permissions: {` + asN1 + `}}, {user: clients, password: y, permissions: {publish: "raftbus.node.>", subscribe: "raftbus.rpc._all.>"}}] }`,
			"this node's connection to clients listen to all nodes"},
		{"it may hear all", `authorization { users: [{user: n1, password: x, permissions: {publish: "raftbus.rpc.*.n1.>", subscribe: "raftbus.rpc.>"}}] }`, "this node listen to another node"},
		{"it may hear another", `authorization { users: [{user: n1, password: x, permissions: {publish: "raftbus.rpc.*.n1.>", subscribe: ["raftbus.rpc.n1.>", "raftbus.rpc.n3.>"]}}] }`, "this node listen to n3"},
		{"anybody is let in", `authorization { users: [{user: n1, password: x, permissions: {` + asN1 + `}}, {user: any, password: y}] }
			no_auth_user: any`, "anybody without credentials speak as another node"},
		{"clients' connection", `authorization { users: [{user: n1, password: x, permissions: {` + asN1 + `}}, {user: clients, password: y}] }`,
			"this node's connection to clients speak as another node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Start(t.Context(), onConfig(t, c.config))
			require.NoError(t, err)
			requireOpen(t, r)
			require.ErrorContains(t, r.Err(), "NATS lets "+c.finding+": give NATS accounts and permissions")
			require.ErrorIs(t, r.Stop(t.Context()), ErrOpenBus)
		})
	}
}

func requireOpen(t *testing.T, r *Replica) {
	t.Helper()
	select {
	case <-r.Done():
	case <-time.After(patience):
		require.Fail(t, "it runs")
	}
	require.ErrorIs(t, r.Err(), ErrOpenBus)
}

// Who a node is may stand in the address of NATS: nobody else is taken for it.
func TestWhoIsInTheAddressIsTheNodeOnly(t *testing.T) {
	t.Parallel() // it mostly waits
	const user = `{user: n1, password: x, permissions: {publish: {allow: ["raftbus.rpc.*.n1.>", "raftbus.node.>", "raftbus.event.>", "raftbus._", "raftbus.bucket.ls"]},
		subscribe: {allow: ["raftbus.rpc.n1.>", "raftbus.rpc._all.>", "raftbus.node.>", "raftbus.admin.>", "raftbus.kv.>", "raftbus.bucket.>", "$JS.>", "$KV.>"]}, allow_responses: true}}`
	start := func(config string) *Replica {
		o := onConfig(t, config)
		o.Members, o.NATS.Peers, o.NATS.Clients = []string{"n1"}, nil, nil
		o.NATS.URLs[0] = strings.Replace(o.NATS.URLs[0], "://", "://n1:x@", 1)
		r, err := Start(t.Context(), o)
		require.NoError(t, err)
		return r
	}
	closed := start(`authorization { users: [` + user + `] }`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := closed.WaitReady(ctx)
	require.NoError(t, err)
	stop(t, closed)
	open := start(`authorization { users: [` + user + `, {user: any, password: y}] }
		no_auth_user: any`)
	requireOpen(t, open)
	require.ErrorContains(t, open.Err(), "anybody without credentials speak as another node")
	require.ErrorIs(t, open.Stop(t.Context()), ErrOpenBus)
}

// dials leads to these servers, one after the other, whatever the address.
type dials struct {
	servers []string
	count   atomic.Int64
}

func (d *dials) Dial(network, _ string) (net.Conn, error) {
	return net.Dial(network, strings.TrimPrefix(d.servers[int(d.count.Add(1)-1)%len(d.servers)], "nats://"))
}

// Behind one address there may be several servers: what is tried is tried at one of them, since a route between two delays what passes. Here it
// never does.
func TestAnOpenBusIsSeenBehindALoadBalancer(t *testing.T) {
	const config = `authorization { users: [{user: n1, password: x, permissions: {` + asN1 + `}}, {user: clients, password: y, permissions: {` + services + `}}, {user: any, password: y}] }
		no_auth_user: any`
	o := onConfig(t, config)
	one, another := o.NATS.URLs[0], onConfig(t, config).NATS.URLs[0]
	o.NATS.Peers = append(o.NATS.Peers, nats.SetCustomDialer(&dials{servers: []string{one}}))
	o.NATS.Options = append(o.NATS.Options, nats.SetCustomDialer(&dials{servers: []string{another, another, another, another, another, another, another, one}}))
	r, err := Start(t.Context(), o)
	require.NoError(t, err)
	requireOpen(t, r)
	require.ErrorContains(t, r.Err(), "anybody without credentials speak as another node")
	require.ErrorIs(t, r.Stop(t.Context()), ErrOpenBus)
}

// cutting dials connections of which the first that tries the bus is cut by that.
type cutting struct{ cut atomic.Bool }

func (c *cutting) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return &cuttingConn{conn, c}, err
}

type cuttingConn struct {
	net.Conn
	by *cutting
}

func (c *cuttingConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("."+checkToken+" ")) && c.by.cut.CompareAndSwap(false, true) {
		_ = c.Close()
	}
	return c.Conn.Write(b)
}

// A try that NATS cuts off, as it does when it goes, says nothing of the bus: it is made again (F5).
func TestATryThatIsCutOffIsNoOpenBus(t *testing.T) {
	t.Parallel() // it mostly waits
	o := onConfig(t, `authorization { users: [{user: n1, password: x, permissions: {`+asN1+`}}, {user: clients, password: y, permissions: {`+services+`}}] }`)
	o.Members = []string{"n1"}
	dialer := &cutting{}
	o.NATS.Peers = append(o.NATS.Peers, nats.SetCustomDialer(dialer))
	stop(t, ready(t, o))
	require.True(t, dialer.cut.Load())
}

// Accounts hold apart too: what may be said in another account reaches no node.
func TestAClosedBusIsNot(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, config := range map[string]string{
		"permissions": `authorization { users: [{user: n1, password: x, permissions: {` + asN1 + `}}, {user: clients, password: y, permissions: {` + services + `}}] }`,
		"accounts": `accounts {
			PEERS { users: [{user: n1, password: x, permissions: {` + asN1 + `}}] }
			APP { users: [{user: clients, password: y}, {user: any, password: y}] }
		}
		no_auth_user: any`,
	} {
		t.Run(name, func(t *testing.T) {
			o := onConfig(t, config)
			o.Members = []string{"n1"}
			stop(t, ready(t, o))
		})
	}
}

// A further account that lets nobody else in, or not for good, does not keep a node from its cluster; one from which a node can be spoken as
// ends it all the same.
func TestAFurtherAccountHoldsUpNoNode(t *testing.T) {
	t.Parallel() // it mostly waits
	const peers = `PEERS { users: [{user: n1, password: x, permissions: {` + asN1 + `}}, {user: open, password: z}] }
		APP { users: [{user: clients, password: y}] }`
	start := func(more string, users ...string) *Replica {
		o := onConfig(t, `accounts { `+peers+"\n"+more+` }`)
		o.Members = []string{"n1"}
		for _, user := range users {
			o.NATS.Accounts = append(o.NATS.Accounts, Account{Name: user, Clients: []nats.Option{nats.UserInfo(user, "z")}, Leaf: []nats.Option{nats.UserInfo(user, "z")}})
		}
		r, err := Start(t.Context(), o)
		require.NoError(t, err)
		return r
	}
	t.Run("at its limit", func(t *testing.T) {
		r := start(`TEAM { limits: {max_connections: 1}, users: [{user: team, password: z}] }`, "team")
		defer stop(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := r.WaitReady(ctx)
		require.NoError(t, err)
		require.Eventually(t, func() bool { s := r.Status().Accounts[0]; return s.Connected && s.Refused == "" }, patience, time.Millisecond)
	})
	t.Run("open", func(t *testing.T) {
		r := start("", "open")
		requireOpen(t, r)
		require.ErrorContains(t, r.Err(), "this node's connection to clients of the account open speak as another node")
		require.ErrorIs(t, r.Stop(t.Context()), ErrOpenBus)
	})
	t.Run("the second of two open", func(t *testing.T) {
		r := start(`TEAM { users: [{user: team, password: z}] }`, "team", "open")
		requireOpen(t, r)
		require.ErrorContains(t, r.Err(), "this node's connection to clients of the account open speak as another node")
		require.ErrorIs(t, r.Stop(t.Context()), ErrOpenBus)
	})
}

// dialsOnce lets one connection through, and others when it is open.
type dialsOnce struct{ dialled, open atomic.Bool }

func (d *dialsOnce) Dial(network, address string) (net.Conn, error) {
	if d.dialled.Swap(true) && !d.open.Load() {
		return nil, errors.New("not yet")
	}
	return net.Dial(network, address)
}

// Nobody of a further account is served before it is known that the bus is closed to those (Q6).
func TestAFurtherAccountIsServedOnceItIsLookedAt(t *testing.T) {
	t.Parallel() // it mostly waits
	o := onConfig(t, `accounts {
		PEERS { users: [{user: n1, password: x, permissions: {`+asN1+`}}] }
		APP { users: [{user: clients, password: y}] }
		TEAM { users: [{user: team, password: z}] }
	}`)
	var dialer dialsOnce
	team := []nats.Option{nats.UserInfo("team", "z")}
	o.Members, o.NATS.Accounts = []string{"n1"}, []Account{{Name: "team", Clients: append(team, nats.SetCustomDialer(&dialer)), Leaf: team}}
	r := ready(t, o)
	defer stop(t, r)
	nc, err := nats.Connect(o.NATS.URLs[0], team...)
	require.NoError(t, err)
	defer nc.Close()
	served := func() bool {
		_, err := nc.Request("raftbus.bucket.ls", nil, patience)
		return !errors.Is(err, nats.ErrNoResponders)
	}
	require.Never(t, served, 50*time.Millisecond, time.Millisecond)
	require.Equal(t, notYet, r.Status().Accounts[0].Refused)
	dialer.open.Store(true)
	require.Eventually(t, served, 10*time.Second, 5*time.Millisecond)
}

// onConfig are the options of n1 on a server with that configuration.
func onConfig(t *testing.T, config string) Options {
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	server := natstest.Run(t, embedded.Options{ConfigFile: file})
	return Options{
		ID: "n1", Members: []string{"n1", "n2", "n3"}, Dir: filepath.Join(t.TempDir(), "n1"), Logger: slog.New(slog.DiscardHandler), RefuseOpenBus: true,
		NATS: NATSOptions{
			URLs:  []string{fmt.Sprintf("nats://127.0.0.1:%d", server.Port())},
			Peers: []nats.Option{nats.UserInfo("n1", "x")}, Clients: []nats.Option{nats.UserInfo("clients", "y")},
		},
	}
}

// A server that has as many connections as it may have lets nobody in, and so does an account.
func TestAServerMayBeFull(t *testing.T) {
	for _, text := range []string{"maximum connections exceeded", "maximum account active connections exceeded"} {
		require.True(t, isFull(errors.New("nats: "+text)), text)
	}
	require.False(t, isFull(errors.New("nats: timeout")))
}
