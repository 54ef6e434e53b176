package main

// This program as a server: one process is one etcd, or one nats-server. So all servers are of the versions that go.mod pins.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.etcd.io/etcd/server/v3/embed"
)

const roleVariable = "RAFTBUS_COMPARE_ROLE"

// role is what a process is to be. One of the fields is set.
type role struct {
	Etcd *etcdRole `json:",omitempty"`
	NATS *natsRole `json:",omitempty"`
}

type etcdRole struct {
	Name, Dir, Client, Peer, Cluster string // Cluster: name=url of all, as etcd has it
}

type natsRole struct {
	Name, Client, Cluster, Leaf string // addresses; Cluster and Leaf may be empty
	Routes                      []string
	StoreDir                    string // of JetStream; empty: it is off
	SyncAlways                  bool
}

// as is the command that runs this program in a role.
func as(r role) func() *exec.Cmd {
	return func() *exec.Cmd {
		body, err := json.Marshal(r)
		if err != nil {
			panic(err) // plain strings
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), roleVariable+"="+string(body))
		return cmd
	}
}

func runRole(text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if r.Etcd != nil {
		return r.Etcd.run(ctx)
	}
	return r.NATS.run(ctx)
}

// quotaBytes leaves room for the load of many keys; the default, 2 GiB, is for clusters of configuration.
const quotaBytes = 8 << 30

func (r *etcdRole) run(ctx context.Context) error {
	c := embed.NewConfig()
	c.Name, c.Dir, c.LogLevel = r.Name, r.Dir, "error"
	c.QuotaBackendBytes = quotaBytes
	c.InitialCluster = r.Cluster
	for address, into := range map[string][]*[]url.URL{
		r.Client: {&c.ListenClientUrls, &c.AdvertiseClientUrls},
		r.Peer:   {&c.ListenPeerUrls, &c.AdvertisePeerUrls},
	} {
		for _, urls := range into {
			*urls = []url.URL{{Scheme: "http", Host: address}}
		}
	}
	e, err := embed.StartEtcd(c)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-e.Err():
		return err
	}
}

func (r *natsRole) run(ctx context.Context) error {
	o := &natsserver.Options{ServerName: r.Name, NoSigs: true, JetStream: r.StoreDir != "", StoreDir: r.StoreDir, SyncAlways: r.SyncAlways}
	for _, listener := range []struct {
		address string
		host    *string
		port    *int
	}{{r.Client, &o.Host, &o.Port}, {r.Cluster, &o.Cluster.Host, &o.Cluster.Port}, {r.Leaf, &o.LeafNode.Host, &o.LeafNode.Port}} {
		if listener.address == "" {
			continue
		}
		at, err := url.Parse("nats://" + listener.address)
		if err != nil {
			return err
		}
		*listener.host = at.Hostname()
		if _, err := fmt.Sscan(at.Port(), listener.port); err != nil {
			return err
		}
	}
	if r.Cluster != "" {
		o.Cluster.Name = "compare"
	}
	for _, route := range r.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", Host: route})
	}
	s, err := natsserver.NewServer(o)
	if err != nil {
		return err
	}
	s.SetLoggerV2(stderr{}, false, false, false)
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// stderr logs what may explain a failure.
type stderr struct{}

func (stderr) Noticef(string, ...any)       {}
func (stderr) Debugf(string, ...any)        {}
func (stderr) Tracef(string, ...any)        {}
func (stderr) Warnf(text string, a ...any)  { fmt.Fprintf(os.Stderr, "warning: "+text+"\n", a...) }
func (stderr) Errorf(text string, a ...any) { fmt.Fprintf(os.Stderr, "error: "+text+"\n", a...) }
func (stderr) Fatalf(text string, a ...any) {
	fmt.Fprintf(os.Stderr, "fatal: "+text+"\n", a...)
	os.Exit(1)
}
