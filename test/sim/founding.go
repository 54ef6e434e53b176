package sim

// First boots, and disks that are lost during one or later: what the operator may do so that nobody founds a second cluster (BUGS.md,
// S6 and S8). While no disk is in a term nothing was ever acknowledged; then a lost disk is no loss, but may leave a table that can
// never be sealed, and the remedy is to wipe all first members.

import (
	"math/rand/v2"
	"slices"

	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// firsts are the members of the first boot.
func (w *world) firsts() []*node { return w.list[:w.plan.nodes] }

// table is the configuration that a log begins with, while that is the one of the first boot.
func (m *mirror) table() (c rpc.Configuration, is bool) {
	if !m.HasBase || m.Base.ID.Index > 0 {
		return c, false
	}
	c, err := rpc.DecodeConfiguration(m.Base.Configuration)
	return c, err == nil && c.Index == 0
}

// sealed reports whether a log shows that the first boot of its cluster is through.
func (m *mirror) sealed() bool {
	_, first := m.table()
	return m.HardState.Term > 0 || m.HasBase && !first
}

// founded reports whether any disk shows that.
func (w *world) founded() bool {
	return slices.ContainsFunc(w.list, func(n *node) bool { return n.mirror.sealed() })
}

// wipe takes a node's disk away.
func (n *node) wipe() {
	n.crash(loseNone, 0)
	n.disk, n.memory, n.backup, n.ruined = newDisk(n.disk.cut), memengine.New(), nil, ""
	n.forget()
}

// mayWipe reports whether a disk may be lost: every table and configuration that may be in force is left with a majority.
func (w *world) mayWipe(n *node) bool {
	for _, other := range w.list {
		if table, is := other.mirror.table(); is && !w.enough(table.Voters, nil, n) {
			return false
		}
	}
	return n.ruined == "" && n != w.keeper && w.spares(n)
}

// flags draws how a node is started whose disk was lost: as the first time, or to be added. As the first time only if no cluster can
// come of it: while none is founded, or if another first member keeps its folder for good, and so refuses to be part of another.
func (w *world) flags(n *node, r *rand.Rand) {
	first := slices.Contains(w.firsts(), n)
	if !w.founded() {
		n.join = !first
		return
	}
	n.join = true
	if !first || r.IntN(3) == 0 {
		return
	}
	for _, other := range w.firsts() {
		switch {
		case w.keeper != nil && w.keeper != n:
			n.join = false
		case other != n && other.ruined == "" && other.mirror.sealed() && len(other.past) == 0:
			w.keeper, n.join = other, false
		}
	}
}

// attend is the operator who looks from time to time whether a first boot can still end, and begins it again if not.
func (w *world) attend() {
	w.after(2*w.plan.timing.ElectionMax, w.attend)
	if w.founded() || !slices.ContainsFunc(w.firsts(), w.stuck) {
		return
	}
	w.must(w.watch.last() == 0, "C2", "something was committed, and no disk is in a term")
	if w.begun++; w.trace.reads() {
		w.trace.line(w.now, "", "---- the first boot cannot end: it begins again")
	}
	for _, n := range w.firsts() {
		n.wipe()
		n.join, n.conf = false, nil
	}
	w.watch.conf = rpc.Configuration{}
	for _, n := range w.firsts() {
		n.restart()
	}
}

// stuck reports whether a node holds a table that names a disk which is no more.
func (w *world) stuck(n *node) bool {
	table, is := n.mirror.table()
	return is && slices.ContainsFunc(table.Voters, func(m rpc.Member) bool {
		other := w.nodes[m.ID]
		return other.mirror.known && other.mirror.instance != m.Instance
	})
}
