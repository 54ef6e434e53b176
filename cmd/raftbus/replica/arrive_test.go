package replica

// Whom NATS does not let in to clients votes and follows all the same (F12), where it has a cluster already.

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// apart is a configuration of NATS with an account for peers that holds nodes apart, and one for clients with those users and limits.
func apart(members []string, clients string) []byte {
	var peers string
	for _, id := range members {
		peers += fmt.Sprintf(`{user: %s, password: x, permissions: {publish: ["raftbus.rpc.*.%s.>"], subscribe: ["raftbus.rpc.%s.>", "raftbus.rpc._all.>"]}}, `, id, id, id)
	}
	return fmt.Appendf(nil, "accounts { PEERS { users: [ %s ] }, APP { %s } }", peers, clients)
}

// A majority that starts again while the clients' account lets no node in elects a leader, and serves again once that lets them in.
func TestNodesThatClientsDoNotReachElectALeaderAfterAStart(t *testing.T) {
	t.Parallel() // it mostly waits
	members := []string{"n1", "n2", "n3"}
	const all = `users: [{user: clients, password: y}]`
	for name, shut := range map[string]string{
		"their credentials are gone": `users: [{user: other, password: y}]`,
		"it is full":                 `limits: {max_connections: 1}, users: [{user: clients, password: y}, {user: other, password: y}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "nats.conf")
			require.NoError(t, os.WriteFile(file, apart(members, all), 0o600))
			server := natstest.Run(t, embedded.Options{ConfigFile: file})
			options := func(id string) Options {
				return Options{
					ID: id, Members: members, Dir: filepath.Join(filepath.Dir(file), id), Logger: slog.New(slog.DiscardHandler), RefuseOpenBus: true, DefaultAPI: true,
					NATS: NATSOptions{URLs: []string{server.URL()}, Peers: []nats.Option{nats.UserInfo(id, "x")}, Clients: []nats.Option{nats.UserInfo("clients", "y")}},
				}
			}
			run := map[string]*Replica{}
			start := func(id string) {
				var err error
				run[id], err = Start(t.Context(), options(id))
				require.NoError(t, err)
			}
			for _, id := range members {
				start(id)
				defer func() { stop(t, run[id]) }()
			}
			_, err := run["n1"].WaitReady(t.Context())
			require.NoError(t, err)
			for _, id := range members {
				stop(t, run[id])
			}
			require.NoError(t, os.WriteFile(file, apart(members, shut), 0o600))
			require.NoError(t, server.Reload())
			var client *nats.Conn
			require.Eventually(t, func() bool { // NATS may not have seen yet that the nodes hung up, and count them still
				client, err = nats.Connect(server.URL(), nats.UserInfo("other", "y"))
				return err == nil
			}, 30*time.Second, 10*time.Millisecond)
			defer client.Close()
			for _, id := range members {
				start(id)
			}
			leads := func() bool {
				return slices.ContainsFunc(members, func(id string) bool { return run[id].Status().Role == "leader" })
			}
			require.Eventually(t, leads, 30*time.Second, 10*time.Millisecond)
			for _, id := range members {
				require.Equal(t, notYet, run[id].first().refused.reason(), "it serves clients without having looked")
			}
			require.NoError(t, os.WriteFile(file, apart(members, all), 0o600))
			require.NoError(t, server.Reload())
			_, err = run["n1"].WaitReady(t.Context())
			require.NoError(t, err)
		})
	}
}
