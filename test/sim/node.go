package sim

// A simulated machine, and what befalls it: starts, crashes, power losses, lost and old disks. The faults are chosen elsewhere (faults.go); here is what
// each does.

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// node is a machine: what outlives the process that runs on it.
type node struct {
	world   *world
	id      rpc.NodeID
	members []rpc.NodeID // as its operator told it
	join    bool         // it was started to be added to a cluster
	r       *rand.Rand
	random  *rand.ChaCha8 // of its identities
	clock   nodeClock
	disk    *disk
	memory  *memengine.Memory // the store's disk
	conns   [connPaths]*conn  // of the process that runs, or ran last
	process *process          // nil while it is down

	missedFrom time.Duration // from when on the bus knows that nobody listens here
	hungUntil  time.Duration // its disk completes nothing before
	slow       time.Duration // what its disk takes on average
	busDown    bool          // it cannot reach the bus
	mirror     mirror
	past       []mirror  // of disks that were lost
	kept       rpc.Index // up to there its state had been said to be durable when it went down
	starts     int
	tornBy     loss               // what the power loss takes that its disk waits for
	downFor    time.Duration      // how long it is down then
	ruined     string             // what is wrong with its data; empty: nothing
	oldConf    rpc.Configuration  // of an old copy: in force by its log as it was put back
	spoilt     bool               // a snapshot that it received has rotted
	looked     bool               // its log was read from end to end since it lost an entry
	backup     *backup            // an old copy of its data; nil: there is none
	conf       *rpc.Configuration // in force by its log, when last seen; nil: none
	onDisk     *rpc.Configuration // in force by what is durable of it: a crash brings it back
}

func newNode(w *world, id rpc.NodeID, number uint64) *node {
	n := &node{world: w, id: id, memory: memengine.New(), slow: w.plan.diskMean}
	n.disk = newDisk(func() {
		w.dark = append(w.dark, n)
		w.reach.note(appendTorn, n.process != nil && n.process.spy.writes)
	})
	n.r = rand.New(rand.NewPCG(w.seed, streamNodes<<32|number))
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(n.r.Uint32())
	}
	n.random = rand.NewChaCha8(seed)
	n.clock = nodeClock{world: w, rate: 1, mono: between(n.r, 0, time.Hour)}
	n.members = w.plan.members()
	n.join = !slices.Contains(n.members, id)
	n.dial()
	return n
}

// start boots the node's process.
func (n *node) start() {
	n.starts++
	n.dial()
	p, err := boot(n)
	if err != nil {
		n.stopped(p, err)
		return
	}
	n.process = p
	n.missedFrom = 0
	if n.world.trace.reads() {
		n.world.trace.line(n.world.now, n.id, "starts, its log holds %+v", p.log.State(group))
	}
	n.world.watch.started(n)
	n.world.openDoors()
	if !n.busDown {
		n.connect()
	}
	p.begin()
}

// openDoors has all nodes listen to whoever there is now, where the plan says so.
func (w *world) openDoors() {
	for _, n := range w.list {
		if p := n.process; p != nil && w.plan.openDoor && len(p.spy.members) > 0 {
			p.spy.admit()
		}
	}
}

// dial makes the connections of another life.
func (n *node) dial() {
	for p := range connPaths {
		n.conns[p] = newConn(n.world.bus, n, p)
	}
}

// connect and disconnect are the node's connections coming and going.
func (n *node) connect() {
	for p := range connPaths {
		n.conns[p].set(true)
	}
	if n.process != nil {
		n.process.deliverer.connected()
	}
	n.kick()
}

func (n *node) disconnect() {
	for p := range connPaths {
		n.conns[p].set(false)
	}
	if n.process != nil {
		n.process.deliverer.cut()
	}
	n.kick()
}

func (n *node) kick() {
	if n.process != nil {
		n.process.touched = true
		n.process.wake()
	}
}

// crash ends the node's process in the middle of what it does. The bus hears of it now, or only after a while.
func (n *node) crash(how loss, unnoticed time.Duration) {
	if n.process != nil {
		n.kept = n.process.store.Durable()
		n.process.end()
	}
	n.process = nil
	n.missedFrom = n.world.now + unnoticed
	for p := range connPaths {
		n.conns[p].up, n.conns[p].subs = false, nil
	}
	if n.r.IntN(4) == 0 {
		_ = n.memory.Flush() // as Pebble may have done by itself, unseen
	}
	n.memory = n.memory.Crash()
	n.disk.crash(how, n.r)
	if n.world.trace.reads() {
		n.world.trace.line(n.world.now, n.id, "crashes")
	}
}

// restart boots the node if it is down.
func (n *node) restart() {
	if n.process == nil {
		n.start()
	}
}

// hopeless reports whether a node does not come back by itself after an error: not only what an entry says is lost, or the entry that
// is says who the members are.
func (n *node) hopeless(err error) bool {
	var corrupt *wal.CorruptError
	return errors.As(err, &corrupt) && (corrupt.Entry == rpc.EntryID{} || strings.Contains(err.Error(), "who the members are"))
}

// blackout is a power loss in the middle of something on the disk.
func (n *node) blackout() {
	n.crash(n.tornBy, n.downFor/2)
	n.world.after(n.downFor, n.restart)
}

// stopped is a process that ended by itself, for a reason.
func (n *node) stopped(p *process, err error) {
	if n.disk.off {
		return // the power was cut, and that ends it in a moment
	}
	if n.world.trace.reads() {
		n.world.trace.line(n.world.now, n.id, "stops: %v", err)
	}
	n.world.watch.stopped(n, err)
	n.crash(loseNone, 0)
	if n.ruined == rotten && n.hopeless(err) {
		return // it would stop again
	}
	n.world.after(n.downFor+time.Millisecond, n.restart)
}
