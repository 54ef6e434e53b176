package main

// JetStream: three nats-servers, and the official KV client. raftbus: nodes on one such server or three, without JetStream, and the same client.

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

// addNATS adds servers to a system, and returns where clients and leaf nodes reach them.
func addNATS(s *system, n int, change func(*natsRole) error) (clients, leaves []string, err error) {
	at, err := ports(3 * n)
	if err != nil {
		return nil, nil, err
	}
	clients, leaves, routes := at[:n], at[n:2*n], at[2*n:]
	for i := range n {
		r := &natsRole{Name: fmt.Sprintf("s%d", i+1), Client: clients[i]}
		if n > 1 {
			r.Cluster, r.Routes = routes[i], routes
		}
		if err := change(r); err != nil {
			return nil, nil, err
		}
		if r.StoreDir == "" {
			r.Leaf = leaves[i]
		}
		s.add(&server{name: r.Name, command: as(role{NATS: r})})
	}
	return clients, leaves, nil
}

// spread connects to the servers in turn, and to the others when that one is gone.
func spread(addresses []string) func() (*nats.Conn, error) {
	var next atomic.Int64
	return func() (*nats.Conn, error) {
		first := int(next.Add(1)) % len(addresses)
		var urls []string
		for i := range addresses {
			urls = append(urls, "nats://"+addresses[(first+i)%len(addresses)])
		}
		return nats.Connect(strings.Join(urls, ","), nats.DontRandomize(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	}
}

func newJetStream(dir string, always bool) (*system, error) {
	s := &system{name: "jetstream", dir: dir}
	if always {
		s.name = "jetstream-always"
	}
	clients, _, err := addNATS(s, 3, func(r *natsRole) (err error) {
		r.SyncAlways = always
		r.StoreDir, err = mkdir(dir, r.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	connect := spread(clients)
	s.target = bench.KV{Connect: connect, Config: jetstream.KeyValueConfig{Bucket: bucket, Replicas: 3, Storage: jetstream.FileStorage}}
	s.leader = func(ctx context.Context) (string, error) {
		conn, err := connect()
		if err != nil {
			return "", err
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		if err != nil {
			return "", err
		}
		stream, err := js.Stream(ctx, "KV_"+bucket)
		if err != nil {
			return "", err
		}
		return stream.CachedInfo().Cluster.Leader, nil
	}
	return s, nil
}

// layout is a cluster of raftbus.
type layout struct {
	nodes, servers int // servers of NATS
	key, multicast bool
}

// members are the names of the nodes.
func (l layout) members() (ids []string) {
	for i := range l.nodes {
		ids = append(ids, fmt.Sprintf("n%d", i+1))
	}
	return ids
}

func newRaftbus(dir, binary string, l layout) (*system, error) {
	s := &system{name: "raftbus", dir: dir}
	clients, leaves, err := addNATS(s, l.servers, func(*natsRole) error { return nil })
	if err != nil {
		return nil, err
	}
	s.echo = clients[0]
	flags := []string{"node", "--insecure", "--members", strings.Join(l.members(), ","), "--log-level", "warn"}
	if l.multicast {
		flags = append(flags, "--multicast")
	}
	switch {
	case l.key:
		s.name = "raftbus-key"
		file := filepath.Join(dir, "key")
		if err := os.WriteFile(file, []byte(rand.Text()+rand.Text()), 0o600); err != nil {
			return nil, err
		}
		flags = append(flags, "--cluster-key-file", file)
	case l.servers == 3:
		s.name = "raftbus-3"
	}
	for i, id := range l.members() {
		own := i % l.servers // a node is beside its server, as one would have it
		args := append(flags[:len(flags):len(flags)], "--id", id, "--dir", filepath.Join(dir, id),
			"--nats", "nats://"+clients[own], "--leaf", "nats://"+leaves[own])
		s.add(&server{name: id, command: func() *exec.Cmd { return exec.Command(binary, args...) }})
	}
	s.target = bench.KV{Connect: spread(clients), Domain: "raftbus", Config: jetstream.KeyValueConfig{Bucket: bucket}}
	s.leader = func(ctx context.Context) (string, error) {
		out, err := exec.CommandContext(ctx, binary, "leader", "--json", "--nats", "nats://"+clients[0]).Output()
		if err != nil {
			return "", fmt.Errorf("raftbus leader: %w", err)
		}
		var shown struct{ Leader string }
		err = json.Unmarshal(out, &shown)
		return shown.Leader, err
	}
	return s, nil
}

// build builds raftbus from the checkout that this module is in.
func build(ctx context.Context, into string) error {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env: %w: give a binary with --raftbus", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", into, "./cmd/raftbus")
	cmd.Dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(module))), "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building raftbus in %s: %w: %s: run this in test/compare, or give a binary with --raftbus", cmd.Dir, err, out)
	}
	return nil
}
