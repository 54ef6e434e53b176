package raft

// What a follower does with its leader's log. Only an AppendLog of the current term that meets a conflict replaces
// entries, and never at or below the commit index (K15, K16).

import "github.com/raftbus/raftbus/raft/rpc"

// appendLog is AppendEntries as received (thesis figure 3.1).
func (c *Core) appendLog(m rpc.Message, cmd *rpc.AppendLogCommand) {
	end := cmd.Prev.Index + rpc.Index(len(cmd.Entries))
	prev, entries := c.skipForgotten(cmd.Prev, cmd.Entries)
	if whole, ok := c.undamaged(prev.Index); !ok {
		c.answer(m, &rpc.AppendLogReturn{Prev: cmd.Prev.Index, Hint: whole, Damaged: true}, 0)
		return
	}
	if !c.log.has(prev) {
		c.answer(m, &rpc.AppendLogReturn{Prev: cmd.Prev.Index, Hint: c.log.mayMatch(prev)}, 0)
		return
	}
	c.repair(entries)
	if !c.adopt(entries) {
		return // as if it were lost on the way: it is sent again
	}
	c.matched = max(c.matched, end)
	c.learnCommit(cmd.Commit)
	c.answer(m, &rpc.AppendLogReturn{Prev: cmd.Prev.Index, Accepted: true, Match: end}, min(end, c.log.last))
}

// skipForgotten drops what lies at or below the log's base: it is committed, so the leader has the same (I4, K24).
func (c *Core) skipForgotten(prev rpc.EntryID, entries []rpc.Entry) (rpc.EntryID, []rpc.Entry) {
	base := c.log.base
	if prev.Index >= base.Index {
		return prev, entries
	}
	skip := min(base.Index-prev.Index, rpc.Index(len(entries)))
	return base, entries[skip:]
}

// adopt adds the entries that the log does not hold yet, replacing a suffix only where it conflicts. It takes none, and says so, while too much
// waits for a disk that is full, or hangs, or is slower than what comes: the leader's window does not bound that, since it sends what comes after
// all that it was told is here.
func (c *Core) adopt(entries []rpc.Entry) bool {
	for i := range entries {
		if c.log.has(entries[i].ID()) {
			continue
		}
		c.must(entries[i].Index > c.commit, "entry %v conflicts with committed %d", entries[i].ID(), c.commit)
		if c.log.crowded(c.limits.unwrittenMax()) {
			return false
		}
		c.extend(entries[i:])
		return true
	}
	return true
}

// learnCommit advances the commit index as far as this node's log is known to match the leader's of this term, whatever
// index it is told (design section 3, K17).
func (c *Core) learnCommit(told rpc.Index) {
	if to := min(told, c.matched); to > c.commit {
		c.setCommit(to)
	}
}

// hearLeader notes a valid message of the leader of this term. Nothing else keeps a follower from campaigning (K7).
func (c *Core) hearLeader(id rpc.NodeID) {
	if c.role == Leader || c.leader != "" && c.leader != id {
		c.broken("%q and %q lead in term %d", c.leader, id, c.hard.Term)
	}
	c.setRole(Follower, "a leader was elected")
	c.setLeader(id, "it spoke")
	c.restartTimer()
	c.somebodyLed()
}
