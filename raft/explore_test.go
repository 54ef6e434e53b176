package raft

// All that may happen next, tried out from state to state: three cores without time, on a bus that delivers anything at any
// moment or never, with disks that finish when they like. Small bounds keep the space of states small; where a state is met
// again, what was tried there least often comes next. The watcher holds every state to its promises (fault model, section 7).

import (
	"cmp"
	"flag"
	"slices"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
)

var states = flag.Int("states", 100_000, "how many distinct states to explore")

const (
	walkMax = 120 // events from a root on
	wireMax = 10  // messages under way: the oldest is lost
)

// bounds are how often each thing may yet happen in a walk.
type bounds struct{ campaigns, proposals, beats, crashes, changes, repeats, compactions, wipes uint8 }

// explorer is one walk.
type explorer struct {
	*cluster
	wire []rpc.Message
	left bounds
	work []func() // what may happen next, and moves things on
	more []func() // and what may be put in its way
}

// roots are where walks begin.
func roots() []rpc.Configuration {
	return []rpc.Configuration{
		table("n1", "n2", "n3"),
		{Voters: members("n1", "n2"), Learners: members("n3")},
		{Voters: members("n1", "n2"), Outgoing: members("n2", "n3")},
		{Voters: members("n1"), Outgoing: members("n1", "n2", "n3")},
	}
}

func newExplorer(t testing.TB, conf rpc.Configuration) *explorer {
	x := &explorer{cluster: newCluster(conf)}
	x.left = bounds{campaigns: 3, proposals: 2, beats: 4, crashes: 2, changes: 2, repeats: 1, compactions: 2, wipes: 1}
	x.watch = newWatcher(t, x.cluster)
	x.dice = func(rpc.NodeID) Random { return fixedDice(0) }
	x.cluster.leave = func(m rpc.Message) {
		if x.wire = append(x.wire, m); len(x.wire) > wireMax {
			x.wire = slices.Delete(x.wire, 0, 1)
		}
	}
	for _, m := range x.list {
		x.boot(m)
	}
	return x
}

func (x *explorer) boot(m *member) {
	x.start(m)
	events := []Event{BusChanged{Up: true}}
	for _, peer := range x.list {
		events = append(events, LinkChanged{peer.id, true})
	}
	x.step(m, events...)
}

// step is a turn, and what its driver does at once.
func (x *explorer) step(m *member, events ...Event) {
	x.turn(m, events...)
	if m.core == nil || len(events) == 0 {
		return
	}
	m.pings = nil
	for _, order := range m.out.Snapshots {
		x.stream(m, order.Peer)
	}
	for _, msg := range m.out.Chunks {
		if cmd, ok := msg.Body.(*rpc.InstallSnapshotCommand); ok && (m.staged == nil || m.staged.Snapshot.Index <= m.core.commit && m.core.hardDurable()) {
			m.staged = &SnapshotStored{From: msg.From, Transfer: cmd.Transfer, Snapshot: cmd.Snapshot, Configuration: *cmd.Configuration}
		}
	}
	for _, f := range m.out.Facts {
		if roster, ok := f.(RosterChanged); ok {
			for _, peer := range roster.Members {
				x.turn(m, LinkChanged{peer.ID, true})
			}
		}
	}
}

func (x *explorer) stream(m *member, to rpc.NodeID) {
	at := m.core.log.base
	conf := m.core.ConfigurationAt(at.Index)
	x.part(m, rpc.Message{From: m.id, To: to, Term: m.core.hard.Term, Body: &rpc.InstallSnapshotCommand{
		Snapshot: at, Transfer: 1, Final: true, Configuration: &conf,
	}})
}

// options lists what may happen next, in an order that depends on nothing but the state.
func (x *explorer) options() {
	x.work, x.more = x.work[:0], x.more[:0]
	slices.SortStableFunc(x.wire, func(a, b rpc.Message) int { return cmp.Compare(fingerprint(&a), fingerprint(&b)) })
	for i := range x.wire {
		x.may(true, func() { x.deliver(i, true) })
		x.bounded(&x.left.repeats, true, func() { x.deliver(i, false) })
	}
	for _, m := range x.list {
		switch {
		case m.joins:
			x.may(true, func() { x.join(m) })
		case m.core == nil:
			x.may(true, func() { x.boot(m) })
		default:
			x.optionsOf(m)
		}
	}
}

func (x *explorer) may(can bool, do func()) {
	if can {
		x.work = append(x.work, do)
	}
}

// bounded is what may happen so often only.
func (x *explorer) bounded(left *uint8, can bool, do func()) {
	if can && *left > 0 {
		x.more = append(x.more, func() { *left--; do() })
	}
}

// pick takes one of the options, by what the state is and how often one was picked in it before; nil if there is none.
func (x *explorer) pick(state, times uint64) func() {
	x.options()
	n := state>>11 + times
	list := x.work
	if len(list) == 0 || n%3 == 0 && len(x.more) > 0 {
		list = x.more
	}
	if len(list) == 0 {
		return nil
	}
	return list[(n/3+times)%uint64(len(list))]
}

// lead makes the first node lead, and lets all that follows from it happen.
func (x *explorer) lead() {
	x.campaign(x.list[0])
	for x.options(); len(x.work) > 0 && x.list[0].core.commit == 0; x.options() {
		x.work[0]()
	}
}

// optionsOf are those of a node that is up.
func (x *explorer) optionsOf(m *member) {
	x.may(len(m.disk.queue) > 0, func() { x.step(m, x.sync(m, 1)...) })
	x.may(m.busy.To > 0, func() { x.step(m, x.apply(m)...) })
	x.may(m.staged != nil && m.staged.Snapshot.Index > m.core.commit && !m.core.install.active, func() { x.step(m, *m.staged) })
	x.may(m.install.Snapshot.Index > 0 && m.busy.To == 0, func() { x.step(m, x.restore(m)...) })
	x.bounded(&x.left.compactions, m.applied > m.core.log.base.Index, func() { m.kept = m.applied; x.step(m, Compact{m.applied}) })
	for n := range len(m.disk.queue) + 1 {
		x.bounded(&x.left.crashes, true, func() { x.crash(m, n) })
	}
	if m.core.role != Leader {
		x.bounded(&x.left.campaigns, m.core.mayCampaign(), func() { x.campaign(m) })
		x.bounded(&x.left.wipes, x.spare(m), func() { x.wipe(m) })
		return
	}
	x.bounded(&x.left.proposals, true, func() { x.step(m, Propose{Proposals: []Proposal{{Ticket: 1, Data: []byte{byte(m.core.log.last)}}}}) })
	x.bounded(&x.left.beats, true, func() { x.beat(m) })
	x.bounded(&x.left.beats, true, func() { x.step(m, Resign{}) })
	for _, other := range x.list {
		_, listed := m.core.conf.Member(other.id)
		x.bounded(&x.left.changes, listed, func() { x.step(m, Reconfigure{Change: Change{Remove: []rpc.NodeID{other.id}}}) })
		x.bounded(&x.left.changes, true, func() {
			x.step(m, Reconfigure{Change: Change{Add: []rpc.Member{{ID: other.id, Instance: other.instance}}}})
		})
		x.bounded(&x.left.campaigns, listed, func() { x.step(m, Transfer{To: other.id}) })
	}
}

// deliver brings a message. As much time as it takes has passed: nobody keeps to his leader.
func (x *explorer) deliver(i int, last bool) {
	msg := x.wire[i]
	if last {
		x.wire = slices.Delete(x.wire, i, i+1)
	}
	m := x.node(msg.To)
	if m.core != nil {
		m.core.now += 2 * uint64(x.ticks.ElectionMin)
		x.step(m, Received{msg})
	}
}

// campaign makes a node ask for votes, with no pre-vote: those are for liveness only.
func (x *explorer) campaign(m *member) {
	m.core.setLeader("", "no message in time")
	m.core.stand(false)
	x.step(m, Learned{})
}

// beat is a leader's tick that is due for everything, in a quorum that answers.
func (x *explorer) beat(m *member) {
	c := m.core
	c.now += 2 * uint64(x.ticks.Heartbeat)
	m.quiet = 0 // such a jump no core has spoken of
	for _, p := range c.office.peers {
		p.heard, p.acked = c.now, c.now
	}
	c.office.moved = c.now
	for _, order := range x.list {
		if p := c.office.peers[order.id]; p != nil && p.stuck {
			c.Step(SnapshotEnded{Peer: order.id, Term: c.hard.Term})
		}
	}
	x.step(m, Tick{})
}

// spare reports whether a disk may be lost: of three voters or more, one, which all count on.
func (x *explorer) spare(m *member) bool {
	for _, other := range x.list {
		if other.core == nil || len(other.core.conf.Voters) < 3 || other.core.conf.Joint() || !other.core.conf.Voter(m.id) {
			return false
		}
	}
	return true
}

func (x *explorer) wipe(m *member) {
	x.crash(m, 0)
	gone := m.disk
	x.watch.lost[rpc.Member{ID: m.id, Instance: m.instance}] = &gone
	m.disk, m.applied, m.kept, m.staged, m.joins = disk{}, 0, 0, nil, true
	m.instance[0]++
}

// join lets a node begin that has a place in a committed configuration.
func (x *explorer) join(m *member) {
	for _, other := range x.list {
		if other.core == nil {
			continue
		}
		conf := other.core.Committed()
		if me, ok := conf.Member(m.id); ok && me.Instance == m.instance && conf.Learner(m.id) {
			m.joins, m.disk.conf = false, conf
			x.boot(m)
			return
		}
	}
}

func TestExploreStates(t *testing.T) {
	defer failOnBroken(t)
	tried, walks, commits, leaders, changes, snapshots := map[uint64]uint32{}, 0, 0, 0, 0, 0
	for ; len(tried) < *states; walks++ {
		x := newExplorer(t, roots()[walks/2%len(roots())])
		if walks%2 == 0 {
			x.lead()
		}
		for range walkMax {
			state := x.fingerprint()
			next := x.pick(state, uint64(tried[state]))
			if tried[state]++; next == nil {
				break
			}
			next()
		}
		commits, leaders = commits+len(x.watch.committed), leaders+len(x.watch.leaders)
		changes, snapshots = changes+x.watch.changes, snapshots+x.watch.installed
	}
	t.Logf("%d states in %d walks: %d leaders, %d entries committed, %d changes, %d snapshots installed",
		len(tried), walks, leaders, commits, changes, snapshots)
}
