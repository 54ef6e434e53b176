package node

// Entries of the log that are not what was written any more (design section 5; D1-D4, F18). What the state machine holds durably
// is forgotten here, before consensus starts: its effects are in the state, and who needs the entry gets a snapshot. The rest
// is the core's, which has the leader give it again and meanwhile neither votes nor acknowledges. What is found while the
// node runs stops it: at the next start it is one of these two.

import (
	"errors"
	"fmt"
	"slices"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// dropDamaged has the log begin after the damaged entries that the state machine holds durably. A state that is not of this log says nothing of
// them: nothing is cut for it, and the start refuses it (D4, I5).
func (n *Node) dropDamaged(state wal.State) (wal.State, error) {
	if !folder.Holds(&state, n.o.Machine.Applied()) {
		return state, nil
	}
	durable, to := n.o.Machine.Durable(), rpc.Index(0)
	for _, d := range state.Damaged {
		if d.Index <= durable {
			to = d.Index
		}
	}
	if to == 0 {
		return state, nil
	}
	base, err := n.baseFrom(&state, to, durable)
	if err != nil {
		return state, err
	}
	n.logger.Warn("entries of the log are damaged whose effects are in the state: the log is cut to begin after them", "begins_after", base.ID.String(), "err", n.damageAt(to))
	b, err := folder.LogBase(n.o.Log, base)
	if err == nil {
		err = n.o.Log.Compact(onlyGroup, *b)
	}
	if err != nil {
		return state, fmt.Errorf("have the log begin after its damaged entry %d: %w", to, err)
	}
	return n.o.Log.State(onlyGroup), nil
}

// baseFrom is the first base at an index or above it, up to most, of which the configuration can be read.
func (n *Node) baseFrom(state *wal.State, at, most rpc.Index) (raft.Base, error) {
	base, err := folder.DecodeBase(&state.Base)
	if err != nil {
		return base, err
	}
	cluster := base.Configuration.ClusterID()
	next, lost := at, rpc.Index(0)
	for _, i := range state.Configurations {
		switch {
		case i > at && lost == 0 || i > most:
		case isDamaged(state, i):
			lost = i
		default:
			if base.Configuration, err = n.configuration(i); err != nil {
				return base, err
			}
			next, lost = max(at, i), 0
		}
	}
	if lost > 0 {
		_, err := n.configuration(lost)
		return base, err
	}
	header, err := n.o.Log.Header(onlyGroup, next)
	base.ID, base.Time, base.Configuration.Cluster = header.ID(), header.Time, cluster
	return base, err
}

func isDamaged(state *wal.State, i rpc.Index) bool {
	return slices.ContainsFunc(state.Damaged, func(d rpc.EntryID) bool { return d.Index == i })
}

// tellDamaged tells the operator of entries that a leader must give again.
func (n *Node) tellDamaged(state wal.State, applied rpc.Index) error {
	if len(state.Damaged) == 0 {
		return nil
	}
	first := state.Damaged[0]
	if first.Index <= applied {
		return fmt.Errorf("the state machine has applied up to %d, but not durably, and the log has lost entry %v: a state machine must start from what is durable: %w", applied, first, n.damageAt(first.Index))
	}
	n.logger.Warn("entries of the log are damaged: this node neither votes nor acknowledges until a leader has given them again. If too few are left to elect one, bring back who is away, or see raftbus recover",
		"damaged", len(state.Damaged), "first", first.String(), "last", state.Damaged[len(state.Damaged)-1].String(), "err", n.damageAt(first.Index))
	return nil
}

// damageAt says where an entry is that is damaged.
func (n *Node) damageAt(i rpc.Index) error {
	_, err := n.o.Log.Entries(onlyGroup, i, i+1, 1)
	return err
}

// withRemedy adds to an error of reading the log what is to be done about it, if it is an entry that can be repaired.
func withRemedy(err error) error {
	if bad := (*wal.CorruptError)(nil); errors.As(err, &bad) && bad.Entry != (rpc.EntryID{}) {
		return fmt.Errorf("start this node again: the entry is repaired from the leader: %w", err)
	}
	return err
}
