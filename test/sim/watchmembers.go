package sim

// Who belongs to the cluster: I11, I12.

import (
	"math/rand/v2"
	"slices"

	"github.com/raftbus/raftbus/raft"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// setsOf are the voter sets that decide together.
func setsOf(c *rpc.Configuration) [][]rpc.Member {
	if c.Joint() {
		return [][]rpc.Member{c.Voters, c.Outgoing}
	}
	return [][]rpc.Member{c.Voters}
}

// majorities reports whether a majority of every set of voters is such.
func majorities(c *rpc.Configuration, such func(rpc.Member) bool) bool {
	for _, set := range setsOf(c) {
		n := 0
		for _, m := range set {
			if such(m) {
				n++
			}
		}
		if 2*n <= len(set) {
			return false
		}
	}
	return true
}

// inForce: the configuration in force is the last one of the log, committed or not, or the log's base (I11, K10, K37, K39). The log
// is known here when all of it is durable.
func (w *watcher) inForce(p *process, now *raftnode.Status) {
	m := &p.node.mirror
	if len(now.Configuration.Voters) == 0 || now.Synced != now.Last || now.Last != m.Last.Index || now.Base != m.Base.ID.Index {
		return
	}
	want, known := w.confOf(p, m)
	w.world.must(!known || same(&want, &now.Configuration), "I11", "%v counts by %+v, the last configuration of its log is %+v", p, now.Configuration, want)
}

// confOf is the last configuration of a log.
func (w *watcher) confOf(p *process, m *mirror) (c rpc.Configuration, known bool) {
	if n := len(m.Configurations); n > 0 {
		id := rpc.EntryID{Term: m.term(m.Configurations[n-1]), Index: m.Configurations[n-1]}
		c, known = w.confs[id]
		if known {
			return c, true
		}
		list, err := p.log.Entries(group, id.Index, id.Index+1, 1)
		if err != nil || len(list) == 0 || list[0].ID() != id {
			return c, false // damaged, or not there any more
		}
		c, err = rpc.DecodeConfiguration(list[0].Data)
		w.world.must(err == nil, "I11", "%v: the configuration in entry %v cannot be read: %v", p, id, err)
		w.confs[id] = c
		return c, true
	}
	if !m.HasBase {
		return c, false
	}
	text := m.Base.Configuration
	if len(text) > baseTimeBytes && text[0] == 0 {
		text = text[baseTimeBytes:]
	}
	c, err := rpc.DecodeConfiguration(text)
	w.world.must(err == nil, "I11", "%v: the configuration at its log's base cannot be read: %v", p, err)
	return c, true
}

// baseTimeBytes is what a log's base has before its configuration if that begins with a zero: the time of an entry.
const baseTimeBytes = 9

// same reports whether two configurations are the same but for the cluster's id, which the table at index 0 does not have.
func same(a, b *rpc.Configuration) bool {
	return a.Index == b.Index && slices.Equal(a.Voters, b.Voters) && slices.Equal(a.Outgoing, b.Outgoing) && slices.Equal(a.Learners, b.Learners)
}

// carried: a snapshot says of the members what was committed at its index (I13, K28, K29).
func (w *watcher) carried(p *process, c *rpc.InstallSnapshotCommand) {
	if c.Configuration == nil {
		return
	}
	w.world.must(c.Snapshot.Index <= w.last() && w.at(c.Snapshot.Index).term == c.Snapshot.Term, "I13", "%v sends the state at %v, which is not committed", p, c.Snapshot)
	for i := c.Snapshot.Index; i > 0; i-- {
		e := &w.at(i).entry
		if e.Kind != rpc.EntryConfiguration {
			continue
		}
		want, err := rpc.DecodeConfiguration(e.Data)
		w.world.must(err == nil && same(&want, c.Configuration), "I13", "%v sends with the state at %v the configuration %+v, committed is %+v", p, c.Snapshot, *c.Configuration, want)
		return
	}
	w.world.must(c.Configuration.Index == 0, "I13", "%v sends with the state at %v the configuration %+v, nothing of the kind is committed", p, c.Snapshot, *c.Configuration)
}

// members checks a configuration that has come into force on a node, and remembers it.
func (w *watcher) members(p *process, before, after *raftnode.Status) {
	now := &after.Configuration
	if after.Committed && (now.Index > w.conf.Index || len(w.conf.Voters) == 0) {
		w.conf = *now
	}
	if before.Configuration.Index == now.Index && p.node.conf != nil {
		return
	}
	w.founds(p, now)
	w.counts(p.node, now)
	if before.Role == raft.Leader && after.Role == raft.Leader && before.Term == after.Term {
		w.changes(p, before, after)
		w.world.faults.changes(p.node)
	}
}

// counts notes by which configuration a node counts now.
func (w *watcher) counts(n *node, conf *rpc.Configuration) {
	n.conf = nil
	if len(conf.Voters) > 0 {
		n.conf = conf
	}
	for _, set := range setsOf(conf) {
		for _, m := range set {
			w.voters[m] = true
		}
	}
}

// founds: nobody has a part in consensus before all members of the first boot hold the same table (I12, F27).
func (w *watcher) founds(p *process, now *rpc.Configuration) {
	if now.Index > 0 {
		return
	}
	for _, m := range now.Voters {
		w.world.must(w.tables[m] == rpc.ClusterIDOf(now.Voters), "I12", "%v has a part in consensus, %v does not hold the table of its first boot", p, m)
	}
}

// changes checks a change that a leader makes: one at a time, not before it has committed something in its term, and in steps
// of which any two quorums meet (I11).
func (w *watcher) changes(p *process, before, after *raftnode.Status) {
	was, now := &before.Configuration, &after.Configuration
	w.world.must(was.Index <= after.Commit, "I11", "%v changes the members at %d, the change at %d is not committed (%d is)", p, now.Index, was.Index, after.Commit)
	w.world.must(after.Commit > 0 && (after.Commit > w.last() || w.at(after.Commit).term == after.Term),
		"I11", "%v changes the members at %d before it has committed anything in term %d", p, now.Index, after.Term)
	w.world.must(meet(was, now), "I11", "%v changes the members from %+v to %+v, whose quorums need not meet", p, was, now)
}

// meet reports whether any two quorums of two configurations have a member in common.
func meet(a, b *rpc.Configuration) bool {
	for _, x := range setsOf(a) {
		for _, y := range setsOf(b) {
			all := len(x)
			for _, m := range y {
				if !slices.Contains(x, m) {
					all++
				}
			}
			if len(x)/2+1+len(y)/2+1 > all {
				return true
			}
		}
	}
	return false
}

// configurations are those that may be in force somewhere, now, after a crash or when what was asked for is done: the latest that is
// committed, all later ones in the nodes' logs, and those that changes under way lead to.
func (w *world) configurations() (list []*rpc.Configuration) {
	for _, r := range w.requests {
		if conf := r.outcome(); !r.of.gone && len(conf.Voters) > 0 && conf.Index >= w.watch.conf.Index {
			list = append(list, conf)
		}
	}
	for _, n := range w.list {
		for _, conf := range []*rpc.Configuration{n.conf, n.onDisk} {
			if conf != nil && conf.Index >= w.watch.conf.Index {
				list = append(list, conf)
			}
		}
	}
	return list
}

// quorum is a random majority of every set of voters that may decide, of nodes whose data is of use; nil if there is none.
func (w *world) quorum() (well []*node) {
	r := rand.New(rand.NewPCG(w.seed, streamFaults))
	list := slices.Clone(w.list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, n := range list {
		if w.decide(well) {
			return well
		}
		well = append(well, n)
	}
	if w.decide(well) {
		return well
	}
	return nil
}

// decide reports whether some nodes are a majority of every set that may be asked, and the first boot is through for one of them: the
// others take its word for it, but of the table alone not that of a majority.
func (w *world) decide(well []*node) bool {
	all := w.configurations()
	for _, conf := range all {
		decides := majorities(conf, func(m rpc.Member) bool { return slices.Contains(well, w.nodes[m.ID]) && w.nodes[m.ID].sound(m) })
		if !decides {
			return false
		}
	}
	return len(all) > 0 && slices.ContainsFunc(well, func(n *node) bool { return n.ruined == "" && n.mirror.sealed() })
}
