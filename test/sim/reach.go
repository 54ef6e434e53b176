package sim

// Reach: into which rare situations seeds come. A generator that no longer came into one of them would show nothing there, and fail nowhere: so
// campaigns are held to have come into each (TestSeeds). Nothing here judges a node, or changes what happens.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/raft"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// situation is a rare one, in which other systems have broken promises.
type situation int

const (
	diskLostInJoint         situation = iota
	diskLostBesideLearner             // K12, K20
	startInJoint                      // K41
	electionInJoint                   // K13, K39
	snapshotInJoint                   // K28, F30
	changeReplaced                    // K37
	promotionDeposed                  // K12
	leaderRemovedInTransfer           // K38
	twoLeaders                        // K63
	oldTermCommitted                  // K14
	tailAgainstSnapshot               // K27
	snapshotOfDeposed                 // F29
	readInPastTerm                    // C3
	retryInLaterTerm                  // C4
	answerTooLate                     // C5
	secondAnswer                      // F25
	appendTorn                        // F17, D2
	lostRepaired                      // F18
	twoLost                           // F19
	oldCopyRuns                       // F23
	leaderFull                        // F21
	situations
)

// known says what each is, and within how many seeds there is one: so many that ten came into it, or for the rarest some, when that was written down.
var known = [situations]struct {
	name   string
	within int
}{
	diskLostInJoint:         {"a voter's disk is lost while a joint configuration may be in force", often},
	diskLostBesideLearner:   {"a voter's disk is lost while there is a learner", often},
	startInJoint:            {"a node starts in a joint configuration", often},
	electionInJoint:         {"a leader is elected in a joint configuration", often},
	snapshotInJoint:         {"a snapshot is installed while a joint configuration may be in force", seldom},
	changeReplaced:          {"a change of the members is replaced in a log", often},
	promotionDeposed:        {"a leader is deposed before its promotion of a learner is committed", often},
	leaderRemovedInTransfer: {"a leader's removal is committed while it hands over", seldom},
	twoLeaders:              {"somebody is elected while an earlier leader takes itself for one", often},
	oldTermCommitted:        {"an entry is committed by one of a later term", often},
	tailAgainstSnapshot:     {"the end of a log, never committed, is dropped for a snapshot", seldom},
	snapshotOfDeposed:       {"a snapshot is installed whose sender's term is over", seldom},
	readInPastTerm:          {"a read is confirmed in a term that is over elsewhere", often},
	retryInLaterTerm:        {"a retry is recognised in a later term than the first write", often},
	answerTooLate:           {"somebody is answered who has given up", often},
	secondAnswer:            {"a client that asked twice at once is answered twice", often},
	appendTorn:              {"the power is cut within an append", often},
	lostRepaired:            {"a log is whole again that had lost an entry", often},
	twoLost:                 {"the logs of two have lost entries", often},
	oldCopyRuns:             {"an old copy of a folder is put back", seldom},
	leaderFull:              {"a leader's disk is full", often},
}

const (
	often  = 300   // seeds of a plain 'go test'
	seldom = 2_000 // seeds of a longer campaign
)

// reach is how often there was each, or in how many seeds.
type reach [situations]int

// note counts a situation if it is there.
func (r *reach) note(s situation, is bool) {
	if is {
		r[s]++
	}
}

// add counts a seed in which there was what there was.
func (r *reach) add(seed *reach) {
	for s := range r {
		r.note(situation(s), seed[s] > 0)
	}
}

// lacking are the situations that there should have been in so many seeds, and was none of.
func (r *reach) lacking(seeds int) (list []string) {
	for s, n := range r {
		if n == 0 && seeds >= known[s].within {
			list = append(list, known[s].name)
		}
	}
	return list
}

func (r *reach) String() string {
	var b strings.Builder
	for s, n := range r {
		fmt.Fprintf(&b, "\n\t%6d: %s", n, known[s].name)
	}
	return b.String()
}

// changing reports whether a configuration that is such may be in force somewhere.
func (w *world) changing(such func(*rpc.Configuration) bool) bool {
	return slices.ContainsFunc(w.configurations(), such)
}

func isJoint(c *rpc.Configuration) bool { return c.Joint() }

func hasLearner(c *rpc.Configuration) bool { return len(c.Learners) > 0 }

// past reports whether somebody is in a later term, by the disk.
func (w *watcher) past(term rpc.Term) bool {
	return slices.ContainsFunc(w.world.list, func(n *node) bool { return n.mirror.HardState.Term > term })
}

// reaches notes what a turn has led to.
func (w *watcher) reaches(p *process, before, after *raftnode.Status) {
	r, led, leads := &w.world.reach, before.Role == raft.Leader, after.Role == raft.Leader
	conf := &after.Configuration
	if leads && !led {
		r.note(electionInJoint, conf.Joint())
		r.note(twoLeaders, slices.ContainsFunc(w.world.leaders(), func(o *process) bool { return o != p }))
	}
	if led && !leads {
		r.note(promotionDeposed, !before.Committed && slices.ContainsFunc(w.conf.Learners, func(m rpc.Member) bool { return before.Configuration.Voter(m.ID) }))
	}
	r.note(leaderRemovedInTransfer, led && p.handing > 0 && !before.Committed && after.Committed && !conf.Voter(p.node.id))
}

// reachesLog notes what a write has made of a log, which held the same as before up to an index.
func (w *watcher) reachesLog(n *node, same rpc.Index, now *wal.State) {
	r, m, base := &w.world.reach, &n.mirror, now.Base.ID
	if base.Index > m.Base.ID.Index && n.process.spy.writes { // no compaction, but a snapshot that was installed
		r.note(tailAgainstSnapshot, now.Last == base && m.Last.Index > m.matched)
		return
	}
	r.note(changeReplaced, len(m.Configurations) > 0 && m.Configurations[len(m.Configurations)-1] > max(same, base.Index))
}
