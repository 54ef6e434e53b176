package sim

// What leaves a node: I10, that it attests nothing which is not durable, and I7, that there is one vote per instance and term.

import (
	"github.com/raftbus/raftbus/raft/rpc"
)

// ballot is a vote: whose, and in which term.
type ballot struct {
	voter rpc.InstanceID
	term  rpc.Term
}

// leaves checks a message of consensus as it is sent.
func (w *watcher) leaves(p *process, to rpc.NodeID, term rpc.Term, body rpc.Body) {
	if p.spy.writes && (p.spy.stops || !p.spy.synced) {
		w.wrote(p.node)
		p.spy.synced = true
	}
	hard, lost := p.node.mirror.HardState, p.node.mirror.Damaged
	switch b := body.(type) {
	case *rpc.RequestVoteCommand:
		if b.PreVote {
			return // changes nothing, attests nothing
		}
		w.world.must(w.voters[p.member()], "I12", "%v campaigns in term %d, and never was a voter", p, term)
		w.world.must(len(lost) == 0, "D3", "%v campaigns, and its log has lost %v", p, lost)
		w.vote(p, term, p.node.id)
	case *rpc.RequestVoteReturn:
		if b.Granted && b.PreVote {
			return
		}
		if b.Granted {
			w.world.must(len(lost) == 0, "D3", "%v votes, and its log has lost %v", p, lost)
			w.vote(p, term, to)
		}
	case *rpc.AppendLogCommand:
		w.sends(p, b)
	case *rpc.InstallSnapshotCommand:
		w.carried(p, b)
		w.streamed[b.Snapshot] = term
	case *rpc.AppendLogReturn:
		if b.Accepted {
			w.world.must(len(lost) == 0 || b.Match < lost[0].Index, "D3", "%v acknowledges %d, and its log has lost %v", p, b.Match, lost)
			w.acknowledges(p, to, term, b.Match)
		}
	}
	w.world.must(hard.Term >= term, "I10", "%v speaks in term %d (%T), its disk knows %d", p, term, body, hard.Term)
}

// vote notes a vote as it leaves. One in a term that the disk is past can never be given again.
func (w *watcher) vote(p *process, term rpc.Term, candidate rpc.NodeID) {
	hard, key := p.node.mirror.HardState, ballot{p.folder.Instance, term}
	w.world.must(hard.Term > term || hard == rpc.HardState{Term: term, Vote: candidate},
		"I10", "%v votes for %s in term %d, its disk holds %+v", p, candidate, term, hard)
	was, voted := w.votes[key]
	if p.node.ruined == old {
		return // it cannot know; nobody may count it
	}
	w.world.must(!voted || was == candidate, "I7", "%v votes for %s and %s in term %d", p, was, candidate, term)
	w.votes[key] = candidate
}

// sends checks the entries that a leader sends against what is known of them (I3).
func (w *watcher) sends(p *process, b *rpc.AppendLogCommand) {
	before := b.Prev.Term
	for i := range b.Entries {
		e := &b.Entries[i]
		w.slot(p.node.id, e.ID(), before, sumOf(e))
		before = e.Term
	}
}

// acknowledges checks an ack against the disk, and against the log of the leader it goes to: what it holds there must be what
// the leader sent. One of a term that the disk is past is of a moment before that: what it attests may have been replaced by the very
// append that it waited for.
func (w *watcher) acknowledges(p *process, to rpc.NodeID, term rpc.Term, match rpc.Index) {
	m := &p.node.mirror
	if m.HardState.Term != term {
		return
	}
	w.world.must(m.Last.Index >= match, "I10", "%v acknowledges %d, its disk ends at %v", p, match, m.Last)
	leader := w.world.nodes[to]
	if leader == nil || w.leaders[term].ID != to || leader.mirror.Last.Term != term {
		return // the leader has not written an entry of its own yet
	}
	theirs, ours := leader.mirror.term(match), m.term(match)
	w.world.must(theirs == 0 || ours == 0 || theirs == ours, "I10", "%v acknowledges %d/%d, its disk holds %d/%d", p, theirs, match, ours, match)
}
