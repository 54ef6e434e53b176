package process

// NATS servers in processes of their own: this test binary, told by a variable to be one.

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// serveNATS is the life of a server's process, until SIGTERM.
func serveNATS(conf string) int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	s, err := embedded.Start(embedded.Options{ConfigFile: conf, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Shutdown()
	fmt.Fprintln(os.Stderr, listening)
	<-stop
	return 0
}

const listening = "listens now" // the line that says so

// server is one NATS server.
type server struct {
	*program        // nil before the first start
	name            string
	address, routes string // host:port, for clients and for the other servers
	leaves          string // and for leaf nodes
	conf            string
}

func (s *server) url() string { return "nats://" + s.address }

// configure writes the server's configuration; all form one cluster if there are several.
//
// A route that goes silent is noticed within 3 s here, not within a minute and a half: TCP alone would come back from a
// cut only when its next retransmission is due, which may be as long after the cut as the cut was long.
func (s *server) configure(t *testing.T, dir string, all []*server, told bool) {
	text := fmt.Sprintf("server_name: %s\nlisten: %q\nleafnodes { listen: %q }\n", s.name, s.address, s.leaves)
	if len(all) > 1 {
		var routes []string
		for _, other := range all {
			if other != s {
				routes = append(routes, fmt.Sprintf("%q", "nats://"+other.routes))
			}
		}
		text += fmt.Sprintf("cluster { name: test, listen: %q, no_advertise: %v, ping_interval: 1s, routes: [%s] }\n", s.routes, !told, strings.Join(routes, ", "))
	}
	s.conf = filepath.Join(dir, s.name+".conf")
	require.NoError(t, os.WriteFile(s.conf, []byte(text), 0o600))
}

// start starts the server, by the command that this host needs, and waits until it listens.
func (s *server) start(t *testing.T, command []string) {
	s.program = run(t, s.program, []string{serverVariable + "=" + s.conf}, command...)
	s.logged(t, 10*time.Second, listening)
}

// given are the addresses that tests of this process have: some are in use again only when their server is started again.
var given sync.Map

// freeAddress is one of the loopback that nobody uses now, and that was not given before. It is below the ports that the kernel gives to whoever
// asks for any, as tests beside this one do before the server listens.
func freeAddress(t *testing.T) (address string) {
	require.Eventually(t, func() bool {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_768)))
		if err != nil {
			return false
		}
		address = l.Addr().String()
		_, taken := given.LoadOrStore(address, true)
		return l.Close() == nil && !taken
	}, 10*time.Second, time.Millisecond, "no port is free")
	return address
}
