package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// Options are what a node is made of. All are required, but Folder, Seed and Now.
type Options struct {
	Config   config.IRaftConfig
	Instance rpc.InstanceID
	Folder   *Folder  // that Instance is of: remembers that there was a log, should it be lost; nil: nobody does
	Log      *wal.Log // open; the node is its only writer; closed by whoever opened it, after Stop
	Group    wal.GroupID
	Machine  StateMachine // closed by whoever opened it, after Stop
	Logger   *slog.Logger
	Seed     uint64           // of the core's dice; 0: random
	Now      func() time.Time // nil: time.Now
}

// Node is one member of a Raft group. It implements Proposer for services, and busclient.Owner for the bus.
type Node struct {
	o      Options
	logger *slog.Logger
	bus    Bus
	send   sender
	limits raft.Limits

	// Owned by the loop.
	core      *raft.Core // nil until there is a configuration
	gathering *gathering
	links     map[rpc.NodeID]bool
	busUp     bool
	clock     *clock
	answered  map[rpc.NodeID]bool // peers that answered a ping since the bus was last down
	leading   bool
	observers []func(bool)
	steps     []raft.Proposal        // reused
	readers   map[uint64]func(error) // who waits for a read, by ticket
	nextRead  uint64

	inbox    *inbox
	waiters  waiters
	reads    atomic.Int64 // reads that wait
	leads    atomic.Bool  // a hint for refusing early: the core decides
	appender *appender
	applier  *applier
	loader   *loader

	mu      sync.Mutex
	status  Status
	members []rpc.Member

	stop     chan struct{} // closed to end the goroutines
	stopOnce sync.Once
	group    sync.WaitGroup
	done     chan struct{} // closed when all have ended
	err      error         // why, if not Stop; written before stop is closed
}

var (
	_ Proposer        = (*Node)(nil)
	_ busclient.Owner = (*Node)(nil)
)

// New makes a node. Give it to the bus as its owner, then Start it.
func New(o Options) *Node {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	n := &Node{
		o: o, limits: coreLimits(), links: map[rpc.NodeID]bool{}, answered: map[rpc.NodeID]bool{}, readers: map[uint64]func(error){}, clock: newClock(o.Now),
		logger: o.Logger, inbox: newInbox(), stop: make(chan struct{}), done: make(chan struct{}),
	}
	n.status = Status{Status: raft.Status{ID: o.Config.Self().ID()}, Instance: o.Instance}
	for _, m := range o.Config.Members() {
		n.status.Members = append(n.status.Members, m.ID())
	}
	return n
}

// Start begins the node's work on a bus that has n as its owner. An error means that nothing was started: the log
// belongs to other members than those configured, or holds less than the state machine has applied.
func (n *Node) Start(bus Bus) error {
	n.bus = bus
	n.send = sender{self: n.id(), bus: bus, inbox: n.inbox}
	n.appender = &appender{log: n.o.Log, group: n.o.Group, inbox: n.inbox, send: n.send.send, wake: make(chan struct{}, 1)}
	n.applier = &applier{log: n.o.Log, group: n.o.Group, machine: n.o.Machine, waiters: &n.waiters, inbox: n.inbox, bytesMax: n.limits.ApplyBytesMax, work: make(chan raft.Apply, 1)}
	n.loader = &loader{log: n.o.Log, group: n.o.Group, inbox: n.inbox, work: make(chan raft.Load, config.MaxMembers)}
	if err := n.begin(); err != nil {
		return err
	}
	n.publish()
	n.spawn("loop", n.loop)
	n.spawn("appender", n.appender.run)
	n.spawn("applier", n.applier.run)
	n.spawn("loader", n.loader.run)
	go func() { // ends with the last of them
		n.group.Wait()
		close(n.done)
	}()
	return nil
}

// begin makes the core from what the disk remembers, or begins to gather the table if it remembers no cluster.
func (n *Node) begin() error {
	state := n.o.Log.State(n.o.Group)
	if !state.HasBase {
		if n.o.Folder != nil && n.o.Folder.begun() {
			return fmt.Errorf("the log of data folder %s is gone, and with it the votes and entries it held: put it back, or give the node an empty folder and replace the member", n.o.Folder.Dir)
		}
		n.gathering = newGathering(rpc.Member{ID: n.id(), Instance: n.o.Instance}, n.o.Config.Members())
		n.logger.Info(waitingText, "waiting_for", join(n.gathering.waitingFor()))
		return n.tryTable() // a member without others has its table now
	}
	return n.makeCore(state)
}

// makeCore starts consensus.
func (n *Node) makeCore(state wal.State) error {
	conf, err := n.configuration(state)
	if err != nil {
		return err
	}
	last, err := n.lastTime(state)
	if err != nil {
		return err
	}
	applied := n.o.Machine.Applied().Index
	if applied < state.Base.ID.Index || applied > state.Last.Index {
		return fmt.Errorf("the state machine has applied %d, the log holds %d to %d: its folders do not belong together; put back the ones that do", applied, state.Base.ID.Index+1, state.Last.Index)
	}
	if n.o.Folder != nil {
		if err := n.o.Folder.begin(); err != nil {
			return fmt.Errorf("record in data folder %s that it has a log: %w", n.o.Folder.Dir, err)
		}
	}
	n.core = raft.New(raft.Config{
		ID: n.id(), Configuration: conf, HardState: state.HardState,
		Base: state.Base.ID, Terms: termRuns(state.Terms), Last: state.Last, LastTime: last, Applied: applied,
		Ticks: n.ticks(), Limits: n.limits, Random: rand.New(rand.NewPCG(n.o.Seed, 0)),
	})
	cluster := rpc.ClusterIDOf(conf.Voters)
	n.mu.Lock()
	n.members = conf.Voters
	n.status.Cluster, n.status.WaitingFor, n.status.RefusedBy = cluster, nil, nil
	n.mu.Unlock()
	n.bus.Admit(cluster, conf.Voters)
	n.core.Step(raft.BusChanged{Up: n.busUp})
	for peer, up := range n.links {
		n.core.Step(raft.LinkChanged{Peer: peer, Connected: up})
	}
	n.logger.Info("node starts", "cluster", cluster.String(), "term", state.HardState.Term, "last", state.Last.String(), "applied", applied)
	return nil
}

// configuration decodes the table, and holds it against what the node was told.
func (n *Node) configuration(state wal.State) (rpc.Configuration, error) {
	conf, err := rpc.DecodeConfiguration(state.Base.Configuration)
	if err != nil {
		return conf, fmt.Errorf("the configuration in the log: %w", err)
	}
	var known []rpc.NodeID
	for _, m := range conf.Voters {
		known = append(known, m.ID)
		if m.ID == n.id() && m.Instance != n.o.Instance {
			return conf, fmt.Errorf("the log knows %s by data folder instance %s, this folder is %s: parts of two folders were mixed; put back the ones that belong together", m.ID, m.Instance, n.o.Instance)
		}
	}
	if !slices.Equal(known, n.status.Members) {
		return conf, fmt.Errorf("the data folder belongs to a cluster of %s, the configuration says %s: start with --members %s", join(known), join(n.status.Members), join(known))
	}
	return conf, nil
}

// lastTime is the time of the log's last entry: later ones are not stamped earlier.
func (n *Node) lastTime(state wal.State) (int64, error) {
	if state.Last.Index == state.Base.ID.Index {
		return 0, nil
	}
	entries, err := n.o.Log.Entries(n.o.Group, state.Last.Index, state.Last.Index+1, 1)
	if err != nil || len(entries) == 0 {
		return 0, fmt.Errorf("read the log's last entry %v: %w", state.Last, err)
	}
	return entries[0].Time, nil
}

func termRuns(runs []wal.TermRun) []raft.TermRun {
	list := make([]raft.TermRun, len(runs))
	for i, r := range runs {
		list[i] = raft.TermRun{First: r.First, Term: r.Term}
	}
	return list
}

// ticks turns the configured periods into ticks.
func (n *Node) ticks() raft.Ticks {
	t := n.o.Config.Timing()
	in := func(d time.Duration) int { return max(1, int(d/t.Tick)) }
	return raft.Ticks{
		Heartbeat: in(t.Heartbeat), ElectionMin: in(t.ElectionMin), ElectionMax: in(t.ElectionMax),
		Ping: in(t.Heartbeat / 2), QuickMin: in(t.Heartbeat / 2), QuickMax: in(2 * t.Heartbeat),
	}
}

func (n *Node) id() rpc.NodeID { return n.o.Config.Self().ID() }

// spawn runs one of the node's goroutines. Its error, or a broken invariant, stops the node.
func (n *Node) spawn(name string, run func(stop <-chan struct{}) error) {
	n.group.Add(1)
	go func() {
		defer n.group.Done()
		defer func() {
			switch broken := recover().(type) {
			case nil:
			case *raft.InvariantError:
				n.fail(broken)
			default:
				panic(broken)
			}
		}()
		if err := run(n.stop); err != nil {
			n.fail(fmt.Errorf("%s: %w", name, err))
		}
	}()
}

// fail stops the node for a reason. The first one counts.
func (n *Node) fail(err error) {
	n.stopOnce.Do(func() {
		n.err = err
		n.logger.Error("node stops", "err", err)
		close(n.stop)
	})
}

// Abort stops a node from outside, for a reason that Err then gives: such as another process with its id.
func (n *Node) Abort(err error) { n.fail(err) }

// Done is closed when the node has stopped, by Stop or by itself.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node stopped by itself; nil while it runs and after Stop. A failed sync, damage, a broken invariant.
func (n *Node) Err() error {
	select {
	case <-n.stop:
		return n.err
	default:
		return nil
	}
}

// Stop ends the node: a leader steps down first, writes under way become durable, nothing more is applied. It returns
// when all goroutines have ended, or with ctx's error if that takes longer than ctx allows. Call it once, after Start.
func (n *Node) Stop(ctx context.Context) error {
	n.resign(ctx)
	n.stopOnce.Do(func() { close(n.stop) })
	select {
	case <-n.done:
		return n.err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), errors.New("the node's disk or state machine did not finish in time"))
	}
}

// resign makes a leader step down, and waits until it has.
func (n *Node) resign(ctx context.Context) {
	turned := make(chan struct{})
	if !n.inbox.call(func() {
		if n.core != nil {
			n.core.Step(raft.Resign{})
		}
		close(turned)
	}) {
		return
	}
	select {
	case <-turned:
	case <-n.stop:
	case <-ctx.Done():
	}
}
