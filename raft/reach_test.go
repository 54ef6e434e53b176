package raft

// Reach: into which rare situations the random histories come. A generator that no longer came into one of them would show nothing there, and fail
// nowhere: so histories are held to have come into each.

import (
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// situation is a rare one, in which other systems have broken promises.
type situation int

const (
	diskLostInJoint situation = iota
	diskLostBesideLearner
	startInJoint
	electionInJoint
	snapshotInJoint
	changeReplaced
	promotionDeposed
	leaderRemovedInTransfer
	twoLeaders
	oldTermCommitted
	majorityReplaced
	tailAgainstSnapshot
	readInPastTerm
	damageGivenAgain
	headWithoutEntries
	someEntries
	situations
)

// known says what each is, and within how many histories there is one: so many that ten or more came into it when that was written down.
var known = [situations]struct {
	name   string
	within int
}{
	diskLostInJoint:         {"a voter's disk is lost while a joint configuration may be in force", atOnce},
	diskLostBesideLearner:   {"a voter's disk is lost while there is a learner", atOnce},
	startInJoint:            {"a node starts in a joint configuration (K41)", atOnce},
	electionInJoint:         {"a leader is elected in a joint configuration (K13)", atOnce},
	snapshotInJoint:         {"a snapshot is installed in a joint configuration (K28)", atOnce},
	changeReplaced:          {"a change of the members is replaced in a log (K37)", atOnce},
	promotionDeposed:        {"a leader is deposed before its promotion of a learner is committed (K12)", inALongRun},
	leaderRemovedInTransfer: {"a leader hands over before its removal is committed (K38)", inALongRun},
	twoLeaders:              {"somebody is elected while an earlier leader takes itself for one (K63)", atOnce},
	oldTermCommitted:        {"an entry is committed by one of a later term (K14)", atOnce},
	majorityReplaced:        {"an entry is replaced that a majority held (figure 8 of the Raft paper, K14)", inALongRun},
	tailAgainstSnapshot:     {"a snapshot contradicts a log that goes further (K27)", atOnce},
	readInPastTerm:          {"a read is confirmed in a term that is over elsewhere (C3)", inALongRun},
	damageGivenAgain:        {"an entry that a disk has lost is given again (F18)", atOnce},
	headWithoutEntries:      {"a hard state is durable before the entries that came with it (F21)", atOnce},
	someEntries:             {"some entries of a write are durable before the rest (F21)", atOnce},
}

const (
	atOnce     = 300   // histories of a plain 'go test'
	inALongRun = 1_500 // histories of a longer run
)

// reach is how often there was each.
type reach [situations]int

// note counts a situation if it is there.
func (r *reach) note(s situation, is bool) {
	if is {
		r[s]++
	}
}

// add counts a history in which there was what there was.
func (r *reach) add(one *reach) {
	for s := range r {
		r.note(situation(s), one[s] > 0)
	}
}

// lacking are the situations that there should have been in so many histories, and was none of.
func (r *reach) lacking(histories int) (list []string) {
	for s, n := range r {
		if n == 0 && histories >= known[s].within {
			list = append(list, known[s].name)
		}
	}
	return list
}

// reaches notes what a turn has led to.
func (w *watcher) reaches(m *member, before, after *Status) {
	c, r := m.core, &w.reach
	members := c.members.history[c.members.committedBy(c.commit):]
	if before.Role == Leader && after.Role != Leader {
		r.note(promotionDeposed, slices.ContainsFunc(members[0].conf.Learners, func(l rpc.Member) bool { return slices.Contains(members[len(members)-1].conf.Voters, l) }))
	}
	r.note(leaderRemovedInTransfer, after.Role == Leader && c.office.transfer.active() && !c.quorum.voter(c.id) && len(members) > 1)
}

// replaces notes what a write is about to replace on a disk.
func (w *watcher) replaces(m *member, by *Write) {
	d := &m.disk
	w.reach.note(damageGivenAgain, len(by.Repairs) > 0)
	if m.core == nil || by.Base != nil || len(by.Entries) == 0 || by.Entries[0].Index > d.last().Index {
		return
	}
	gone := d.log[by.Entries[0].Index-d.base.Index-1:]
	w.reach.note(changeReplaced, slices.ContainsFunc(gone, configures))
	w.reach.note(majorityReplaced, w.durable(gone[0].ID(), &m.core.conf))
}

// past reports whether a term is over for somebody.
func (w *watcher) past(term rpc.Term) bool {
	return slices.ContainsFunc(w.c.list, func(m *member) bool { return m.core != nil && m.core.hard.Term > term })
}

// lead is how many take themselves for the leader.
func (w *watcher) lead() (n int) {
	for _, m := range w.c.list {
		if m.core != nil && m.core.role == Leader {
			n++
		}
	}
	return n
}
