package embedded

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func start(t *testing.T, o Options) *Server {
	s, err := Start(o)
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

func echo(t *testing.T, from, to string, o ...nats.Option) {
	a, err := nats.Connect(from, o...)
	require.NoError(t, err)
	defer a.Close()
	b, err := nats.Connect(to, o...)
	require.NoError(t, err)
	defer b.Close()
	_, err = b.Subscribe("ask", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	require.NoError(t, err)
	require.NoError(t, b.Flush())
	require.Eventually(t, func() bool {
		m, err := a.Request("ask", []byte("blue"), time.Second)
		return err == nil && string(m.Data) == "blue"
	}, 10*time.Second, 5*time.Millisecond)
}

func TestAServerServesOnAFreePort(t *testing.T) {
	a, b := start(t, Options{}), start(t, Options{Port: Random})
	require.NotEqual(t, a.Port(), b.Port())
	echo(t, a.URL(), a.URL())
	require.Empty(t, a.LeafURL())
	require.Empty(t, a.RouteURL())
}

func TestAPortInUseIsAnErrorWithARemedy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = Start(Options{Port: l.Addr().(*net.TCPAddr).Port})
	require.ErrorContains(t, err, "address already in use")
	require.ErrorContains(t, err, "choose another port")
	_, err = Start(Options{LeafPort: l.Addr().(*net.TCPAddr).Port})
	require.ErrorContains(t, err, "address already in use", "the leaf port too")
}

func TestAServerCanBeStartedAgainOnItsPort(t *testing.T) {
	s := start(t, Options{})
	for range 3 {
		s.Shutdown()
		s.Shutdown()
		_, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())))
		require.ErrorIs(t, err, syscall.ECONNREFUSED, "it listens on") // StartAgain would wait for its end
		again, err := StartAgain(Options{Port: s.Port()})
		require.NoError(t, err)
		t.Cleanup(again.Shutdown)
		s = again
		echo(t, s.URL(), s.URL())
	}
}

// Somebody may have its port for a moment.
func TestAServerIsStartedAgainOnceItsPortIsFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	time.AfterFunc(200*time.Millisecond, func() { l.Close() })
	s, err := StartAgain(Options{Port: l.Addr().(*net.TCPAddr).Port})
	require.NoError(t, err)
	s.Shutdown()
}

func TestServersFormACluster(t *testing.T) {
	servers, err := StartCluster(3, Options{})
	require.NoError(t, err)
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
	}
	require.Equal(t, "s2", servers[1].Name())
	echo(t, servers[0].URL(), servers[1].URL())
	echo(t, servers[1].URL(), servers[2].URL())
	echo(t, servers[2].URL(), servers[0].URL())
}

func TestAnErrorHasNoPasswordOfARoute(t *testing.T) {
	_, err := Start(Options{Routes: []string{"nats://127.0.0.1:1", "nats://alice:hunter2@host:x"}})
	require.ErrorContains(t, err, "route number 2 is not valid")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestLeafPortListens(t *testing.T) {
	s := start(t, Options{LeafPort: Random})
	require.NotEmpty(t, s.LeafURL())
	id, err := greeting(s.LeafURL()[len("nats://"):])
	require.NoError(t, err)
	require.Equal(t, s.server.ID(), id)
}

func TestUsersAndMaxPayload(t *testing.T) {
	s := start(t, Options{MaxPayload: 4096, Users: []User{{Name: "ann", Password: "x"}}})
	_, err := nats.Connect(s.URL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	nc, err := nats.Connect(s.URL(), nats.UserInfo("ann", "x"))
	require.NoError(t, err)
	defer nc.Close()
	require.Equal(t, int64(4096), nc.MaxPayload())
}

func TestAConfigurationFileIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte("max_payload: 8192\nport: 1\nserver_name: from-file\n"), 0o600))
	s := start(t, Options{ConfigFile: file, Port: Random})
	require.Equal(t, "from-file", s.Name())
	require.NotEqual(t, 1, s.Port(), "what is set in Options wins")
	require.NoError(t, os.WriteFile(file, []byte("nonsense {"), 0o600))
	_, err := Start(Options{ConfigFile: file})
	require.ErrorContains(t, err, "configuration")
}

// A server that could not bind must not be taken for the one that answers on its port.
func TestTheGreetingTellsServersApart(t *testing.T) {
	a, b := start(t, Options{}), start(t, Options{})
	a.server, b.server = b.server, a.server
	id, err := greeting(b.server.Addr().String())
	require.NoError(t, err)
	require.NotEqual(t, a.server.ID(), id)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte("SSH-2.0-OpenSSH\n"))
			c.Close()
		}
	}()
	_, err = greeting(l.Addr().String())
	require.ErrorContains(t, err, "unlike a NATS server")
}
