package replica

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// routeTo is a way to a server's routes that can be cut for good.
func routeTo(t *testing.T, server *embedded.Server) (url string, cut func()) {
	t.Helper()
	far := strings.TrimPrefix(server.RouteURL(), "nats://")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var all sync.WaitGroup
	var conns []net.Conn
	over := false
	pass := func(to, from net.Conn) { _, _ = io.Copy(to, from); _ = to.Close() }
	all.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			onward, err := net.Dial("tcp", far)
			if err != nil {
				_ = near.Close()
				continue
			}
			mu.Lock()
			if conns = append(conns, near, onward); over {
				_, _ = near.Close(), onward.Close()
			}
			mu.Unlock()
			all.Go(func() { pass(near, onward) })
			all.Go(func() { pass(onward, near) })
		}
	})
	cut = sync.OnceFunc(func() {
		_ = listener.Close()
		mu.Lock()
		over = true
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	t.Cleanup(cut)
	return "nats://" + listener.Addr().String(), cut
}

// A leader whose connection to clients is alone with a NATS server that is parted from the others, while its peers reach it elsewhere, hands over to one
// that hears them where clients are, and that stays (F7, F12).
func TestALeaderThatIsPartedFromClients(t *testing.T) {
	t.Parallel() // it mostly waits
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte("cluster { no_advertise: true }"), 0o600))
	begin := func(routes ...string) *embedded.Server {
		server, err := embedded.Start(embedded.Options{ConfigFile: file, ClusterName: "test", ClusterPort: embedded.Random, Routes: routes})
		require.NoError(t, err)
		t.Cleanup(server.Shutdown)
		return server
	}
	s1 := begin()
	route, cut := routeTo(t, s1) // between two servers only: a third would be told of others, and find a way around
	s2 := begin(route)
	members, nodes := []string{"n1", "n2", "n3"}, map[string]*Replica{}
	for id, clients := range map[string]*embedded.Server{"n1": s1, "n2": s2, "n3": s2} {
		r, err := Start(t.Context(), Options{
			ID: id, Members: members, Dir: filepath.Join(t.TempDir(), id), Logger: slog.New(slog.DiscardHandler),
			NATS: NATSOptions{URLs: []string{s2.URL()}, Clients: []nats.Option{func(o *nats.Options) error { o.Servers = []string{clients.URL()}; return nil }}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { stop(t, r) })
		nodes[id] = r
	}
	leader, err := nodes["n1"].WaitReady(t.Context())
	require.NoError(t, err)
	if leader != "n1" {
		require.NoError(t, nodes[leader].TransferLeadership(t.Context(), "n1"))
	}
	nc, err := nats.Connect(s2.URL())
	require.NoError(t, err)
	defer nc.Close()
	served := func() bool {
		_, err := nc.Request("raftbus.bucket.ls", nil, time.Second)
		return err == nil
	}
	require.Eventually(t, served, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, "n1", nodes["n1"].Status().Leader)

	cut()
	require.Eventually(t, func() bool { return !served() }, 5*time.Second, 10*time.Millisecond)
	require.Eventually(t, served, 10*time.Second, 10*time.Millisecond)
	s := nodes["n1"].Status()
	require.NotEqual(t, "n1", s.Leader)
	require.Equal(t, "n2, n3", s.Parted)
	require.Contains(t, strings.Join(s.Health().Warnings, "; "), "this node is linked to n2, n3, and hears nothing of them where clients are")
	for _, id := range []string{"n2", "n3"} {
		require.Never(t, func() bool { return nodes[id].Status().Parted != "" || nodes[id].Status().Term != s.Term }, time.Second, 50*time.Millisecond)
	}
}
