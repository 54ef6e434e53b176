package raft

// The watcher holds a cluster to the promises of the fault model (section 2), across nodes and across time. It sees every
// turn, every message as it leaves and every entry as it is applied; it knows cores from outside, but for their logs.

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
)

// ballot is one node's vote in one term.
type ballot struct {
	voter    rpc.NodeID
	instance rpc.InstanceID
	term     rpc.Term
}

// slot is what the log was when an entry was made: the term before it, and its content.
type slot struct {
	before rpc.Term
	data   string
}

type watcher struct {
	t         testing.TB
	c         *cluster
	leaders   map[rpc.Term]rpc.NodeID
	votes     map[ballot]rpc.NodeID
	slots     map[rpc.EntryID]slot
	committed []rpc.EntryID        // in order, from index 1
	offices   []rpc.Term           // in which each of them was committed, in order
	asked     map[uint64]rpc.Index // read tickets: what was committed anywhere when they were asked
	served    int                  // reads
	installed int                  // snapshots
	changes   int                  // configurations begun by leaders
	rested    int                  // turns of ticks that were said to do nothing
	lost      map[rpc.Member]*disk // as they were when they were lost
	proposed  map[uint64]Proposed
	reach     reach
}

func newWatcher(t testing.TB, c *cluster) *watcher {
	return &watcher{
		t: t, c: c, leaders: map[rpc.Term]rpc.NodeID{}, votes: map[ballot]rpc.NodeID{}, slots: map[rpc.EntryID]slot{},
		lost: map[rpc.Member]*disk{}, asked: map[uint64]rpc.Index{}, proposed: map[uint64]Proposed{},
	}
}

// broken is what the watcher panics with, so that it can be caught together with the core's own InvariantError.
type broken string

func (w *watcher) must(holds bool, promise, format string, args ...any) {
	if !holds {
		panic(broken(promise + ": " + fmt.Sprintf(format, args...)))
	}
}

// asks notes a read before the core hears of it.
func (w *watcher) asks(e Event) {
	if r, ok := e.(ReadIndex); ok {
		w.asked[r.Ticket] = rpc.Index(len(w.committed))
	}
}

// turned checks one turn of a node against the state before it.
func (w *watcher) turned(m *member, before Status) {
	after := m.core.Status()
	w.must(after.Term >= before.Term && after.Commit >= before.Commit && after.Applied >= before.Applied, "I8",
		"%s went back from %+v to %+v", m.id, before, after)
	w.must(after.Term > before.Term || before.Vote == "" || after.Vote == before.Vote, "I7",
		"%s voted for %q after %q in term %d", m.id, after.Vote, before.Vote, after.Term)
	w.writes(m, before)
	if after.Role == Leader {
		w.leads(m, after)
	}
	if after.Role == Leader || before.Role == Leader { // it may commit and step down in one turn
		term := after.Term
		if before.Role == Leader {
			term = before.Term
		}
		w.decides(m, term, before.Last, after.Commit)
	}
	w.commits(m, before.Commit, after.Commit)
	for _, p := range m.out.Proposed {
		w.proposed[p.Ticket] = p
	}
	for _, r := range m.out.Reads {
		w.must(r.Refusal != Accepted || after.Applied >= w.asked[r.Ticket], "C3",
			"%s serves a read at %d, asked when %d was committed", m.id, after.Applied, w.asked[r.Ticket])
		if r.Refusal == Accepted {
			w.served++
			w.reach.note(readInPastTerm, w.past(before.Term))
		}
	}
	w.reaches(m, &before, &after)
}

// ticked holds the core to what it said of the ticks that were to come.
func (w *watcher) ticked(m *member, events []Event) {
	isTick := func(e Event) bool { _, is := e.(Tick); return is }
	onlyTicks := !slices.ContainsFunc(events, func(e Event) bool { return !isTick(e) })
	if onlyTicks && len(events) <= m.quiet {
		w.rested++
		w.must(reflect.DeepEqual(*m.out, Effects{}), "Quiet", "%s was to be quiet for %d ticks, and did after %d: %+v", m.id, m.quiet, len(events), *m.out)
		w.must(m.core.Quiet() >= m.quiet-len(events), "Quiet", "%s was to be quiet for %d ticks, and after %d is for %d more", m.id, m.quiet, len(events), m.core.Quiet())
	}
	m.quiet = m.core.Quiet()
}

// writes checks what a turn gave to the disk: I2, I3, and that nothing committed is replaced (I8).
func (w *watcher) writes(m *member, before Status) {
	list := m.out.Write.Entries
	if len(list) == 0 {
		return
	}
	first := list[0].Index
	w.must(first > before.Commit, "I8", "%s replaces its log from %d, committed is %d", m.id, first, before.Commit)
	w.must(before.Role != Leader || w.leaders[before.Term] != m.id || m.core.hard.Term != before.Term || first > before.Last, "I2",
		"%s leads term %d and replaces its log from %d", m.id, before.Term, first)
	prev, _ := m.core.log.term(first - 1)
	for _, e := range list {
		was, known := w.slots[e.ID()]
		now := slot{prev, string(e.Data)}
		w.must(!known || was == now, "I3", "%s holds %v as %+v, elsewhere it is %+v", m.id, e.ID(), now, was)
		w.slots[e.ID()] = now
		prev = e.Term
		if e.Kind == rpc.EntryConfiguration {
			w.reconfigures(m, decoded(e))
		}
	}
}

// reconfigures checks a step from one configuration to the next as it enters a log (I11): majorities before and after meet.
func (w *watcher) reconfigures(m *member, next rpc.Configuration) {
	h := m.core.members.history
	i := slices.IndexFunc(h, func(p placed) bool { return p.at == next.Index })
	if i < 1 {
		return // the base took its place within the turn
	}
	before := h[i-1].conf
	if before.Index >= next.Index {
		return // a node that joined began with a configuration from further on
	}
	switch {
	case next.Joint():
		w.must(!before.Joint() && slices.Equal(next.Outgoing, before.Voters), "I11", "%s goes from %+v to %+v", m.id, before, next)
	case before.Joint():
		w.must(slices.Equal(next.Voters, before.Voters), "I11", "%s goes from %+v to %+v", m.id, before, next)
	default:
		w.must(differ(before.Voters, next.Voters) <= 1, "I11", "%s goes from %+v to %+v in one step", m.id, before, next)
	}
	if m.core.role == Leader && next.Index >= m.core.office.first {
		w.changes++
		w.must(h[i-1].at <= m.core.commit && m.core.commit >= m.core.office.first, "I11",
			"%s begins a change at %d, committed %d, the one before is at %d", m.id, next.Index, m.core.commit, h[i-1].at)
	}
}

func differ(a, b []rpc.Member) (n int) {
	for _, m := range a {
		if !slices.Contains(b, m) {
			n++
		}
	}
	for _, m := range b {
		if !slices.Contains(a, m) {
			n++
		}
	}
	return n
}

// installs checks a snapshot as it becomes the state: it is of the one history there is (I5, I13).
func (w *watcher) installs(m *member, id rpc.EntryID) {
	w.must(id.Index <= rpc.Index(len(w.committed)) && w.committed[id.Index-1] == id, "I5", "%s installs a snapshot of %v, which is not what was committed", m.id, id)
	w.must(id.Index > m.applied, "I8", "%s goes back from %d to a snapshot of %v", m.id, m.applied, id)
	w.installed++
	w.reach.note(tailAgainstSnapshot, m.core.log.last > id.Index && !m.core.log.has(id))
	w.reach.note(snapshotInJoint, slices.ContainsFunc(w.c.list, func(m *member) bool { return m.core != nil && m.core.conf.Joint() }))
}

// leads checks a node that leads: I1, and I4 when it begins.
func (w *watcher) leads(m *member, now Status) {
	other, known := w.leaders[now.Term]
	w.must(!known || other == m.id, "I1", "%s and %s lead in term %d", m.id, other, now.Term)
	w.leaders[now.Term] = m.id
	w.reach.note(electionInJoint, !known && m.core.conf.Joint())
	w.reach.note(twoLeaders, !known && w.lead() > 1)
	w.must(known || w.elected(m, now.Term), "I1", "%s leads term %d without the votes of a quorum of %+v", m.id, now.Term, m.core.conf)
	if n := sort.Search(len(w.offices), func(i int) bool { return w.offices[i] >= now.Term }); !known && n > 0 {
		w.must(m.core.log.has(w.committed[n-1]) || rpc.Index(n) < now.Base, "I4", "%s leads term %d without %v", m.id, now.Term, w.committed[n-1])
	}
}

// elected reports whether a majority of every voter set has voted for a node, each member on the very disk that is named.
func (w *watcher) elected(m *member, term rpc.Term) bool {
	for _, set := range [][]rpc.Member{m.core.conf.Voters, m.core.conf.Outgoing} {
		n := 0
		for _, v := range set {
			self := v == rpc.Member{ID: m.id, Instance: m.instance} && m.disk.hard == rpc.HardState{Term: term, Vote: m.id}
			if self || w.votes[ballot{v.ID, v.Instance, term}] == m.id {
				n++
			}
		}
		if len(set) > 0 && 2*n <= len(set) {
			return false
		}
	}
	return true
}

// decides checks what a leader commits before anybody else does: I6 and I9.
func (w *watcher) decides(m *member, office rpc.Term, last, upTo rpc.Index) {
	from := rpc.Index(len(w.committed))
	if upTo <= from {
		return
	}
	term, _ := m.core.log.term(upTo)
	w.must(term == office, "I6", "%s commits %d/%d as leader of term %d", m.id, term, upTo, office)
	first, _ := m.core.log.term(from + 1)
	w.reach.note(oldTermCommitted, first < office)
	for i := from + 1; i <= upTo; i++ {
		t, _ := m.core.log.term(i)
		w.committed, w.offices = append(w.committed, rpc.EntryID{Term: t, Index: i}), append(w.offices, office)
	}
	id := rpc.EntryID{Term: term, Index: upTo}
	// The one in force when it was counted: as the turn began, or as it ended.
	then := m.core.members.history[m.core.members.committedBy(last)].conf
	w.must(w.durable(id, &then) || w.durable(id, &m.core.conf), "I9", "%s commits %v, no quorum holds it durably", m.id, id)
}

// durable reports whether a majority of every voter set has an entry on its disk, or had until the disk was lost: its ack may
// have been under way.
func (w *watcher) durable(id rpc.EntryID, conf *rpc.Configuration) bool {
	for _, set := range [][]rpc.Member{conf.Voters, conf.Outgoing} {
		n := 0
		for _, v := range set {
			d := w.lost[v]
			if m := w.c.node(v.ID); m.instance == v.Instance {
				d = &m.disk
			}
			if d != nil && d.holds(id) {
				n++
			}
		}
		if len(set) > 0 && 2*n <= len(set) {
			return false
		}
	}
	return true
}

// commits checks what a node takes for committed against what was committed first, by a leader.
func (w *watcher) commits(m *member, from, upTo rpc.Index) {
	w.must(upTo <= rpc.Index(len(w.committed)) || upTo == from, "I5", "%s takes %d for committed, no leader did", m.id, upTo)
	for i := from + 1; i <= upTo; i++ {
		t, ok := m.core.log.term(i)
		w.must(!ok || t == w.committed[i-1].Term, "I5", "%s takes %d/%d for committed, it is %v", m.id, t, i, w.committed[i-1])
	}
}

// applies checks an entry as the state machine takes it.
func (w *watcher) applies(m *member, i rpc.Index, e rpc.Entry, durable bool) {
	id := w.committed[i-1]
	w.must(durable, "I10", "%s applies %v, its own log does not hold it durably", m.id, id)
	w.must(e.ID() == id && string(e.Data) == w.slots[id].data, "I5", "%s applies %v as %v %q", m.id, id, e.ID(), e.Data)
}

// leaves checks that what a message attests is durable when it leaves (I10), and that no node votes twice (I7).
func (w *watcher) leaves(m *member, msg rpc.Message) {
	d := &m.disk
	switch body := msg.Body.(type) {
	case *rpc.RequestVoteCommand:
		if !body.PreVote {
			w.ballot(m, msg.Term, m.id)
		}
		return
	case *rpc.RequestVoteReturn:
		if body.Granted && !body.PreVote {
			w.ballot(m, msg.Term, msg.To)
		}
		if body.PreVote && body.Granted {
			return // attests nothing
		}
	case *rpc.InstallSnapshotReturn:
		held := d.base.Index
		if last := d.last().Index; last > held {
			held = last
		}
		w.must(!body.Installed || held >= body.Snapshot.Index && max(m.kept, m.applied) >= d.base.Index, "I10", "%s says it holds %v, its disk ends at %d", m.id, body.Snapshot, held)
	case *rpc.AppendLogReturn:
		w.must(!body.Accepted || len(d.bad) == 0 || body.Match < d.bad[0].Index, "D3", "%s acknowledges %d, its disk has lost %v", m.id, body.Match, d.bad)
		if body.Accepted && d.hard.Term == msg.Term {
			w.attested(m, msg, body.Match)
		}
	}
	w.must(d.hard.Term >= msg.Term, "I10", "%s speaks in term %d, its disk knows %d", m.id, msg.Term, d.hard.Term)
}

// ballot notes a vote as it leaves. A vote in a term that the disk is past can never be given again.
func (w *watcher) ballot(m *member, term rpc.Term, to rpc.NodeID) {
	hs, key := m.disk.hard, ballot{m.id, m.instance, term}
	w.must(hs.Term > term || hs == rpc.HardState{Term: term, Vote: to}, "I10", "%s votes for %s in term %d, its disk holds %+v", m.id, to, term, hs)
	w.must(len(m.disk.bad) == 0, "D3", "%s votes for %s in term %d, its disk has lost %v", m.id, to, term, m.disk.bad)
	was, voted := w.votes[key]
	w.must(!voted || was == to, "I7", "%s votes for %s and %s in term %d", m.id, was, to, term)
	w.votes[key] = to
}

// attested checks an ack against the log of the leader it goes to, while that still leads.
func (w *watcher) attested(m *member, msg rpc.Message, match rpc.Index) {
	w.must(m.disk.last().Index >= match, "I10", "%s acknowledges %d, its disk ends at %v", m.id, match, m.disk.last())
	leader := w.c.node(msg.To).core
	if leader == nil || leader.role != Leader || leader.hard.Term != msg.Term {
		return
	}
	term, ok := leader.log.term(match)
	w.must(!ok || m.disk.holds(rpc.EntryID{Term: term, Index: match}), "I10", "%s acknowledges %d/%d, its disk holds another", m.id, term, match)
}
