package raft

// How a transcript tells what cores say and do, one line each.

import (
	"fmt"
	"strings"

	"github.com/raftbus/raftbus/raft/rpc"
)

// effects tells a turn's effects: what leaves now (->), what waits for the disk (~>), what is written and applied.
func (s *script) effects(m *member) {
	for _, f := range m.out.Facts {
		s.tell("  %s %s", m.id, fact(f))
	}
	for _, p := range m.out.Proposed {
		if p.Refusal != Accepted {
			s.tell("  %s refuses proposal %d: %s", m.id, p.Ticket, refusal(p.Refusal))
			continue
		}
		s.tell("  %s logs proposal %d as %v", m.id, p.Ticket, p.ID)
	}
	for _, r := range m.out.Reconfigured {
		if r.Refusal != nil {
			s.tell("  %s refuses change %d: %v", m.id, r.Ticket, r.Refusal)
			continue
		}
		s.tell("  %s logs change %d as %v", m.id, r.Ticket, r.ID)
	}
	for _, msg := range m.out.Send {
		s.tell("  %s -> %s %s", m.id, msg.To, content(msg))
	}
	if w := m.out.Write; w.Seq > 0 {
		s.tell("  %s writes #%d%s%s%s", m.id, w.Seq, base(w.Base), hardState(w.HardState), entries(w.Entries))
	}
	for _, msg := range m.out.SendAfterSync {
		s.tell("  %s ~> %s %s", m.id, msg.To, content(msg))
	}
	s.requests(m)
}

// requests tells what a turn asks of state machine, log and bus, and which reads it answers.
func (s *script) requests(m *member) {
	for _, to := range m.out.Snapshots {
		s.tell("  %s is to stream its state to %s", m.id, to.Peer)
	}
	if in := m.out.Install; in.Snapshot.Index > 0 {
		s.tell("  %s is to put snapshot %v in the place of its state", m.id, in.Snapshot)
	}
	if b := m.out.Compact; b.ID.Index > 0 {
		s.tell("  %s forgets its log up to %v, there in force: %s", m.id, b.ID, configuration(b.Configuration))
	}
	if a := m.out.Apply; a.To > 0 {
		s.tell("  %s applies %d to %d", m.id, a.From, a.To)
	}
	for _, l := range m.out.Loads {
		s.tell("  %s loads %d to %d for %s", m.id, l.From, l.To-1, l.Peer)
	}
	for _, r := range m.out.Reads {
		if r.Refusal != Accepted {
			s.tell("  %s refuses read %d: %s", m.id, r.Ticket, refusal(r.Refusal))
			continue
		}
		s.tell("  %s serves read %d at %d", m.id, r.Ticket, m.core.applied)
	}
	for _, id := range m.out.Pings {
		if id == m.core.leader { // that all are pinged while nobody leads is left out
			s.tell("  %s pings %s", m.id, id)
		}
	}
}

func fact(f Fact) string {
	switch f := f.(type) {
	case RoleChanged:
		return fmt.Sprintf("is %s in term %d: %s", roleName(f.Role), f.Term, f.Reason)
	case LeaderChanged:
		if f.Leader == "" {
			return "knows no leader: " + f.Reason
		}
		return fmt.Sprintf("follows %s: %s", f.Leader, f.Reason)
	case PeerStuck:
		return fmt.Sprintf("cannot help %s: entry %d is forgotten", f.Peer, f.Next)
	case ConfigurationChanged:
		if f.Committed {
			return "knows committed: " + configuration(f.Configuration)
		}
		return "counts by " + configuration(f.Configuration)
	case RosterChanged:
		return "listens to " + nameList(f.Members)
	case TransferEnded:
		return fmt.Sprintf("does not hand over to %s: %s", f.To, f.Reason)
	case SnapshotInstalled:
		return fmt.Sprintf("has snapshot %v for its state", f.Snapshot)
	}
	return fmt.Sprint(f)
}

func roleName(r Role) string {
	if r == PreCandidate {
		return "pre-candidate"
	}
	return r.String()
}

func refusal(r Refusal) string {
	return map[Refusal]string{RefusedNotLeader: "not the leader", RefusedBusy: "busy"}[r]
}

func hardState(hs *rpc.HardState) string {
	switch {
	case hs == nil:
		return ""
	case hs.Vote == "":
		return fmt.Sprintf(" term %d", hs.Term)
	}
	return fmt.Sprintf(" term %d, vote %s", hs.Term, hs.Vote)
}

// entries names entries by term/index; a run of one term by its ends.
func entries(list []rpc.Entry) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for !configures(list[i]) && j+1 < len(list) && list[j+1].Term == list[i].Term && !configures(list[j+1]) {
			j++
		}
		fmt.Fprintf(&b, " [%v", list[i].ID())
		if j > i {
			fmt.Fprintf(&b, "..%d", list[j].Index)
		}
		if configures(list[i]) {
			fmt.Fprintf(&b, ": %s", configuration(decoded(list[i])))
		}
		b.WriteString("]")
		i = j + 1
	}
	return b.String()
}

// content tells a message: its term, its kind, and what it says.
func content(m rpc.Message) string { return fmt.Sprintf("t%d %s", m.Term, body(m.Body)) }

func body(b rpc.Body) string {
	switch b := b.(type) {
	case *rpc.HeartbeatCommand:
		return fmt.Sprintf("Heartbeat commit %d read %d", b.Commit, b.Read)
	case *rpc.HeartbeatReturn:
		return fmt.Sprintf("Heartbeat ok read %d, matches to %d", b.Read, b.Last)
	case *rpc.AppendLogCommand:
		return fmt.Sprintf("AppendLog after %v%s commit %d", b.Prev, entries(b.Entries), b.Commit)
	case *rpc.AppendLogReturn:
		if b.Accepted {
			return fmt.Sprintf("AppendLog ok, matches to %d", b.Match)
		}
		return fmt.Sprintf("AppendLog refused after %d, try %v", b.Prev, b.Hint)
	case *rpc.CommitLogCommand:
		return fmt.Sprintf("CommitLog %d", b.Commit)
	case *rpc.CommitLogReturn:
		return fmt.Sprintf("CommitLog ok %d", b.Commit)
	case *rpc.RequestVoteCommand:
		return fmt.Sprintf("%s? log ends at %v%s", kind(b.PreVote), b.Last, why(b))
	case *rpc.RequestVoteReturn:
		return fmt.Sprintf("%s %s", kind(b.PreVote), map[bool]string{true: "yes", false: "no"}[b.Granted])
	}
	return seldom(b)
}

func kind(pre bool) string {
	if pre {
		return "PreVote"
	}
	return "Vote"
}

func why(c *rpc.RequestVoteCommand) string {
	switch {
	case c.Early:
		return ", early"
	case c.Transfer:
		return ", its leader told it to"
	}
	return ""
}

// show tells the logs as they are in memory and on disk, or the status.
func (s *script) show(what string, words []string) {
	for _, m := range s.list {
		if len(words) > 0 && words[0] != string(m.id) {
			continue
		}
		switch {
		case m.core == nil:
			s.tell("%s is down, on disk%s%s", m.id, after(m.disk.base), entries(m.disk.log))
		case what == "log":
			s.tell("%s memory%s%s, on disk%s%s, synced %d, committed %d, applied %d",
				m.id, after(m.core.log.base), runsOf(&m.core.log), after(m.disk.base), entries(m.disk.log), m.core.log.synced, m.core.commit, m.core.applied)
		default:
			st := m.core.Status()
			s.tell("%s %s term %d vote %q leader %q committed %d", m.id, roleName(st.Role), st.Term, st.Vote, st.Leader, st.Commit)
		}
	}
}

func runsOf(l *raftLog) string {
	var list []rpc.Entry
	for i := l.base.Index + 1; i <= l.last; i++ {
		t, _ := l.term(i)
		list = append(list, rpc.Entry{Index: i, Term: t})
	}
	return entries(list)
}
