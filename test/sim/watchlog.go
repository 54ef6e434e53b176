package sim

// What logs must be: I2, I3, I4, I8, and that what was said to be durable is (D3).

import (
	"fmt"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// wrote looks at a node's log after a write.
func (w *watcher) wrote(n *node) {
	p := n.process
	now := p.log.State(group)
	m := &n.mirror
	same := agree(&m.State, &now)
	w.disk(n, &m.State, &now)
	w.reachesLog(n, same, &now)
	if same < m.Last.Index {
		w.truncated(n, same)
	}
	if b := now.Base.ID; b.Index > m.Base.ID.Index {
		w.begins(n, b, p.store.Durable())
	}
	w.entered(n, same, &now)
	m.State = now
	w.holds(n)
	m.matched = max(min(m.matched, max(same, now.Base.ID.Index)), now.Base.ID.Index)
	w.extend(n)
	if c, known := w.confOf(p, m); known {
		n.onDisk = &c
	}
	n.mended()
	if p.spy.writes {
		w.synced(p)
	}
	if st := &p.status; st.Role == raft.Leader && now.Last.Term == st.Term {
		w.complete(n, st.Term)
	}
}

// synced: what a log says is durable is (I10).
func (w *watcher) synced(p *process) {
	lost := p.node.disk.unsynced(p.folder.Path("wal"), ".wal")
	w.world.must(lost == "", "I10", "%v: the log says that all is durable, but of %s the disk says that it is not", p, lost)
}

// disk: term and vote on it (I7, I8).
func (w *watcher) disk(n *node, before, after *wal.State) {
	a, b := before.HardState, after.HardState
	w.world.must(b.Term > a.Term || b.Term == a.Term && (a.Vote == "" || a.Vote == b.Vote), "I7", "the log of %s replaces %+v by %+v", n.id, a, b)
	w.world.must(after.Base.ID.Index >= before.Base.ID.Index, "I8", "the log of %s begins at %v after %v", n.id, after.Base.ID, before.Base.ID)
}

// truncated: entries after an index were replaced. Nothing committed may be among them (I8), and a leader does not (I2).
func (w *watcher) truncated(n *node, same rpc.Index) {
	m := &n.mirror
	w.world.must(same >= m.matched, "I8", "%s replaces its log after %d, it held what is committed up to %d", n.id, same, m.matched)
	st := &n.process.status
	w.world.must(st.Role != raft.Leader || m.Last.Term != st.Term, "I2", "%s leads term %d and replaces its log after %d", n.id, st.Term, same)
}

// entered: entries after an index are new in a node's log. Where an entry is the same, all before it must be (I3).
func (w *watcher) entered(n *node, same rpc.Index, now *wal.State) {
	m := mirror{State: *now}
	before := m.term(same)
	for i := same + 1; i <= now.Last.Index; i++ {
		id := rpc.EntryID{Term: m.term(i), Index: i}
		w.slot(n.id, id, before, 0)
		before = id.Term
	}
}

// slot compares an entry with what is known of it. A sum of 0 is not known.
func (w *watcher) slot(at rpc.NodeID, id rpc.EntryID, before rpc.Term, sum uint64) {
	was, known := w.slots[id]
	if !known {
		w.slots[id] = slot{before, sum}
		return
	}
	w.world.must(was.before == before, "I3", "%s holds %v after an entry of term %d, elsewhere it follows one of term %d", at, id, before, was.before)
	w.world.must(was.sum == 0 || sum == 0 || was.sum == sum, "I3", "%s holds another %v than there is elsewhere", at, id)
	if was.sum == 0 && sum != 0 {
		w.slots[id] = slot{before, sum}
	}
}

// sumOf is what an entry holds, as a number.
func sumOf(e *rpc.Entry) uint64 {
	t := trace{hash: uint64(e.Kind)}
	t.mix(uint64(e.Time))
	t.mixBytes(e.Data)
	return t.hash | 1
}

// extend moves up to where a node's log equals what is committed.
func (w *watcher) extend(n *node) {
	m := &n.mirror
	for m.matched < w.last() && m.term(m.matched+1) == w.at(m.matched+1).term {
		m.matched++
	}
}

// complete: a leader's log holds all that was committed in earlier terms (I4), once its own first entry is written.
func (w *watcher) complete(n *node, term rpc.Term) {
	m := &n.mirror
	if next := m.matched + 1; next <= w.last() && w.at(next).office < term && next <= m.Last.Index {
		w.world.fail("I4", "%s leads term %d without %d/%d, its log has %d there", n.id, term, w.at(next).term, next, m.term(next))
	}
}

// started compares what is there after a restart with what had been said to be durable.
func (w *watcher) started(n *node) {
	p := n.process
	now := p.log.State(group)
	w.synced(p) // also what an earlier life had only written
	if b := now.Base.ID; b.Index > n.mirror.Base.ID.Index && n.mirror.instance == p.folder.Instance {
		w.begins(n, b, p.store.Durable()) // an installation was finished, or what was lost is forgotten
	}
	w.found(n, p.folder.Instance, now)
	st := p.raft.Status()
	w.counts(n, &st.Configuration) // a later one may have been lost
	w.world.reach.note(startInJoint, st.Configuration.Joint())
	n.onDisk = n.conf
	n.looked = true
	n.mended()
	w.resumes(n, p.store.Applied().Index)
}

// resumes: a state is not older after a start than it had said is durable (I8).
func (w *watcher) resumes(n *node, at rpc.Index) {
	w.world.must(at >= n.kept, "I8", "the state of %s is that at %d after a start, it had said that it is durable up to %d", n.id, at, n.kept)
}

// begins: a log begins after what is committed, and durable in the state machine (I13).
func (w *watcher) begins(n *node, after rpc.EntryID, durable rpc.Index) {
	w.world.must(after.Index <= w.last() && w.at(after.Index).term == after.Term, "I13", "the log of %s begins after %v, which is not committed", n.id, after)
	w.world.must(after.Index <= durable, "I13", "the log of %s begins after %v, its state is durable up to %d only", n.id, after, durable)
}

// found: a log holds after a start what it had said is durable (D3).
func (w *watcher) found(n *node, instance rpc.InstanceID, now wal.State) {
	m := &n.mirror
	if !m.known || m.instance != instance {
		*m = mirror{instance: instance, known: true, State: now}
		w.holds(n)
		w.entered(n, now.Base.ID.Index, &now)
		m.matched = now.Base.ID.Index
		w.extend(n)
		return
	}
	w.disk(n, &m.State, &now)
	w.world.must(now.HasBase || !m.HasBase, "D3", "%s forgot the table of its first boot in a crash", n.id)
	if same := agree(&m.State, &now); same < m.Last.Index {
		w.world.must(same >= m.matched || len(w.history) == 0, "D3", "%s forgot its log after %d in a crash, it had said that all up to %v is durable", n.id, same, m.Last)
		w.lost(n, same, &now)
	}
	w.entered(n, max(agree(&m.State, &now), now.Base.ID.Index), &now)
	m.State = now
	w.holds(n)
	w.extend(n)
}

// holds notes which table of a first boot a disk holds.
func (w *watcher) holds(n *node) {
	m := rpc.Member{ID: n.id, Instance: n.mirror.instance}
	if _, known := w.tables[m]; known || !n.mirror.HasBase {
		return
	}
	w.tables[m] = rpc.ClusterID{}
	if table, is := n.mirror.table(); is {
		w.tables[m] = rpc.ClusterIDOf(table.Voters)
	}
}

// lost: a crash may replace entries that were durable only by the write that was under way.
func (w *watcher) lost(n *node, same rpc.Index, now *wal.State) {
	w.world.must(now.Last.Index > same, "D3", "%s lost entries %d to %d in a crash, its log had said that they are durable", n.id, same+1, n.mirror.Last.Index)
	n.mirror.matched = min(n.mirror.matched, same)
}

// stopped judges why a process stopped by itself.
func (w *watcher) stopped(n *node, err error) {
	if n.disk.off || expected(n, err) {
		return
	}
	w.world.fail("stop", "%s stops: %v", n.id, fmt.Sprint(err))
}
