package raft

// Membership (thesis 4): which configuration is in force, and how a leader changes it. A configuration is in force from the
// moment its entry is in the log, committed or not, and no longer when the entry is replaced (K37, K39). Nothing is decided here
// by who answers but whether a change is begun.

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/raftbus/raftbus/raft/rpc"
)

// placed is a configuration and where in the log it stands. The one at the log's base may stand before it.
type placed struct {
	at   rpc.Index
	conf rpc.Configuration
}

// membership is what the core knows of who belongs to the cluster.
type membership struct {
	history []placed           // rising: the one at the log's base, then one for each configuration entry
	learned *rpc.Configuration // a later committed one that a peer showed: says whom to listen to, and nothing else
	roster  []rpc.Member       // who is listened to, in order of id
}

// Refusals of Reconfigure: none of them changed anything. The texts that wrap them name what is wrong and what to do.
var (
	// ErrNotLeader: this node does not lead, or hands over: ask the leader.
	ErrNotLeader = errors.New("this node does not lead")
	// ErrChangeUnderWay: an earlier change is not through, or a new leader has not committed anything yet: try again soon.
	ErrChangeUnderWay = errors.New("another membership change is under way")
	// ErrStale: the configuration is not the one that whoever asks has seen: look again.
	ErrStale = errors.New("the members have changed meanwhile")
	// ErrNoChange: all of it is so already.
	ErrNoChange = errors.New("nothing to change")
	// ErrUnsafe: the cluster would lose its quorum by it.
	ErrUnsafe = errors.New("the cluster would lose its quorum")
	// ErrBadChange: it contradicts itself or the bounds.
	ErrBadChange = errors.New("not a possible change")
)

// inForce is the latest configuration of the log.
func (m *membership) inForce() *placed { return &m.history[len(m.history)-1] }

// committedBy is the latest configuration at or below a commit index.
func (m *membership) committedBy(commit rpc.Index) int {
	n := len(m.history) - 1
	for n > 0 && m.history[n].at > commit {
		n--
	}
	return n
}

// mayLead reports whether this node is a voter, or was before a change that is not known to be committed: its log may be the only
// one that can win, and then it must lead until the change is through, without a vote of its own (thesis 4.2.2). Another
// instance under its id, in the past that a joining node reads, is somebody else.
func (m *membership) mayLead(self rpc.Member, commit rpc.Index) bool {
	return slices.ContainsFunc(m.history[m.committedBy(commit):], func(p placed) bool {
		return slices.Contains(p.conf.Voters, self) || slices.Contains(p.conf.Outgoing, self)
	})
}

// loadConfigurations takes what the log holds at the start: the last of it is in force, committed or not (K10, K41).
func (c *Core) loadConfigurations(list []rpc.Configuration) {
	for i := range list {
		at := list[i].Index
		if i == 0 {
			at = min(at, c.log.base.Index) // a node that joined begins with a configuration from further on
		}
		c.members.history = append(c.members.history, placed{at, list[i]})
	}
	if list[0].Index > c.log.base.Index {
		c.members.learned = &list[0] // until its own log says so: those whom the log's beginning speaks of may be gone
	}
	c.enforce()
}

// extend adds entries to the log, and follows what that does to the configuration.
func (c *Core) extend(entries []rpc.Entry) {
	c.damage.replaced(entries[0].Index)
	c.log.append(entries)
	h := c.members.history
	for len(h) > 1 && h[len(h)-1].at >= entries[0].Index {
		h = h[:len(h)-1] // its entry is replaced, and so is what it said (K37)
	}
	changed := len(h) != len(c.members.history)
	for i := range entries {
		if entries[i].Kind == rpc.EntryConfiguration {
			h = append(h, placed{entries[i].Index, c.decode(&entries[i])})
			changed = true
		}
	}
	if c.members.history = h; changed {
		c.enforce()
	}
}

func (c *Core) decode(e *rpc.Entry) rpc.Configuration {
	conf, err := rpc.DecodeConfiguration(e.Data)
	if err != nil || conf.Index != e.Index || len(conf.Voters) == 0 {
		c.broken("entry %v holds no configuration of its index: %v, %+v", e.ID(), err, conf)
	}
	return conf
}

// enforce makes the latest configuration of the log the one that counts.
func (c *Core) enforce() {
	now := c.members.inForce()
	c.conf = now.conf
	c.quorum = newQuorum(&c.conf, c.self)
	old := c.peers
	c.peers = nil
	for _, m := range c.conf.Members() {
		if m.ID != c.id {
			c.peers = append(c.peers, m)
		}
	}
	for _, m := range old {
		if !slices.Contains(c.peers, m) {
			c.dropPeer(m.ID)
		}
	}
	c.enroll()
	if c.role == Leader {
		c.meetPeers()
		c.confirmReads() // those who answered may be enough now, and there may be nobody left to answer
	}
	c.fact(ConfigurationChanged{Configuration: c.conf, Committed: now.at <= c.commit})
}

// dropPeer forgets what was known of a member that left, or of the instance that another one replaces: what the old one held
// says nothing of the new one.
func (c *Core) dropPeer(id rpc.NodeID) {
	delete(c.office.peers, id)
	delete(c.election.votes, id)
	delete(c.election.leaderless, id)
}

// enroll works out who is listened to: the members of every configuration that may yet count, from the latest committed one
// to the one in force, of the one that was learned if it is later, and the leader. Of two instances of one member the later one
// speaks.
func (c *Core) enroll() {
	list := slices.Clone(c.members.history[c.members.committedBy(c.commit):])
	if l := c.members.learned; l != nil && l.Index > list[0].at {
		list = append(list, placed{l.Index, *l})
		slices.SortStableFunc(list, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	}
	roster := map[rpc.NodeID]rpc.Member{}
	for _, p := range list {
		for _, m := range p.conf.Members() {
			roster[m.ID] = m
		}
	}
	if _, listed := roster[c.leader]; !listed {
		// Removed, but followed: it hands over, and until then its heartbeats keep the peace (thesis 4.2.2).
		for _, m := range c.members.roster {
			if m.ID == c.leader {
				roster[m.ID] = m
			}
		}
	}
	delete(roster, c.id)
	now := make([]rpc.Member, 0, len(roster))
	for _, m := range roster {
		now = append(now, m)
	}
	sortByID(now)
	if slices.Equal(now, c.members.roster) {
		return
	}
	for _, m := range c.members.roster {
		if !slices.Contains(now, m) {
			delete(c.election.links, m.ID) // not sooner: a change that is reverted finds the link as it was
		}
	}
	c.members.roster = now
	c.fact(RosterChanged{Members: now})
}

// learn takes a committed configuration that a peer showed. It changes whom this node listens to, never what counts.
func (c *Core) learn(conf rpc.Configuration) {
	known := c.members.history[c.members.committedBy(c.commit)].at
	if l := c.members.learned; l != nil {
		known = max(known, l.Index)
	}
	if conf.Index > known && conf.Cluster == c.cluster() {
		c.members.learned = &conf
		c.enroll()
	}
}

// listens reports whether a message comes from somebody who may speak: a stranger neither counts nor disturbs (K9, K40), and of
// a member only the instance that its configuration names (D3, K11).
func (c *Core) listens(m *rpc.Message) bool {
	list := c.members.roster
	if m.Body.IsReturn() {
		list = c.peers // an answer counts by the configuration in force
	}
	return slices.Contains(list, rpc.Member{ID: m.From, Instance: m.Instance})
}

// cluster is the id that every configuration carries.
func (c *Core) cluster() rpc.ClusterID { return c.members.history[0].conf.ClusterID() }

// noteCommitted tells of a configuration that is committed now.
func (c *Core) noteCommitted(before rpc.Index) {
	n := c.members.committedBy(c.commit)
	if p := &c.members.history[n]; p.at > before {
		c.fact(ConfigurationChanged{Configuration: p.conf, Committed: true})
		c.enroll()
	}
}

// rebase forgets configurations that are older than the one in force at the log's base.
func (m *membership) rebase(base rpc.Index) {
	if n := m.committedBy(base); n > 0 {
		m.history = slices.Clone(m.history[n:])
	}
}

// ConfigurationAt is the configuration in force at an index that is committed, and not below the log's base.
func (c *Core) ConfigurationAt(i rpc.Index) rpc.Configuration {
	return c.own(c.members.history[c.members.committedBy(i)].conf)
}

// Committed is the latest configuration known to be committed.
func (c *Core) Committed() rpc.Configuration { return c.ConfigurationAt(c.commit) }

// own makes a configuration say of which cluster it is: only the table at index 0 does not.
func (c *Core) own(conf rpc.Configuration) rpc.Configuration {
	conf.Cluster = c.cluster()
	return conf
}

// --- a leader's changes

// reconfigure begins a change, or says why not.
func (c *Core) reconfigure(e Reconfigure) {
	answer := Reconfigured{Ticket: e.Ticket}
	if answer.Refusal = c.mayChange(e.Change.If); answer.Refusal == nil {
		next, err := c.change(e.Change)
		if answer.Refusal = err; err == nil {
			answer.ID = c.logConfiguration(next)
		}
	}
	c.out.Reconfigured = append(c.out.Reconfigured, answer)
}

// mayChange: one change at a time (I11), and none before this office has committed an entry: two leaders that each begin one
// could else have quorums that do not meet (K36).
func (c *Core) mayChange(seen *rpc.Index) error {
	now := c.members.inForce()
	switch {
	case c.role != Leader:
		return ErrNotLeader
	case c.office.transfer.active():
		return fmt.Errorf("%w: it hands over to %s", ErrNotLeader, c.office.transfer.to)
	case c.commit < c.office.first:
		return fmt.Errorf("%w: this leader was just elected", ErrChangeUnderWay)
	case now.at > c.commit || now.conf.Joint():
		return fmt.Errorf("%w: the one at %d", ErrChangeUnderWay, now.at)
	case seen != nil && *seen != now.conf.Index:
		return fmt.Errorf("%w: they are those of index %d now, not %d: list the members and decide again", ErrStale, now.conf.Index, *seen)
	}
	return nil
}

// change works out the configuration that a change leads to, and holds it to be one that the cluster survives.
func (c *Core) change(e Change) (rpc.Configuration, error) {
	next := rpc.Configuration{Voters: slices.Clone(c.conf.Voters), Learners: slices.Clone(c.conf.Learners)}
	for i, id := range e.Remove {
		if slices.Contains(e.Remove[:i], id) || slices.ContainsFunc(e.Add, func(m rpc.Member) bool { return m.ID == id }) {
			return next, fmt.Errorf("%w: %s is named twice", ErrBadChange, id)
		}
		next.Voters, next.Learners = without(next.Voters, id), without(next.Learners, id)
	}
	for i, m := range e.Add {
		if slices.ContainsFunc(e.Add[:i], func(o rpc.Member) bool { return o.ID == m.ID }) {
			return next, fmt.Errorf("%w: %s is named twice", ErrBadChange, m.ID)
		}
		if old, ok := next.Member(m.ID); ok && old == m {
			continue
		}
		if !m.ID.Valid() { // else nobody could read the entry, this node neither
			return next, fmt.Errorf("%w: node id %q: use 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", ErrBadChange, m.ID)
		}
		if m.ID == c.id {
			return next, fmt.Errorf("%w: %s leads the cluster, so its disk is not lost", ErrBadChange, m.ID)
		}
		next.Voters, next.Learners = without(next.Voters, m.ID), append(without(next.Learners, m.ID), m)
	}
	return next, c.judge(&next)
}

func without(list []rpc.Member, id rpc.NodeID) []rpc.Member {
	return slices.DeleteFunc(list, func(m rpc.Member) bool { return m.ID == id })
}

// judge refuses a configuration that changes nothing, is impossible, or has no majority that answers.
func (c *Core) judge(next *rpc.Configuration) error {
	sortByID(next.Voters)
	sortByID(next.Learners)
	switch {
	case slices.Equal(next.Voters, c.conf.Voters) && slices.Equal(next.Learners, c.conf.Learners):
		return fmt.Errorf("%w: the members are so already", ErrNoChange)
	case len(next.Voters) == 0:
		return fmt.Errorf("%w: no voter would be left", ErrUnsafe)
	case crowd(next) > rpc.ClusterMax && crowd(next) > crowd(&c.conf): // a larger one of an earlier release still changes, and shrinks
		return fmt.Errorf("%w: a cluster has at most %d members, this would be %d: let some leave first, or replace them", ErrBadChange, rpc.ClusterMax, crowd(next))
	case c.joint(next) && slices.ContainsFunc(next.Learners, func(m rpc.Member) bool { return c.conf.Voter(m.ID) }):
		return fmt.Errorf("%w: replace one member's disk at a time, and nothing else together with it", ErrBadChange)
	}
	if silent := c.silent(next.Voters); len(silent) > (len(next.Voters)-1)/2 {
		return fmt.Errorf("%w: of the voters %s that would be left, %s do not answer; start them first",
			ErrUnsafe, rpc.JoinIDs(rpc.IDs(next.Voters)), rpc.JoinIDs(rpc.IDs(silent)))
	}
	return nil
}

func sortByID(list []rpc.Member) {
	slices.SortFunc(list, func(a, b rpc.Member) int { return cmp.Compare(a.ID, b.ID) })
}

// crowd is how many members a configuration has, without those that leave.
func crowd(conf *rpc.Configuration) int { return len(conf.Voters) + len(conf.Learners) }

// silent are those who have not answered within the lowest election timeout.
func (c *Core) silent(voters []rpc.Member) (list []rpc.Member) {
	heard := c.within(uint64(c.ticks.ElectionMin), func(p *progress) uint64 { return p.heard })
	for _, m := range voters {
		if p := c.office.peers[m.ID]; m.ID != c.id && (p == nil || !p.connected || !heard(m.ID)) {
			list = append(list, m)
		}
	}
	return list
}

// joint reports whether the way to next leads over a joint configuration (thesis 4.3). Where one voter comes or goes any two
// majorities meet, before and after, and one step is enough (thesis 4.1).
func (c *Core) joint(next *rpc.Configuration) bool {
	differ := 0
	for _, m := range c.conf.Voters {
		if !slices.Contains(next.Voters, m) {
			differ++
		}
	}
	for _, m := range next.Voters {
		if !slices.Contains(c.conf.Voters, m) {
			differ++
		}
	}
	return differ > 1
}

// logConfiguration logs the next configuration, or the joint one on the way there.
func (c *Core) logConfiguration(next rpc.Configuration) rpc.EntryID {
	if c.joint(&next) {
		next.Outgoing = c.conf.Voters
	}
	next.Cluster, next.Index = c.cluster(), c.log.last+1
	return c.logEntry(rpc.EntryConfiguration, rpc.AppendConfiguration(nil, &next))
}

// goOn takes a leader's change further, at the end of a turn: out of a joint configuration once it is committed, and out of
// office once a configuration without this leader is.
func (c *Core) goOn() {
	now := c.members.inForce()
	if now.at > c.commit || c.commit < c.office.first {
		return
	}
	switch {
	case c.office.transfer.active(): // the log takes no entry while it hands over; what is left to do the successor does, or this node once it has stayed
	case now.conf.Joint():
		c.logEntry(rpc.EntryConfiguration, rpc.AppendConfiguration(nil, &rpc.Configuration{
			Cluster: c.cluster(), Index: c.log.last + 1, Voters: now.conf.Voters, Learners: now.conf.Learners,
		}))
	case !c.quorum.voter(c.id):
		c.transfer("")
		if !c.office.transfer.active() {
			c.follow(c.hard.Term, "", "it is no voter any more")
		}
	}
}

// promote makes learners voters that have caught up (thesis 4.2.1): they got all that was in the log when a round began within an
// election timeout. Who is no voter itself only hands over: it may be one of them, elected by a configuration that it knew as the last.
func (c *Core) promote() {
	if len(c.conf.Learners) == 0 || !c.quorum.voter(c.id) || c.mayChange(nil) != nil {
		return
	}
	next := rpc.Configuration{Voters: slices.Clone(c.conf.Voters)}
	for _, m := range c.conf.Learners {
		p := c.office.peers[m.ID]
		if len(c.silent([]rpc.Member{m})) == 0 && p.keepsUp(c.now, c.log.last, uint64(c.ticks.ElectionMin)) {
			next.Voters = append(next.Voters, m)
		} else {
			next.Learners = append(next.Learners, m)
		}
	}
	if len(next.Voters) > len(c.conf.Voters) && c.judge(&next) == nil {
		c.logConfiguration(next)
	}
}

// keepsUp measures rounds of catching up, and reports whether the last one was short enough.
func (p *progress) keepsUp(now uint64, last rpc.Index, bound uint64) bool {
	if !p.replicating || p.match < p.goal {
		return false
	}
	short := p.goal > 0 && now-p.goalAt <= bound
	p.goal, p.goalAt = last, now
	return short
}
