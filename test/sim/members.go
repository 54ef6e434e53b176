package sim

// The operator: changes of the membership, transfers, planned stops (F27, F30). He asks whoever takes himself for the leader, also
// two at once, with what he last knew; he never takes away so many sound voters that those with damaged disks would be half.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/raftbus/raftbus/raft"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// leaders are the processes that take themselves for the leader.
func (w *world) leaders() (list []*process) {
	for _, n := range w.list {
		if p := n.process; p != nil && p.status.Role == raft.Leader {
			list = append(list, p)
		}
	}
	return list
}

// members changes who belongs to the cluster.
func (f *faults) members(r *rand.Rand) string {
	w := f.world
	leaders := w.leaders()
	if len(leaders) == 0 {
		return "nobody leads"
	}
	p := leaders[r.IntN(len(leaders))]
	conf := p.status.Configuration
	if lost := w.lostMember(&conf); lost != nil && r.IntN(2) == 0 {
		w.replace(p, lost)
		return fmt.Sprintf("%s is asked to replace %s", p.node.id, lost.id)
	}
	change := raft.Change{}
	if r.IntN(4) == 0 {
		change.If = new(conf.Index - rpc.Index(r.IntN(2))) // sometimes what he has seen is old
	}
	f.drawChange(&change, &conf, r)
	if !w.survives(&conf, change) {
		return "nothing that is safe"
	}
	w.reconfigure(p, change)
	return fmt.Sprintf("%s is asked: add %v, remove %v", p.node.id, rpc.IDs(change.Add), change.Remove)
}

// drawChange draws who is to come and to leave.
func (f *faults) drawChange(change *raft.Change, conf *rpc.Configuration, r *rand.Rand) {
	w := f.world
	for range 1 + r.IntN(f.world.plan.atOnce) {
		n := f.any(r)
		_, member := conf.Member(n.id)
		switch {
		case slices.ContainsFunc(change.Add, func(m rpc.Member) bool { return m.ID == n.id }), slices.Contains(change.Remove, n.id):
		case !member && n.ruined == "" && w.counts(n):
			// it is being removed, and may count yet: its disk is not to be touched
		case !member && n == w.keeper:
		case !member:
			if n.ruined != "" || n.process == nil || n.process.status.Standing != raftnode.StandingNone {
				n.fresh() // what it held of an earlier time is not to come back
			}
			if n.process != nil {
				change.Add = append(change.Add, n.process.member())
			}
		case len(conf.Voters) > 1:
			change.Remove = append(change.Remove, n.id)
		}
	}
	if len(change.Add) == 0 && len(change.Remove) == 0 {
		change.Remove = append(change.Remove, w.list[0].id)
	}
}

// counts reports whether a configuration that may be in force names a node by the disk it has.
func (w *world) counts(n *node) bool {
	return slices.ContainsFunc(w.configurations(), func(c *rpc.Configuration) bool {
		m, member := c.Member(n.id)
		return member && n.sound(m)
	})
}

// lostMember is one whose disk is of no use any more.
func (w *world) lostMember(conf *rpc.Configuration) *node {
	for _, m := range conf.Members() {
		if n := w.nodes[m.ID]; !n.sound(m) && n.ruined != lossy && (n.ruined != "" || !w.counts(n)) {
			return n
		}
	}
	return nil
}

// fresh gives a node an empty folder, and starts it to be added to the cluster.
func (n *node) fresh() {
	n.wipe()
	n.join = true
	n.restart()
}

// pending is a change that was asked for and not answered. One that is paused may make it much later, going by what it then knows of the
// others, which is as old as its pause.
type pending struct {
	of     *process
	change raft.Change
}

// outcome is the configuration that the change leads to.
func (r *pending) outcome() *rpc.Configuration {
	conf := &r.of.status.Configuration
	return &rpc.Configuration{
		Index: conf.Index, Voters: stays(conf.Voters, r.change), Learners: slices.Concat(stays(conf.Learners, r.change), r.change.Add),
	}
}

func (w *world) reconfigure(p *process, change raft.Change) {
	asked := &pending{p, change}
	w.requests = append(w.requests, asked)
	answered := func() {
		w.requests = slices.DeleteFunc(w.requests, func(r *pending) bool { return r == asked || r.of.gone })
	}
	err := p.raft.Reconfigure(change, func(id rpc.EntryID, err error) {
		answered()
		if w.trace.reads() {
			w.trace.line(w.now, p.node.id, "change of members: %v %v", id, err)
		}
		w.after(0, func() { // the watcher sees the turn when it has ended
			done := err == nil && id.Index <= w.watch.last() && w.watch.at(id.Index).term == id.Term
			w.must(err != nil || done, "I10", "%v says that change %v is done, which is not committed", p, id)
		})
	})
	if err != nil {
		answered()
	}
	p.wake()
}

// survives reports whether after a change the voters with sound disks are still more than half.
func (w *world) survives(conf *rpc.Configuration, change raft.Change) bool {
	return w.enough(stays(conf.Voters, change), stays(conf.Learners, change), nil)
}

// stays are those of some members that a change leaves.
func stays(list []rpc.Member, change raft.Change) []rpc.Member {
	return slices.DeleteFunc(slices.Clone(list), func(m rpc.Member) bool {
		return slices.Contains(change.Remove, m.ID) || slices.ContainsFunc(change.Add, func(a rpc.Member) bool { return a.ID == m.ID })
	})
}

// transfer hands leadership over: a certain leader's, if that node is one.
func (f *faults) transfer(n *node, r *rand.Rand) string {
	leaders := f.world.leaders()
	if len(leaders) == 0 {
		return "nobody leads"
	}
	p, to := leaders[r.IntN(len(leaders))], rpc.NodeID("")
	if slices.Contains(leaders, n.process) {
		p = n.process
	}
	if r.IntN(2) == 0 {
		to = f.any(r).id
	}
	asked := p.raft.TransferLeadership(to, func(err error) {
		p.handing--
		if f.world.trace.reads() {
			f.world.trace.line(f.world.now, p.node.id, "hand-over to %q: %v", to, err)
		}
	})
	if asked == nil {
		p.handing++
	}
	p.wake()
	return fmt.Sprintf("%s to %q", p.node.id, to)
}

// stop ends a process as an operator does, and starts it again.
func (f *faults) stop(n *node, d time.Duration) string {
	if n.process == nil {
		return "nobody"
	}
	if n.hungUntil <= f.world.now && n.process.pausedUntil <= f.world.now {
		p := n.process
		p.spy.writes, p.spy.stops = true, true
		if err := p.steps.Stop(); err == nil && !n.disk.off {
			f.world.watch.wrote(n)
			p.turned(nil) // its last turn may have committed something
			_ = p.store.Flush()
		}
	}
	n.crash(loseNone, 0)
	f.world.after(d, n.restart)
	return fmt.Sprintf("%s for %v", n.id, d)
}

// replaceAll is the operator who replaces every member whose disk is of no use any more, one after the other, until all are sound.
func (w *world) replaceAll() {
	w.after(w.plan.timing.ElectionMax, w.replaceAll)
	for _, p := range w.leaders() {
		if n := w.lostMember(&p.status.Configuration); n != nil {
			w.replace(p, n)
			return
		}
	}
}

// replace puts a node with an empty folder in the place of the member of its name.
func (w *world) replace(p *process, n *node) {
	if n.ruined != "" || n.process == nil || n.process.status.Standing != raftnode.StandingNone {
		n.fresh()
	}
	if n.process != nil {
		w.reconfigure(p, raft.Change{Add: []rpc.Member{n.process.member()}})
	}
}
