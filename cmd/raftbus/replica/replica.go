// Package replica wires one whole raftbus node: data folder, log, store, connections, consensus, services. It decides
// nothing; `raftbus node` runs one of it, `raftbus dev` several, and the tests as many as they need.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// Options say which node to run, and where.
type Options struct {
	ID         string
	Members    []string // all nodes of the cluster, this one too
	Dir        string   // the data folder; made if there is none
	Prefix     string   // first token of all subjects; empty: "raftbus"
	ClusterKey []byte   // key of the message authentication code; empty: none
	NATS       NATSOptions
	Logger     *slog.Logger
	Timing     config.Timing // zero: the defaults
	FS         vfs.FS        // nil: the disk
}

// NATSOptions say how to reach NATS.
type NATSOptions struct {
	URLs    []string
	Options []nats.Option // credentials, TLS, ...
}

// Replica is one running node.
type Replica struct {
	o       Options
	logger  *slog.Logger
	config  config.IRaftConfig
	folder  *node.Folder
	log     *wal.Log
	store   *store.Store
	conns   map[busclient.Role]*busclient.Conn
	bus     *busclient.Service
	node    *node.Node
	kv      *kv.Service
	closers []func() error // in order of opening
}

// Start opens the data folder, dials NATS (which may come later), and runs the node. The error names what is wrong and
// what to do: the folder is in use or damaged, another process has this id, the configuration does not fit.
func Start(ctx context.Context, o Options) (*Replica, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	r := &Replica{o: o, logger: o.Logger.With("node", o.ID), conns: map[busclient.Role]*busclient.Conn{}}
	for _, step := range []func(context.Context) error{
		r.configure, r.openFolder, r.openLog, r.openStore, r.dial, r.join, r.serve, r.serveStatus,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return r, nil
}

func (r *Replica) configure(context.Context) (err error) {
	members := make([]rpc.NodeID, len(r.o.Members))
	for i, m := range r.o.Members {
		members[i] = rpc.NodeID(m)
	}
	r.config, err = config.Validate(config.Config{
		NodeID: rpc.NodeID(r.o.ID), MemberIDs: members, Subjects: r.o.Prefix, Key: r.o.ClusterKey, Periods: r.o.Timing,
	})
	return err
}

func (r *Replica) openFolder(context.Context) (err error) {
	dir, err := filepath.Abs(r.o.Dir)
	if err != nil {
		return err
	}
	if r.folder, err = node.OpenFolder(r.o.FS, dir, rpc.NodeID(r.o.ID)); err != nil {
		return err
	}
	r.closers = append(r.closers, r.folder.Close)
	return nil
}

func (r *Replica) openLog(context.Context) (err error) {
	if r.log, err = wal.Open(r.o.FS, r.folder.Path("wal"), wal.Options{KeepFreeBytes: storeReserveBytes}); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	r.closers = append(r.closers, r.log.Close)
	return nil
}

// storeReserveBytes is what the log leaves free on the disk: as much as the store may have in memory to be flushed. With less
// than that free, writes are refused as 'full' and reads go on (F21).
const storeReserveBytes = 48 << 20

func (r *Replica) openStore(context.Context) (err error) {
	if r.store, err = store.Open(store.Options{FS: r.o.FS, Dir: r.folder.Path("kv"), Logger: r.logger}); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	r.closers = append(r.closers, r.store.Close)
	return nil
}

func (r *Replica) dial(ctx context.Context) error {
	for _, role := range []busclient.Role{busclient.RoleControl, busclient.RoleBulk, busclient.RoleClient} {
		conn, err := busclient.Dial(ctx, busclient.ConnOptions{
			URLs: r.o.NATS.URLs, Options: r.o.NATS.Options,
			Prefix: r.config.Prefix(), Node: r.o.ID, Role: role, Logger: r.logger,
		})
		if err != nil {
			return err
		}
		r.conns[role] = conn
		r.closers = append(r.closers, func() error { conn.Close(); return nil })
	}
	return nil
}

// join makes the node and its bus, and starts both.
func (r *Replica) join(ctx context.Context) (err error) {
	r.node = node.New(node.Options{
		Config: r.config, Instance: r.folder.Instance, Folder: r.folder, Log: r.log, Machine: r.store, Logger: r.logger,
	})
	r.bus, err = busclient.NewService(busclient.Options{
		Config:   r.config,
		Identity: busclient.Identity{ID: rpc.NodeID(r.o.ID), Instance: r.folder.Instance, Boot: r.folder.Boot},
		Control:  r.conns[busclient.RoleControl], Bulk: r.conns[busclient.RoleBulk],
		Owner: r.node, PingContent: r.node.PingContent, Logger: r.o.Logger, // which the service says its node to
	})
	if err != nil {
		return err
	}
	r.kv, err = kv.New(kv.Options{
		Conn: r.conns[busclient.RoleClient].NATS(), Prefix: r.config.Prefix(), Node: r.node, Store: r.store, Logger: r.logger,
	})
	if err != nil {
		return err
	}
	r.closers = append(r.closers, func() error { r.kv.Close(); return nil })
	return nil
}

// serve starts what join made: the node first, so that the bus has whom to tell. The node's name is taken in the
// background: NATS may come later, and a second process with this id stops the node when it is found (F13).
func (r *Replica) serve(context.Context) error {
	if err := r.node.Start(r.bus); err != nil {
		return err
	}
	r.closers = append(r.closers, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return r.node.Stop(ctx)
	})
	running, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { r.arrive(running) })
	group.Go(func() { r.watchStore(running) })
	r.closers = append(r.closers, func() error {
		cancel()
		group.Wait()
		r.bus.Close()
		return nil
	})
	return nil
}

// arrive takes the node's name on the bus, and begins to serve it.
func (r *Replica) arrive(ctx context.Context) {
	err := r.checkPrefix(ctx)
	if err == nil {
		err = r.bus.Start(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.node.Abort(err)
	}
}

// watchStore stops the node when the store's disk fails, also when nothing is written that would notice (D5).
func (r *Replica) watchStore(ctx context.Context) {
	select {
	case <-r.store.Failed():
		r.node.Abort(r.store.Failure())
	case <-ctx.Done():
	}
}

// stopTimeout bounds how long a stop waits for the disk.
const stopTimeout = 10 * time.Second

// close closes what was opened, the newest first. The log waits for a write under way, so that the folder's lock, let go
// last, outlives whatever writes there.
func (r *Replica) close() error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i]())
	}
	r.closers = nil
	return errors.Join(errs...)
}

// Stop stops the node: it takes no more requests, finishes those it has as far as ctx allows, steps down, and makes
// durable what it holds. When a disk hangs it returns with ctx's error, and the folder stays locked until the process ends.
func (r *Replica) Stop(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { // ends with the disk's work, which nothing can cut short
		err := r.kv.Drain(ctx)
		r.kv.Close()
		ended <- errors.Join(err, r.close())
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("node %s: its disk did not finish in time: %w", r.o.ID, ctx.Err())
	}
}

// Done is closed when the node has stopped, by Stop or by itself: then Err says why.
func (r *Replica) Done() <-chan struct{} { return r.node.Done() }

// Err is why the node stopped by itself; nil while it runs and after Stop.
func (r *Replica) Err() error { return r.node.Err() }
