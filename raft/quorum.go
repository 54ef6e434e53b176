package raft

// Counts votes, acknowledgements and confirmations by the configuration that it is given. It decides nothing by the count.

import (
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// quorum answers what a configuration decides by counting. During a joint change both voter sets must agree (thesis 4.3);
// learners never count (K20). It is computed from the configuration in force, never from a list kept beside it (K13).
type quorum struct {
	sets [][]rpc.NodeID
}

// newQuorum counts by a configuration. Where it names another instance under this node's id, that seat is nobody's: this node
// has not the disk that was promised there (D3, K11).
func newQuorum(c *rpc.Configuration, self rpc.Member) quorum {
	q := quorum{sets: [][]rpc.NodeID{seats(c.Voters, self)}}
	if len(c.Outgoing) > 0 {
		q.sets = append(q.sets, seats(c.Outgoing, self))
	}
	return q
}

func seats(voters []rpc.Member, self rpc.Member) []rpc.NodeID {
	list := rpc.IDs(voters)
	for i, m := range voters {
		if m.ID == self.ID && m.Instance != self.Instance {
			list[i] = ""
		}
	}
	return list
}

// voter reports whether id counts.
func (q *quorum) voter(id rpc.NodeID) bool {
	return slices.ContainsFunc(q.sets, func(set []rpc.NodeID) bool { return slices.Contains(set, id) })
}

// have reports whether those for whom yes holds are a majority of every set.
func (q *quorum) have(yes func(rpc.NodeID) bool) bool {
	for _, set := range q.sets {
		n := 0
		for _, id := range set {
			if yes(id) {
				n++
			}
		}
		if n <= len(set)/2 {
			return false
		}
	}
	return true
}

// reached is the highest index that a majority of every set has reached.
func (q *quorum) reached(match func(rpc.NodeID) rpc.Index) rpc.Index {
	lowest := ^rpc.Index(0)
	for _, set := range q.sets {
		lowest = min(lowest, reachedBy(set, match))
	}
	return lowest
}

func reachedBy(set []rpc.NodeID, match func(rpc.NodeID) rpc.Index) rpc.Index {
	var room [16]rpc.Index
	list := room[:0]
	for _, id := range set {
		list = append(list, match(id))
	}
	slices.Sort(list)
	return list[(len(list)-1)/2]
}
