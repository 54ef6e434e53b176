package main

// A system under comparison: its servers, how clients reach it, who leads.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

const bucket = "bench"

// system is three replicas, and what they need.
type system struct {
	name    string
	dir     string
	servers []*server // in the order in which they start
	target  bench.Target
	leader  func(context.Context) (string, error) // the name of the server that leads
	echo    string                                // a NATS server without JetStream, if it has one
}

// builders know all systems. What they return has its ports and folders, and runs nothing.
var builders = map[string]func(dir, raftbus string) (*system, error){
	"etcd":             newEtcd,
	"jetstream-always": func(dir, _ string) (*system, error) { return newJetStream(dir, true) },
	"jetstream":        func(dir, _ string) (*system, error) { return newJetStream(dir, false) },
	"raftbus": func(dir, raftbus string) (*system, error) {
		return newRaftbus(dir, raftbus, layout{nodes: 3, servers: 1})
	},
	"raftbus-3": func(dir, raftbus string) (*system, error) {
		return newRaftbus(dir, raftbus, layout{nodes: 3, servers: 3})
	},
	"raftbus-key": func(dir, raftbus string) (*system, error) {
		return newRaftbus(dir, raftbus, layout{nodes: 3, servers: 1, key: true})
	},
}

// add adds a server with a log of its own.
func (s *system) add(one *server) {
	one.log = filepath.Join(s.dir, "logs", one.name)
	s.servers = append(s.servers, one)
}

// launch starts all servers that do not run, and returns when a client's write is acknowledged.
func (s *system) launch(ctx context.Context) error {
	for _, one := range s.servers {
		if !one.running() {
			if err := one.start(); err != nil {
				return err
			}
		}
	}
	err := poll(ctx, s.name+" does not serve", s.serves)
	for _, one := range s.servers {
		if err != nil || !one.running() {
			err = errors.Join(err, errors.New(one.lastWords()))
		}
	}
	return err
}

func (s *system) serves(ctx context.Context) error {
	if err := s.target.Create(ctx); err != nil && !errors.Is(err, bench.ErrExists) {
		return err
	}
	store, err := s.target.Open(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	_, err = store.Put(ctx, "serves", []byte("yes"))
	return err
}

// stop ends the servers, the last first.
func (s *system) stop() {
	for i := len(s.servers) - 1; i >= 0; i-- {
		s.servers[i].stop()
	}
}

// find is the server of a name.
func (s *system) find(name string) (*server, error) {
	for _, one := range s.servers {
		if one.name == name {
			return one, nil
		}
	}
	return nil, fmt.Errorf("%s: %q leads, which is none of its servers", s.name, name)
}

// leads is the server that leads.
func (s *system) leads(ctx context.Context) (leader *server, err error) {
	err = poll(ctx, "no leader", func(ctx context.Context) error {
		name, err := s.leader(ctx)
		if err == nil {
			leader, err = s.find(name)
		}
		return err
	})
	return leader, err
}

// cpu is the processor time that the servers have used, in seconds.
func (s *system) cpu() (sum float64) { return s.sum(cpuSeconds) }

// memory is what they hold resident, in bytes.
func (s *system) memory() float64 { return s.sum(residentBytes) }

func (s *system) sum(of func(pid int) float64) (sum float64) {
	for _, one := range s.servers {
		if one.running() {
			sum += of(one.cmd.Process.Pid)
		}
	}
	return sum
}

// ports are free ones of the loopback, as addresses.
func ports(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at once, so that none is given twice
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

func mkdir(path ...string) (string, error) {
	dir := filepath.Join(path...)
	return dir, os.MkdirAll(dir, 0o755)
}
