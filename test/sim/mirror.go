package sim

import (
	"sort"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// mirror is what a node's log has said is durable, as the watcher last looked. It outlives the process: what was once said to
// be durable must be there after every crash.
type mirror struct {
	instance rpc.InstanceID
	known    bool
	wal.State
	matched rpc.Index // up to here it equals what is committed
}

// term is the term of the entry at i, 0 if the log does not hold it (of the base it does).
func (m *mirror) term(i rpc.Index) rpc.Term {
	switch {
	case i == m.Base.ID.Index:
		return m.Base.ID.Term
	case i < m.Base.ID.Index || i > m.Last.Index:
		return 0
	}
	n := sort.Search(len(m.Terms), func(k int) bool { return m.Terms[k].First > i })
	return m.Terms[n-1].Term
}

// agree is the highest index up to which two states of a log, the second later, hold the same entries, by their terms: an
// entry is never replaced by one of the same term.
func agree(before, after *wal.State) rpc.Index {
	a, b := mirror{State: *before}, mirror{State: *after}
	i := max(before.Base.ID.Index, after.Base.ID.Index)
	end := min(before.Last.Index, after.Last.Index)
	if i >= end {
		return i
	}
	for next := i + 1; next <= end; {
		if a.term(next) != b.term(next) {
			return next - 1
		}
		next = min(runEnd(before.Terms, next), runEnd(after.Terms, next), end) + 1
	}
	return end
}

// runEnd is the last index of the run of one term that i is in.
func runEnd(runs []rpc.TermRun, i rpc.Index) rpc.Index {
	n := sort.Search(len(runs), func(k int) bool { return runs[k].First > i })
	if n == len(runs) {
		return ^rpc.Index(0)
	}
	return runs[n].First - 1
}
