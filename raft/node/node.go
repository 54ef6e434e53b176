package node

// What a node is made of, and how it is put together before its first turn.

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// onlyGroup: a process has one Raft group, in a log that could keep more.
const onlyGroup = folder.Group

// Options are what a node is made of. All are required, but KeepLogBytes, ChunkBytes, Tune, Seed, Now, Notice, Deaf, Yield, Reading and Milestones.
type Options struct {
	Config  config.IRaftConfig
	Folder  *folder.Folder // says which instance this is, remembers that there was a log, and takes snapshots; closed by whoever opened it, after Stop
	Log     *wal.Log       // open; the node is its only writer; closed by whoever opened it, after Stop
	Machine StateMachine   // closed by whoever opened it, after Stop
	Logger  *slog.Logger
	// KeepLogBytes is how much log is kept for members that are away for a while, in bytes. With less a short absence costs a
	// snapshot; with more the disk is fuller and a start takes longer. 0: KeepLogBytesDefault; negative: no more than must be.
	KeepLogBytes int64
	ChunkBytes   int                // of a snapshot that is sent, at a time: a simulator makes it small; 0: 128 KiB
	Tune         func(*raft.Limits) // changes the core's bounds: a simulator makes them small; nil: they stay
	Seed         uint64             // of the core's dice; 0: random
	Now          func() time.Time   // nil: time.Now
	// Milestones has the node remember when entries came how far: a little work for each batch.
	Milestones bool
	// Notice is told what happens. Several goroutines call it, the loop's among them: it must not wait. nil: nobody wants to know.
	Notice func(Notice)
	// Deaf reports that no client reaches the node: it then leads only where no voter that they reach can (F12). Whoever takes a turn calls it: it
	// must not wait. nil: they always do.
	Deaf func() bool
	// Yield is told that this leader had better hand over, since it lacks room or clients, again and again while it leads on: its services are to finish
	// first what they have. The loop calls it: it must not wait. nil: the node hands over by itself, as it does where its state machine hangs.
	Yield func()
	// Reading is told by Start, again and again, that it goes on with the reading of a snapshot that was received before it: that may take minutes,
	// and whoever ends starts that take long is to wait for it. It must not wait. nil: nobody wants to know.
	Reading func()
}

// Node is one member of a Raft group. It implements Proposer for services, and busclient.Owner for the bus.
type Node struct {
	o          Options
	logger     *slog.Logger
	bus        Bus
	send       sender
	turnSender turnSender
	limits     raft.Limits

	turns
	beginning
	hints
	published
	lifetime

	// Owned by the loop: by whoever takes a turn.
	core      *raft.Core // nil until there is a configuration, and it is sealed
	cluster   rpc.ClusterID
	learned   *rpc.Configuration // the latest committed one that a peer told of; nil: none
	admin     administration
	links     map[rpc.NodeID]bool
	busUp     bool
	clock     *clock
	answered  map[rpc.NodeID]bool // peers that answered a ping since the bus was last down
	leading   bool
	viewed    int // ticks since a leader's view of its peers was made known
	room      room
	commands  uint64 // what the state machine says of the versions it knows; never changed
	observers []func(bool)
	settlers  []func()

	starts   starts
	outdated bool // owned by the loop: the data folder is an old copy, says a peer
	inbox    *inbox
	snaps    *snapDir    // nil without a folder
	marks    *milestones // nil: nobody wants them
	waiters  waiters
	readers  readers
	appender *appender
	applier  *applier
	loader   *loader
	receiver *receiver
	streams  streams
	cutter   *cutter
	compact  *compactor
}

var (
	_ Proposer        = (*Node)(nil)
	_ Prompter        = (*Node)(nil)
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
		o: o, limits: coreLimits(), links: map[rpc.NodeID]bool{}, answered: map[rpc.NodeID]bool{}, readers: readers{waiting: map[uint64]func(error){}}, clock: newClock(o.Now),
		logger: o.Logger, inbox: newInbox(), lifetime: lifetime{stop: make(chan struct{}), done: make(chan struct{})}, snaps: &snapDir{Dir: o.Folder.Snapshots()},
	}
	n.zero.Store(n.clock.zero(n.clock.began))
	if o.Milestones {
		n.marks = &milestones{}
	}
	n.starts.known(o.Folder.Starts)
	if o.Tune != nil {
		o.Tune(&n.limits)
	}
	if v, says := o.Machine.(Versioned); says {
		n.commands = v.CommandVersion()
	}
	n.admin.asked = map[uint64]func(rpc.EntryID, error){}
	n.status = Status{Status: raft.Status{ID: o.Config.Self().ID()}, Instance: n.instance(), Members: n.told()}
	return n
}

// prepare does all that comes before the first turn.
func (n *Node) prepare(bus Bus) error {
	n.bus = bus
	n.send = sender{self: n.id(), bus: bus, inbox: n.inbox}
	n.turnSender = turnSender{sender: &n.send, multicast: n.o.Config.Multicast()}
	n.appender = &appender{log: n.o.Log, marks: n.marks, report: n.report, spot: newSpot(func() { n.act(steady) }), send: n.send.send, release: func() { n.receiver.release() }}
	n.applier = &applier{
		log: n.o.Log, machine: n.o.Machine, waiters: &n.waiters, report: n.report, spot: newSpot(func() { n.act(hasty) }), settled: n.settlers,
		bytesMax: n.limits.ApplyBytesMax, snaps: n.snaps, logger: n.logger,
	}
	n.loader = &loader{worker: newWorker(), log: n.o.Log, inbox: n.inbox}
	n.prepareSnapshots()
	if err := n.begin(); err != nil {
		return err
	}
	n.publish()
	if n.inline {
		n.rest.begin(n.o.Config.Timing().Tick)
		bus.OnDelivered(n.deliveredTo(hasty), n.deliveredTo(patient)) // last: from here on others take turns
		n.inbox.prompt.Store(true)
	}
	return nil
}

// prepareSnapshots makes what sends, receives and makes do with snapshots.
func (n *Node) prepareSnapshots() {
	n.cutter = &cutter{worker: newWorker()}
	n.streams = streams{
		machine: n.o.Machine, pace: newPace(), asks: asksAfter(n.ticks()), now: n.o.Now, size: cmp.Or(n.o.ChunkBytes, chunkBytesSent), inbox: n.inbox, cutter: n.cutter, send: n.send.send, self: n.id(), logger: n.logger, notice: n.notice,
		timeOf: func(id rpc.EntryID) (int64, error) { return folder.TimeOf(n.o.Log, id) },
		confAt: func(i rpc.Index) rpc.Configuration { return n.core.ConfigurationAt(i) },
	}
	keep := n.o.KeepLogBytes
	if keep == 0 {
		keep = KeepLogBytesDefault
	}
	n.compact = &compactor{worker: newWorker(), log: n.o.Log, look: n.appender.room, machine: n.o.Machine, keep: max(keep, 0), inbox: n.inbox, logger: n.logger}
	n.receiver = newReceiver(n)
	if err := n.o.Folder.Lost; err != nil {
		n.logger.Error("which starts of the peers are the newest is forgotten: an old backup of a peer's folder is refused again once that peer was heard", "err", err)
	}
}

// begin makes the core from what the disk remembers, or goes on with a first boot.
func (n *Node) begin() error {
	state := n.o.Log.State(onlyGroup)
	if !state.HasBase {
		if n.o.Folder.Begun() {
			return n.o.Folder.LostLog()
		}
		if n.o.Config.Joining() {
			n.joining = true
			n.logger.Info(fmt.Sprintf(joinText, n.id()), "instance", n.instance().String())
			return nil
		}
		n.gathering = newGathering(n.self(), n.o.Config.Members())
		n.logger.Info(waitingText, "waiting_for", rpc.JoinIDs(n.gathering.waitingFor()))
		return nil
	}
	state, err := n.finishInstall(state)
	if err == nil {
		state, err = n.dropDamaged(state)
	}
	if err != nil {
		return err
	}
	return n.resume(state)
}

// resume makes the core of a log that has a table, if that is sealed.
func (n *Node) resume(state wal.State) error {
	base, err := folder.DecodeBase(&state.Base)
	if err != nil {
		return err
	}
	if sealed(&state, &base.Configuration) {
		return n.makeCore(state)
	}
	if err := n.checkTold(&base.Configuration); err != nil {
		return err
	}
	return n.holdTable(base.Configuration)
}

// makeCore starts consensus from what is stored, and makes it known.
func (n *Node) makeCore(state wal.State) error {
	c, err := n.fromStored(state)
	if err != nil {
		return err
	}
	if err := n.beginFolder(); err != nil {
		return err
	}
	first, inForce := &c.Configurations[0], &c.Configurations[len(c.Configurations)-1]
	n.cluster = first.ClusterID()
	if first.Index > c.Base.Index {
		n.learned = first // a node that joined: until its log says so itself, those who were let in before it count for less
	}
	n.core = raft.New(c)
	n.mu.Lock()
	n.status.FirstBoot, n.status.WaitingFor, n.status.RefusedBy, n.status.Joining = "", nil, nil, false
	n.mu.Unlock()
	n.noteMembers()
	n.keepStarts()
	n.carryOut(n.core.Effects(), new(batch)) // whom the bus may listen to
	n.core.Step(raft.BusChanged{Up: n.busUp})
	for _, peer := range slices.Sorted(maps.Keys(n.links)) {
		n.core.Step(raft.LinkChanged{Peer: peer, Connected: n.links[peer]})
	}
	n.logger.Info("node starts", "cluster", n.cluster.String(), "members", describe(inForce), "term", c.HardState.Term, "last", c.Last.String(), "applied", c.Applied)
	return nil
}

// fromStored is what the core begins with, if log and state machine belong together.
func (n *Node) fromStored(state wal.State) (c raft.Config, err error) {
	at := n.o.Machine.Applied()
	applied := at.Index
	if !folder.Holds(&state, at) { // not by the index alone: a state of another history goes on from entries that this log never had (I5)
		return c, fmt.Errorf("the state machine has applied %v, which the log, of entries %d to %d, does not hold: its folders do not belong together; put back the ones that do, or %s", at, state.Base.ID.Index+1, state.Last.Index, folder.Anew(n.id()))
	}
	base, err := folder.DecodeBase(&state.Base)
	if err != nil {
		return c, err
	}
	configurations, err := n.configurations(state, base.Configuration)
	if err != nil {
		return c, err
	}
	last, err := folder.TimeOf(n.o.Log, state.Last)
	if err != nil {
		return c, fmt.Errorf("the time of the log's last entry %v: %w", state.Last, err)
	}
	if err := n.tellDamaged(state, applied); err != nil {
		return c, err
	}
	return raft.Config{
		ID: n.id(), Instance: n.instance(), Configurations: configurations, HardState: state.HardState,
		Base: state.Base.ID, BaseTime: base.Time, Terms: state.Terms, Last: state.Last, LastTime: last, Applied: applied,
		Damaged: state.Damaged, Multicast: n.o.Config.Multicast(), Thrifty: !n.o.Config.Multicast() && !n.o.Config.Eager(), // one message goes to all as easily as to some
		Ticks: n.ticks(), Limits: n.limits, Random: rand.New(rand.NewPCG(n.o.Seed, 0)),
	}, nil
}

// beginFolder records that the log holds what must not be forgotten.
func (n *Node) beginFolder() error {
	if err := n.o.Folder.Begin(); err != nil {
		return fmt.Errorf("record in data folder %s that it has a log: %w", n.o.Folder.Dir, err)
	}
	return nil
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

func (n *Node) instance() rpc.InstanceID { return n.o.Folder.Instance }
