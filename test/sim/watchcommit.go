package sim

// What is committed and applied: I4, I5, I6, I9, I13.

import (
	"slices"

	"github.com/raftbus/raftbus/raft"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// commits checks a commit index that has moved. A leader decides; all others follow.
func (w *watcher) commits(p *process, before, after *raftnode.Status) {
	if after.Commit <= w.last() {
		return
	}
	office := after.Term
	switch {
	case before.Role == raft.Leader:
		office = before.Term // it may commit and step down in one turn
	case after.Role != raft.Leader:
		w.world.fail("I5", "%v takes %d for committed, no leader did: it ends at %d", p, after.Commit, w.last())
	}
	w.decided(p, office, after.Commit)
	id := rpc.EntryID{Term: office, Index: after.Commit}
	w.world.must(w.durable(&before.Configuration, after.Commit) || w.durable(&after.Configuration, after.Commit),
		"I9", "%v commits %v, no quorum holds it durably: %s", p, id, w.world.describe())
}

// decided takes in what a leader has committed: an entry of its own term (I6), and with it all that is before it there.
func (w *watcher) decided(p *process, office rpc.Term, upTo rpc.Index) {
	var holder *mirror
	for _, n := range w.world.list {
		if n.mirror.term(upTo) == office {
			holder = &n.mirror
			break
		}
	}
	w.world.must(holder != nil, "I6", "%v commits up to %d as leader of term %d, no disk holds an entry of that term there", p, upTo, office)
	w.world.reach.note(oldTermCommitted, holder.term(w.last()+1) < office)
	for i := w.last() + 1; i <= upTo; i++ {
		w.history = append(w.history, committed{term: holder.term(i), office: office})
	}
	for _, n := range w.world.list {
		w.extend(n)
	}
	w.world.must(holder.matched >= upTo, "I4", "%v commits %d/%d, whose log has something else than what is committed after %d", p, office, upTo, holder.matched)
}

// durable reports whether a majority of every voter set holds on its disk what is committed up to an index (I9).
func (w *watcher) durable(conf *rpc.Configuration, upTo rpc.Index) bool {
	return majorities(conf, func(m rpc.Member) bool { return w.world.nodes[m.ID].held(m.Instance, upTo) })
}

// witness is a disk as it was when a read came.
type witness struct {
	member rpc.Member
	term   rpc.Term
}

// witnesses are all disks that are in use now.
func (w *watcher) witnesses() (list []witness) {
	for _, n := range w.world.list {
		list = append(list, witness{rpc.Member{ID: n.id, Instance: n.mirror.instance}, n.mirror.HardState.Term})
	}
	return list
}

// confirmedRead is a read that came when a leader was in office in a term, and is confirmed.
type confirmedRead struct {
	term rpc.Term
	then []witness // when it came
}

// confirmed: no majority may have been past a read's term when it came, since whoever is answers that leader no more (C3). The members may have been changed
// in the same turn: a majority is one of those before, or after, which it counts by from then on.
func (w *watcher) confirmed(p *process, one confirmedRead, before, after *rpc.Configuration) {
	able := func(m rpc.Member) bool { // also who has come since
		return !slices.ContainsFunc(one.then, func(was witness) bool { return was.member == m && was.term > one.term })
	}
	w.world.must(len(before.Voters) == 0 || majorities(before, able) || majorities(after, able),
		"C3", "%v confirms a read in term %d, and no majority can have taken it for the leader since the read came: %+v", p, one.term, one.then)
	w.world.reach.note(readInPastTerm, w.past(one.term))
}

// served: a read is served from a state not older than what was committed when it came (C3).
func (w *watcher) served(p *process, at, asked rpc.Index) {
	w.world.must(at >= asked, "C3", "%v serves a read at %d, asked when %d was committed", p, at, asked)
}

// applies checks entries as the state machine is given them (I5), each durable in this node's own log.
func (w *watcher) applies(p *process, entries []rpc.Entry) {
	for i := range entries {
		e := &entries[i]
		w.world.must(e.Index <= w.last(), "I5", "%v applies %v, it is not committed", p, e.ID())
		c := w.at(e.Index)
		w.world.must(c.term == e.Term, "I5", "%v applies %v, committed is %d/%d", p, e.ID(), c.term, e.Index)
		w.world.must(p.node.mirror.matched >= e.Index, "I10", "%v applies %v, its own log does not hold it durably", p, e.ID())
		w.slot(p.node.id, e.ID(), w.termBefore(e.Index), sumOf(e))
	}
}

func (w *watcher) termBefore(i rpc.Index) rpc.Term {
	if i == 1 {
		return 0
	}
	return w.at(i - 1).term
}

// applied takes in what the state machine made of entries: the same everywhere.
func (w *watcher) applied(p *process, entries []rpc.Entry, results []any) {
	for i := range entries {
		c := w.at(entries[i].Index)
		if !c.applied {
			c.applied, c.entry, c.result = true, entries[i], results[i]
			w.world.trade.applied(&c.entry, c.result)
			continue
		}
		w.world.must(c.result == results[i], "I5", "%v: entry %v gives %+v, elsewhere %+v", p, entries[i].ID(), results[i], c.result)
	}
	w.applyCount++
	reached := entries[len(entries)-1].Index
	if _, known := w.hashes[reached]; known && w.applyCount%hashEvery == 0 || reached%hashStride == 0 {
		w.hashed(p)
	}
}

// The state is hashed where an index is a multiple of hashStride, and at every hashEvery-th Apply that reaches an index of which the
// hash is known.
const (
	hashStride = 16
	hashEvery  = 4
)

// hashed compares a node's state with that of others at the same index (I5).
func (w *watcher) hashed(p *process) {
	id, hash, err := p.store.StateHash()
	w.world.must(err == nil, "I5", "%v: its state cannot be read: %v", p, err)
	was, known := w.hashes[id.Index]
	w.world.must(!known || was == hash, "I5", "%v: its state at %v is another than elsewhere", p, id)
	w.hashes[id.Index] = hash
}

// restored: a snapshot has taken the place of a node's state (I8, I13).
func (w *watcher) restored(p *process, before rpc.Index) {
	at := p.store.Applied()
	w.world.must(at.Index >= before, "I8", "%v restores the state at %v over that at %d", p, at, before)
	w.world.must(at.Index <= w.last() && w.at(at.Index).term == at.Term, "I13", "%v restores the state at %v, which is not committed", p, at)
	w.world.reach.note(snapshotInJoint, w.world.changing(isJoint))
	w.world.reach.note(snapshotOfDeposed, w.past(w.streamed[at]))
	w.hashed(p)
}
