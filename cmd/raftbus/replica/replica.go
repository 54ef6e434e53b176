// Package replica wires one whole raftbus node: data folder, log, store, connections, consensus, services. It decides
// nothing; `raftbus node` runs one of it, `raftbus dev` several, and the tests as many as they need.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// Options say which node to run, and where.
type Options struct {
	ID         string
	Members    []string // all nodes of a new cluster, this one too; not looked at with Join
	Join       bool     // a node without data waits to be added to a cluster that runs
	Dir        string   // the data folder; made if there is none
	Prefix     string   // first token of all subjects; empty: "raftbus"
	ClusterKey []byte   // key of the message authentication code; empty: none
	OtherKey   []byte   // another key that is accepted too, during a rotation; empty: none
	Domain     string   // of $JS.<domain>.API, which KV clients are told; empty: the prefix
	DefaultAPI bool     // serve $JS.API as well, unless a JetStream does: then the node does not start
	NATS       NATSOptions
	// RefuseOpenBus has the node not run where NATS would let it, or somebody without credentials, speak as another node or listen to
	// one (Q6).
	RefuseOpenBus bool
	Bounds        Bounds
	Eager         bool   // a write goes to all nodes at once, and not at first to as many as must have it
	Multicast     bool   // what several peers are to get alike goes to them as one message
	Version       string // of the build, as the node's figures show it
	Logger        *slog.Logger
	FS            vfs.FS // nil: the disk
	// KeepLogBytes is how much log is kept for members that are away for a while: as in node.Options.
	KeepLogBytes int64
	// Traces takes the requests whose clients ask for a trace; nil: nothing is traced.
	Traces *observe.Traces
	// Fatal is told of a failure of the disk after which nothing may be done any more, and ends the process; nil: a panic does.
	Fatal func(error)
	// Reading is told during Start that the node goes on with what may take minutes, as in node.Options, or waits for room on the disk.
	Reading func()
	// Waiting is told during Start what the node of that id waits for, again and again, and then that it waits for nothing; nil: nobody is.
	Waiting func(id, what string)

	yieldWait time.Duration // zero: the constant
}

// NATSOptions say how to reach NATS.
type NATSOptions struct {
	URLs    []string
	Options []nats.Option // credentials, TLS, ...
	// Peers, Clients and Leaf come after Options, for the connections between nodes, to clients, and as a leaf.
	Peers, Clients, Leaf []nats.Option
	// LeafURLs are the leafnode ports of the account of the clients; none: those at URLs, on the port that is usual.
	LeafURLs []string
	// Accounts are served beside that of Clients and Leaf.
	Accounts []Account
}

// Replica is one running node.
type Replica struct {
	o       Options
	logger  *slog.Logger
	config  config.IRaftConfig
	folder  *folder.Folder
	log     *wal.Log
	store   *store.Store
	reserve atomic.Int64 // bytes of the disk that the log, and snapshots that are received, leave to the store: with less, writes are refused as 'full' (F21)
	conns   map[busclient.Role]*busclient.Conn
	bus     *busclient.Service
	node    *node.Node
	served  []*served              // the first account's first
	handing sync.RWMutex           // held by one hand-over at a time, or shared by connections that are made anew
	yields  chan struct{}          // the node had better hand over
	endMove context.CancelFunc     // from then on no connection is made anew, and the node hands over no more by itself
	leaders leaders                // that were seen
	rival   atomic.Pointer[string] // who of another cluster leads under the prefix; nil: nobody
	lonely  int                    // looks in a row that found nobody who does; of watchPrefix
	stats   statsCache
	events  *observe.Recorder
	slow    atomic.Bool   // the disk was slow lately
	elected chan struct{} // has room for one: this node leads now
	givenUp chan error    // has room for one: a connection that will not come back
	started time.Time
	closers []func() error // in order of opening
}

// Start opens the data folder, dials NATS (which may come later), and runs the node. The error names what is wrong and
// what to do: the folder is in use or damaged, another process has this id, the configuration does not fit; or that ctx has ended.
func Start(ctx context.Context, o Options) (*Replica, error) {
	r := newReplica(o)
	for _, step := range []func(context.Context) error{
		r.configure, r.patient(r.openFolder), r.patient(r.openLog), r.patient(r.openStore), r.patient(r.atMost(flushWait, r.roomToFlush)), r.dial, r.join, r.serveAdmin, r.serve, r.serveStatus, r.serveBackups,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return r, nil
}

func newReplica(o Options) *Replica {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	return &Replica{o: o, logger: o.Logger.With("node", o.ID), conns: map[busclient.Role]*busclient.Conn{}, started: time.Now(), events: observe.NewRecorder(), elected: make(chan struct{}, 1), yields: make(chan struct{}), givenUp: make(chan error, 1)}
}

func (r *Replica) configure(context.Context) (err error) {
	if err := r.o.checkAccounts(); err != nil {
		return err
	}
	members := make([]rpc.NodeID, len(r.o.Members))
	for i, m := range r.o.Members {
		members[i] = rpc.NodeID(m)
	}
	r.config, err = config.Validate(config.Config{
		NodeID: rpc.NodeID(r.o.ID), MemberIDs: members, Join: r.o.Join, Subjects: r.o.Prefix, Key: r.o.ClusterKey, Eager: r.o.Eager, Multicast: r.o.Multicast,
	})
	return err
}

func (r *Replica) openFolder(context.Context) (err error) {
	dir, err := filepath.Abs(r.o.Dir)
	if err != nil {
		return err
	}
	if r.folder, err = folder.Open(r.o.FS, dir, rpc.NodeID(r.o.ID)); err != nil {
		return err
	}
	r.closers = append(r.closers, r.folder.Close)
	r.tellSuccessions()
	return nil
}

func (r *Replica) openLog(context.Context) (err error) {
	r.reserve.Store(store.Reserve(0))
	o := wal.Options{KeepFreeBytes: r.reserve.Load, ReportDamaged: true} // the node has it repaired
	if r.log, err = r.folder.OpenLog(o); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	r.closers = append(r.closers, r.log.Close)
	return nil
}

func (r *Replica) openStore(context.Context) (err error) {
	r.store, err = store.Open(store.Options{FS: r.o.FS, Dir: r.folder.Path("kv"), Logger: r.logger, Fatal: r.fatal})
	switch {
	case lack(err) != "":
		return fmt.Errorf("the state in %s: %w", r.folder.Path("kv"), err) // the start waits, and says what it lacks
	case err != nil:
		return r.storeError(err)
	}
	r.closers = append(r.closers, r.store.Close)
	r.measureStore()
	return nil
}

// reserveEvery is how often the store is measured.
const reserveEvery = time.Second

// watchReserve has the reserve follow the store.
func (r *Replica) watchReserve(ctx context.Context) {
	for pause(ctx, reserveEvery) == nil {
		r.measureStore()
	}
}

func (r *Replica) measureStore() { r.reserve.Store(store.Reserve(r.store.Size().Disk)) }

func (r *Replica) dial(ctx context.Context) (err error) {
	for _, role := range []busclient.Role{busclient.RoleControl, busclient.RoleBulk} { // the second at the server of the first
		to := busclient.ConnOptions{Role: role, Node: r.o.ID, Beside: r.conns[busclient.RoleControl]}
		if r.conns[role], err = r.dialAs(ctx, to, r.o.NATS.Peers); err != nil {
			return err
		}
	}
	return r.dialAccounts(ctx)
}

func (r *Replica) dialAs(ctx context.Context, o busclient.ConnOptions, who []nats.Option) (*busclient.Conn, error) {
	o.URLs, o.Options, o.Prefix = r.o.NATS.URLs, slices.Concat(r.o.NATS.Options, who), r.config.Prefix()
	o.Logger, o.GivenUp = r.logger, r.noteGivenUp
	conn, err := busclient.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, func() error { conn.Close(); return nil })
	return conn, nil
}

// join makes the node and its bus, and starts both.
func (r *Replica) join(context.Context) (err error) {
	r.node = node.New(node.Options{
		Config: r.config, Folder: r.folder, Log: r.log, Machine: machine{r.store, r}, Logger: r.logger,
		KeepLogBytes: r.o.KeepLogBytes, Notice: r.noticed, Milestones: r.o.Traces != nil, Deaf: func() bool { return !r.reached() }, Yield: r.noteYield, Reading: r.o.Reading,
	})
	r.bus, err = busclient.NewService(busclient.Options{
		Config:   r.config,
		Identity: busclient.Identity{ID: rpc.NodeID(r.o.ID), Instance: r.folder.Instance, Boot: r.folder.Boot},
		Control:  r.conns[busclient.RoleControl], Bulk: r.conns[busclient.RoleBulk],
		Owner: r.node, PingContent: r.node.PingContent, PreviousKey: r.o.OtherKey, Starts: r.node.KnownStarts(), Earlier: r.folder.Earlier, Logger: r.o.Logger, // which the service says its node to
	})
	if err != nil {
		return err
	}
	return r.serveAccounts()
}

// serve starts what join made: the node first, so that the bus has whom to tell. The node's name is taken in the
// background: NATS may come later, and a second process with this id stops the node when it is found (F13).
func (r *Replica) serve(ctx context.Context) error {
	r.node.Leadership(r.noteElected)
	started := context.AfterFunc(ctx, func() { _ = r.node.Stop(ctx) }) // it says only that ctx has ended
	if err := r.node.Start(r.bus); err != nil {
		started()
		return err
	}
	r.closers = append(r.closers, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return r.node.Stop(ctx)
	})
	if !started() {
		return ctx.Err()
	}
	running, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { r.arrive(running) })
	group.Go(func() { r.watchStore(running) })
	group.Go(func() { r.watchConnections(running) })
	group.Go(func() { r.checkFurther(running) })
	group.Go(func() { r.watchPrefix(running) })
	group.Go(func() { r.publishEvents(running) })
	group.Go(func() { r.watchDisk(running) })
	group.Go(func() { r.watchReserve(running) })
	group.Go(func() { r.openNewCluster(running) })
	moving, endMove := context.WithCancel(running)
	r.endMove = endMove
	group.Go(func() { r.watchYields(moving) })
	for _, s := range r.served {
		group.Go(func() { r.watchMoves(moving, s) })
		group.Go(func() { s.watchPayload(running) })
	}
	r.closers = append(r.closers, func() error {
		cancel()
		group.Wait()
		r.bus.Close()
		return nil
	})
	return nil
}

// Rekey changes the keys of the message authentication code while the node runs: the one that seals, and another that is accepted.
func (r *Replica) Rekey(current, another []byte) error { return r.bus.Rekey(current, another) }

// noteGivenUp is told of a connection that will not come back.
func (r *Replica) noteGivenUp(err error) {
	select {
	case r.givenUp <- err:
	default: // one is enough
	}
}

// watchConnections stops the node when a connection is given up: whoever starts it again has a new one, and meanwhile another leads (F11).
func (r *Replica) watchConnections(ctx context.Context) {
	select {
	case err := <-r.givenUp:
		r.node.Abort(fmt.Errorf("%w. Start the node again", err))
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

// Stop stops the node: it takes no more requests, finishes those it has as far as ctx allows, hands leadership over, and makes
// durable what it holds. When a disk hangs it returns with ctx's error, and the folder stays locked until the process ends. A node that
// has stopped by itself answers nobody any more: it leaves the bus at once, which is how the others see that it is gone.
func (r *Replica) Stop(ctx context.Context) error { return r.end(ctx, r.leave) }

// StopAll stops all nodes of a cluster that is in this process, as Stop does, but hands nothing over: nobody is left to take it. What the
// services have is finished while all nodes still run.
func StopAll(ctx context.Context, all []*Replica) error {
	return errors.Join(
		eachOf(all, func(r *Replica) error { return r.finish(ctx) }),
		eachOf(all, func(r *Replica) error { return r.end(ctx, func(context.Context) error { return nil }) }),
	)
}

// eachOf does something with all at once, and waits for it.
func eachOf(all []*Replica, do func(r *Replica) error) error {
	failures := make([]error, len(all))
	var group sync.WaitGroup
	for i, r := range all {
		group.Go(func() { failures[i] = do(r) })
	}
	group.Wait()
	return errors.Join(failures...)
}

// end stops the node, once it has left.
func (r *Replica) end(ctx context.Context, leave func(context.Context) error) error {
	ended := make(chan error, 1)
	go func() { // ends with the disk's work, and when NATS's client has looked up an address, which nothing can cut short
		var err error
		if !r.over() {
			err = leave(ctx)
			r.closeServices()
		}
		ended <- errors.Join(err, r.close())
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("node %s: its disk, or the look-up of an address of NATS, did not finish in time: look at both: %w", r.o.ID, ctx.Err())
	}
}

// Done is closed when the node stops, by Stop or by itself: then Err says why. It is closed though a disk hangs, on which something of the node may
// wait for ever: who waits for that with Stop has a bound.
func (r *Replica) Done() <-chan struct{} { return r.node.Ending() }

// over reports whether the node stops or has stopped.
func (r *Replica) over() bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

// Err is why the node stopped by itself; nil while it runs and after Stop.
func (r *Replica) Err() error { return r.node.Err() }
