package busclient

// Why NATS lets a connection not in is told, whenever that is (F12): its client tells of what cannot be dialled, and not of all that follows.

import (
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// The credentials are wrong, and the node was there before NATS: that nobody listens is not what it says for ever.
func TestCredentialsAreRefusedByWhoStartsLast(t *testing.T) {
	port := freePort(t)
	c := dial(t, "nats://127.0.0.1:"+strconv.Itoa(port), "n1", RoleControl, nats.UserInfo("n1", "new"))
	eventually(t, "nobody listens", func() bool { return strings.Contains(c.Stats().LastError, "refused") })
	startNATS(t, func(o *embedded.Options) { o.Port, o.Users = port, []embedded.User{{Name: "n1", Password: "old"}} })
	eventually(t, "the reason is told", func() bool { return strings.Contains(c.Stats().LastError, "Authorization Violation") })
}

// A server comes back with a certificate that this node does not trust.
func TestACertificateThatIsNotTrustedIsTold(t *testing.T) {
	t.Parallel()
	server, trust := withTLS(t, "")
	log := &countingHandler{}
	first := startNATS(t, server)
	c, err := Dial(t.Context(), ConnOptions{URLs: []string{first.URL()}, Prefix: "raftbus", Node: "n1", Role: RoleControl, Options: []nats.Option{trust}, Logger: slog.New(log)})
	require.NoError(t, err)
	defer c.Close()
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	first.Shutdown()
	other, _ := withTLS(t, "")
	second := restart(t, first, other)
	eventually(t, "the reason is told", func() bool {
		return log.count(connectionError) > 0 && strings.Contains(c.Stats().LastError, "certificate")
	})
	second.Shutdown()
	restart(t, first, server)
	eventually(t, "up", func() bool { up, _ := c.Up(); return up })
	require.Empty(t, c.Stats().LastError)
}

// A server that somebody started without nkey users: each line that says so says what to do.
func TestAServerWithoutNkeyUsersIsToldWithWhatToDo(t *testing.T) {
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := user.PublicKey()
	require.NoError(t, err)
	log := &countingHandler{}
	c, err := Dial(t.Context(), ConnOptions{URLs: []string{startNATS(t).URL()}, Prefix: "raftbus", Node: "n1", Role: RoleControl,
		Options: []nats.Option{nats.Nkey(public, user.Sign)}, Logger: slog.New(log)})
	require.NoError(t, err)
	defer c.Close()
	const remedy = "start it with auth/nats/server.conf"
	eventually(t, "both lines", func() bool { return log.count("nkeys not supported") >= 2 })
	require.LessOrEqual(t, log.count("nkeys not supported"), log.count(remedy))
	require.Contains(t, c.Stats().LastError, remedy)
}
