package sim

// The watcher holds the cluster to the promises of the fault model (section 2), across nodes and across time. It sees every
// turn, every message as it leaves, every write once it is durable and every entry as it is applied. It believes no node:
// what is committed it finds out for itself, from what the disks hold.

import (
	"github.com/raftbus/raftbus/raft"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

type watcher struct {
	world      *world
	leaders    map[rpc.Term]rpc.Member
	votes      map[ballot]rpc.NodeID
	slots      map[rpc.EntryID]slot
	history    []committed // what is committed, in order, from index 1
	hashes     map[rpc.Index][32]byte
	confs      map[rpc.EntryID]rpc.Configuration
	voters     map[rpc.Member]bool          // everybody who ever was a voter of a configuration in some log
	tables     map[rpc.Member]rpc.ClusterID // of the first boot, on whose disks
	conf       rpc.Configuration            // the latest that is committed
	applyCount int
	streamed   map[rpc.EntryID]rpc.Term // in which each snapshot was last sent
}

// committed is an entry that some leader has committed.
type committed struct {
	term   rpc.Term
	office rpc.Term // of the leader that committed it
	// What it does, known once a node has applied it.
	applied bool
	entry   rpc.Entry
	result  any
}

// slot is what the log was when an entry was made: the term before it, and what it holds.
type slot struct {
	before rpc.Term
	sum    uint64 // of kind, time and data; 0: nobody has seen it yet
}

func newWatcher(w *world) *watcher {
	return &watcher{
		world: w, leaders: map[rpc.Term]rpc.Member{}, votes: map[ballot]rpc.NodeID{}, slots: map[rpc.EntryID]slot{},
		hashes: map[rpc.Index][32]byte{}, voters: map[rpc.Member]bool{}, tables: map[rpc.Member]rpc.ClusterID{}, confs: map[rpc.EntryID]rpc.Configuration{},
		streamed: map[rpc.EntryID]rpc.Term{},
	}
}

// last is the highest index that is committed.
func (w *watcher) last() rpc.Index { return rpc.Index(len(w.history)) }

// at is what is committed at an index.
func (w *watcher) at(i rpc.Index) *committed { return &w.history[i-1] }

// turned checks what a turn has made of a node.
func (w *watcher) turned(p *process, before, after *raftnode.Status) {
	w.world.reach.note(leaderFull, after.Role == raft.Leader && after.Full && !before.Full)
	if before.Status == after.Status && before.Configuration.Index == after.Configuration.Index && before.Committed == after.Committed {
		return
	}
	w.world.trace.mix(uint64(after.Term)<<32 | uint64(after.Commit)<<8 | uint64(after.Role))
	if w.world.trace.reads() {
		w.tell(p, before, after)
	}
	w.monotonic(p, &before.Status, &after.Status)
	w.members(p, before, after)
	if after.Role == raft.Leader {
		w.leads(p, after.Term)
		if before.Role != raft.Leader || before.Term != after.Term {
			w.elected(p, before, after)
		}
	}
	w.inForce(p, after)
	if after.Commit > before.Commit {
		w.commits(p, before, after)
	}
	w.reaches(p, before, after)
}

func (w *watcher) tell(p *process, before, after *raftnode.Status) {
	if before.Role != after.Role || before.Term != after.Term || before.Leader != after.Leader || before.Vote != after.Vote {
		w.world.trace.line(w.world.now, p.node.id, "%v in term %d, vote %q, leader %q, last %d, commit %d", after.Role, after.Term, after.Vote, after.Leader, after.Last, after.Commit)
	}
	if c := &after.Configuration; before.Configuration.Index != c.Index {
		w.world.trace.line(w.world.now, p.node.id, "configuration %d: voters %v, outgoing %v, learners %v", c.Index, rpc.IDs(c.Voters), rpc.IDs(c.Outgoing), rpc.IDs(c.Learners))
	}
}

// monotonic: I8 and I7 within a life.
func (w *watcher) monotonic(p *process, before, after *raft.Status) {
	w.world.must(after.Term >= before.Term && after.Commit >= before.Commit && after.Applied >= before.Applied && after.Base >= before.Base,
		"I8", "%v went back from %+v to %+v", p, *before, *after)
	w.world.must(after.Term > before.Term || before.Vote == "" || after.Vote == before.Vote,
		"I7", "%v voted for %q after %q in term %d", p, after.Vote, before.Vote, after.Term)
}

// elected: a majority of every voter set, each by the very disk that the configuration names, has voted for a new leader, and their
// votes are durable (I1, I7, I12). Which configuration counted the turn does not say if one came into force in it.
func (w *watcher) elected(p *process, before, after *raftnode.Status) {
	w.world.must(w.chosen(p, &before.Configuration, after.Term) || w.chosen(p, &after.Configuration, after.Term),
		"I1", "%v leads term %d, no majority of %+v has voted for it", p, after.Term, after.Configuration)
}

func (w *watcher) chosen(p *process, conf *rpc.Configuration, term rpc.Term) bool {
	return majorities(conf, func(m rpc.Member) bool {
		if m == p.member() {
			hard := p.node.mirror.HardState
			return hard == rpc.HardState{Term: term, Vote: m.ID}
		}
		return w.votes[ballot{m.Instance, term}] == p.node.id
	})
}

// leads: I1.
func (w *watcher) leads(p *process, term rpc.Term) {
	self := p.member()
	other, known := w.leaders[term]
	w.world.must(!known || other == self, "I1", "%v and %v lead in term %d", self, other, term)
	w.leaders[term] = self
	w.world.must(w.voters[self], "I12", "%v leads term %d, and never was a voter", self, term)
}
