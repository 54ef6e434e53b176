package clisuite

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/test/built"
)

// jetStream is a server with JetStream; raftbus nodes may use it too.
func jetStream(t testing.TB) *embedded.Server {
	return natstest.Run(t, embedded.Options{StoreDir: filepath.Join(t.TempDir(), "js"), LeafPort: embedded.Random})
}

// dev runs `raftbus dev`, with no flag but where.
func dev(t testing.TB) *place {
	built.Seen(t)
	cmd := exec.Command(raftbus, "dev", "--port", "0", "--dir", filepath.Join(t.TempDir(), "data"))
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr := &output{}
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		stuck := time.AfterFunc(commandTime, func() { _ = cmd.Process.Kill() })
		defer stuck.Stop()
		require.NoError(t, cmd.Wait(), stderr)
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, stderr)
	_, rest, found := strings.Cut(line, "NATS ")
	require.True(t, found, line)
	url, _, _ := strings.Cut(rest, ",")
	return at(t, "", url)
}

// besideJetStream is a domain of its own, on a server whose JetStream others use.
func besideJetStream(t testing.TB) (ours, others *place) {
	server := jetStream(t)
	others = at(t, "", server.URL())
	require.Zero(t, others.run(t, "", "kv", "add", "foreign").code)
	startNodes(t, false, server)
	return at(t, "raftbus", server.URL()), others
}

// threeServers is a NATS cluster, with a node at each of its servers; commands go to one after another.
func threeServers(t testing.TB) *place {
	servers, err := embedded.StartCluster(3, embedded.Options{LeafPort: embedded.Random})
	require.NoError(t, err)
	var urls []string
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
		urls = append(urls, s.URL())
	}
	startNodes(t, true, servers...)
	return at(t, "", urls...)
}

// startNodes starts three nodes on the servers, and waits until they serve.
func startNodes(t testing.TB, defaultAPI bool, servers ...*embedded.Server) (nodes []*replica.Replica) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	for i := range 3 {
		server := servers[i%len(servers)]
		r, err := replica.Start(ctx, replica.Options{
			ID: fmt.Sprint("n", i+1), Members: []string{"n1", "n2", "n3"}, Dir: filepath.Join(t.TempDir(), "data"), DefaultAPI: defaultAPI,
			Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
			NATS:   replica.NATSOptions{URLs: []string{server.URL()}, LeafURLs: []string{server.LeafURL()}},
		})
		require.NoError(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), commandTime)
			defer cancel()
			require.NoError(t, r.Stop(ctx))
		})
		nodes = append(nodes, r)
	}
	for _, r := range nodes {
		_, err := r.WaitReady(ctx)
		require.NoError(t, err)
	}
	return nodes
}
