package replica

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

// letIn is a configuration of NATS that lets nodes in as peers, and these to their clients.
func letIn(nodes []string) []byte {
	users := "{user: client, password: x}"
	for _, id := range nodes {
		users += fmt.Sprintf(", {user: %s, password: x}", id)
	}
	return fmt.Appendf(nil, "accounts { P: { users: [ {user: peer, password: x} ] }, C: { users: [ %s ] } }", users)
}

// Clients are served again soon after the leader's credentials for them are revoked, while those for peers are good; the node that they
// do not reach says so (F12).
func TestALeaderThatNoClientReaches(t *testing.T) {
	t.Parallel() // it mostly waits
	members := []string{"n1", "n2", "n3"}
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, letIn(members), 0o600))
	server, err := embedded.Start(embedded.Options{ConfigFile: file})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	nodes := map[string]*Replica{}
	for _, id := range members {
		nodes[id], err = Start(t.Context(), Options{
			ID: id, Members: members, Dir: filepath.Join(t.TempDir(), id), Logger: slog.New(slog.DiscardHandler),
			NATS: NATSOptions{URLs: []string{server.URL()}, Peers: []nats.Option{nats.UserInfo("peer", "x")}, Clients: []nats.Option{nats.UserInfo(id, "x")}},
		})
		require.NoError(t, err)
		defer stop(t, nodes[id])
	}
	leader, err := nodes["n1"].WaitReady(t.Context())
	require.NoError(t, err)
	require.Empty(t, nodes[leader].Status().Deaf)
	require.Eventually(t, func() bool { return nodes[leader].Status().Watches.LeafError != "" }, 10*time.Second, time.Millisecond, "why it has no leaf connection: NATS has no port for it")
	nc, err := nats.Connect(server.URL(), nats.UserInfo("client", "x"))
	require.NoError(t, err)
	defer nc.Close()
	_, err = nc.Request("raftbus.bucket.add.app", nil, 5*time.Second)
	require.NoError(t, err)

	rest := slices.DeleteFunc(slices.Clone(members), func(id string) bool { return id == leader })
	require.NoError(t, os.WriteFile(file, letIn(rest), 0o600))
	require.NoError(t, server.Reload())
	require.Eventually(t, func() bool {
		_, err := nc.Request("raftbus.bucket.info.app", nil, time.Second)
		return err == nil
	}, 15*time.Second, 50*time.Millisecond)

	s := nodes[leader].Status()
	require.Contains(t, rest, s.Leader)
	require.False(t, s.Disk.Full)
	h := s.Health()
	require.False(t, h.Ready)
	require.True(t, h.Live, "to start it again cures nothing")
	said := strings.Join(h.Reasons, "; ")
	require.Contains(t, said, "no client reaches "+leader)
	require.Contains(t, strings.ToLower(said), "authorization violation")
	require.True(t, nodes[rest[0]].Health().Ready)

	require.NoError(t, os.WriteFile(file, letIn(members), 0o600))
	require.NoError(t, server.Reload())
	require.Eventually(t, func() bool { return nodes[leader].Health().Ready }, 10*time.Second, 10*time.Millisecond)
}

// Whoever is told that writes are refused is told what to do about it: to free space does not help where too many files are open (F21).
func TestWhatIsSaidOfANodeThatTakesNoWrites(t *testing.T) {
	s := Status{Disk: DiskStatus{Full: true}}
	require.Contains(t, s.Health().Warnings[0], "free some space")
	s.Disk.Files = true
	require.Contains(t, s.Health().Warnings[0], "too many files are open")
}
