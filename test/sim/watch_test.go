package sim

// Each checker must be able to fire. A stage is a world in which nothing happens: the tests say what the watcher sees.

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/folder"
	raftnode "github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

type stage struct {
	t *testing.T
	*world
	p [3]*process
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, world: newWorld(1, &plan{nodes: 3, buckets: 1, keys: 1})}
	for i, n := range s.list {
		p := &process{world: s.world, node: n, folder: &folder.Folder{Instance: rpc.InstanceID{byte(i + 1)}}}
		n.process, n.mirror = p, mirror{instance: p.folder.Instance, known: true}
		s.watch.voters[p.member()] = true
		s.p[i] = p
	}
	return s
}

// conf is a configuration of some of the stage's nodes.
func (s *stage) conf(index rpc.Index, nodes ...int) (c rpc.Configuration) {
	c.Index = index
	for _, i := range nodes {
		c.Voters = append(c.Voters, s.p[i].member())
	}
	return c
}

// logs is the state of a log with entries of these terms.
func logs(terms ...rpc.Term) (st wal.State) {
	for i, term := range terms {
		if i == 0 || terms[i-1] != term {
			st.Terms = append(st.Terms, rpc.TermRun{First: rpc.Index(i + 1), Term: term})
		}
		st.Last = rpc.EntryID{Term: term, Index: rpc.Index(i + 1)}
		st.HardState.Term = term
	}
	return st
}

// has gives a node's disk entries of these terms.
func (s *stage) has(node int, terms ...rpc.Term) {
	s.list[node].mirror.State = logs(terms...)
	s.watch.extend(s.list[node])
}

// committed makes entries of these terms committed by the leader of a term.
func (s *stage) committed(office rpc.Term, terms ...rpc.Term) {
	for _, term := range terms {
		s.watch.history = append(s.watch.history, committed{term: term, office: office})
	}
	for _, n := range s.list {
		s.watch.extend(n)
	}
}

// broken runs what must break a promise.
func (s *stage) broken(promise string, do func()) {
	s.t.Helper()
	defer func() {
		s.t.Helper()
		v, is := recover().(*violation)
		require.True(s.t, is, "nothing was found")
		require.Equal(s.t, promise, v.promise, v.what)
	}()
	do()
}

func status(role raft.Role, term rpc.Term, commit rpc.Index) *raftnode.Status {
	return &raftnode.Status{Status: raft.Status{Role: role, Term: term, Commit: commit, Applied: commit}}
}

func TestTwoLeadersInOneTerm(t *testing.T) {
	s := newStage(t)
	s.watch.leads(s.p[0], 3)
	s.watch.leads(s.p[0], 3)
	s.broken("I1", func() { s.watch.leads(s.p[1], 3) })
	s.broken("I12", func() {
		s.p[2].folder.Instance = rpc.InstanceID{9}
		s.watch.leads(s.p[2], 4)
	})
}

func TestWhatGoesBack(t *testing.T) {
	s := newStage(t)
	s.broken("I8", func() { s.watch.turned(s.p[0], status(raft.Follower, 2, 1), status(raft.Follower, 1, 1)) })
	s.broken("I8", func() { s.watch.turned(s.p[0], status(raft.Follower, 2, 2), status(raft.Follower, 2, 1)) })
	before, after := status(raft.Follower, 2, 0), status(raft.Follower, 2, 0)
	before.Vote, after.Vote = "n1", "n2"
	s.broken("I7", func() { s.watch.turned(s.p[0], before, after) })
}

func TestTwoVotes(t *testing.T) {
	s := newStage(t)
	m := &s.list[0].mirror
	m.HardState = rpc.HardState{Term: 2, Vote: "n2"}
	s.watch.leaves(s.p[0], "n2", 2, &rpc.RequestVoteReturn{Granted: true})
	m.HardState = rpc.HardState{Term: 2, Vote: "n3"}
	s.broken("I7", func() { s.watch.leaves(s.p[0], "n3", 2, &rpc.RequestVoteReturn{Granted: true}) })
}

func TestWhatLeavesBeforeItsSync(t *testing.T) {
	s := newStage(t)
	s.has(0, 1, 1)
	s.broken("I10", func() { s.watch.leaves(s.p[0], "n2", 2, &rpc.HeartbeatReturn{}) })
	s.broken("I10", func() { s.watch.leaves(s.p[0], "n2", 1, &rpc.RequestVoteReturn{Granted: true}) })
	s.broken("I10", func() { s.watch.leaves(s.p[0], "n1", 1, &rpc.RequestVoteCommand{}) })
	s.broken("I10", func() { s.watch.leaves(s.p[0], "n2", 1, &rpc.AppendLogReturn{Accepted: true, Match: 3}) })
	s.watch.leaves(s.p[0], "n2", 1, &rpc.AppendLogReturn{Accepted: true, Match: 2})
	s.watch.leaves(s.p[0], "n2", 9, &rpc.RequestVoteCommand{PreVote: true})
}

func TestAnAckOfAnotherEntry(t *testing.T) {
	s := newStage(t)
	s.has(0, 1, 1)
	s.has(1, 1, 2)
	s.list[0].mirror.HardState.Term = 2
	s.watch.leads(s.p[1], 2)
	s.broken("I10", func() { s.watch.leaves(s.p[0], "n2", 2, &rpc.AppendLogReturn{Accepted: true, Match: 2}) })
}

func TestLogsThatDoNotMatch(t *testing.T) {
	s := newStage(t)
	a, b := logs(1, 2, 3), logs(1, 1, 3)
	s.watch.entered(s.list[0], 0, &a)
	s.broken("I3", func() { s.watch.entered(s.list[1], 0, &b) })
	entry := func(data string) *rpc.AppendLogCommand {
		return &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Data: []byte(data)}}}
	}
	s.watch.sends(s.p[0], entry("x"))
	s.broken("I3", func() { s.watch.sends(s.p[1], entry("y")) })
}

func TestAReplacedLog(t *testing.T) {
	s := newStage(t)
	s.has(0, 1, 1, 1)
	s.committed(1, 1, 1)
	s.watch.truncated(s.list[0], 2)
	s.broken("I8", func() { s.watch.truncated(s.list[0], 1) })
	s.p[0].status = *status(raft.Leader, 1, 0)
	s.broken("I2", func() { s.watch.truncated(s.list[0], 2) })
	s.broken("I7", func() {
		s.watch.disk(s.list[0], &wal.State{HardState: rpc.HardState{Term: 2, Vote: "n1"}}, &wal.State{HardState: rpc.HardState{Term: 2}})
	})
}

func TestALeaderWithoutACommittedEntry(t *testing.T) {
	s := newStage(t)
	s.has(0, 1, 1, 1)
	s.has(1, 1, 1, 1)
	s.committed(1, 1, 1, 1)
	s.has(2, 1, 2, 2)
	s.broken("I4", func() { s.watch.complete(s.list[2], 2) })
}

func TestCommits(t *testing.T) {
	s := newStage(t)
	was, now := status(raft.Leader, 2, 0), status(raft.Leader, 2, 2)
	was.Configuration, now.Configuration = s.conf(0, 0, 1, 2), s.conf(0, 0, 1, 2)
	s.has(0, 1, 1)
	s.broken("I6", func() { s.watch.commits(s.p[0], was, now) })
	s.has(0, 1, 2)
	s.broken("I9", func() { s.watch.commits(s.p[0], was, now) })
	s.broken("I5", func() { s.watch.commits(s.p[1], status(raft.Follower, 2, 0), status(raft.Follower, 2, 3)) })
	s.has(1, 1, 2)
	s.watch.history = nil
	s.watch.commits(s.p[0], was, now)
}

func TestWhatIsApplied(t *testing.T) {
	s := newStage(t)
	apply := func(p *process, index rpc.Index, term rpc.Term, result any) func() {
		e := []rpc.Entry{{Index: index, Term: term, Kind: rpc.EntryNoop}}
		return func() {
			s.watch.applies(p, e)
			s.watch.applied(p, e, []any{result})
		}
	}
	s.broken("I5", apply(s.p[0], 1, 1, nil)) // not committed
	s.has(0, 1)
	s.has(1, 1)
	s.committed(1, 1)
	s.broken("I5", apply(s.p[0], 1, 2, nil))  // another entry
	s.broken("I10", apply(s.p[2], 1, 1, nil)) // not in its own log
	apply(s.p[0], 1, 1, "a")()
	apply(s.p[1], 1, 1, "a")()
	s.broken("I5", apply(s.p[1], 1, 1, "b")) // with another result
}

func TestStatesThatDiffer(t *testing.T) {
	s := newStage(t)
	for _, p := range s.p[:2] {
		p.store, _ = store.Open(store.Options{Engine: p.node.memory, ManualFlush: true})
		s.watch.hashed(p)
	}
	c := command.Command{AddBucket: &command.AddBucket{Name: "a"}}
	for i, time := range []int64{1, 2} {
		_, err := s.p[i].store.Apply([]rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Time: time, Data: c.Encode()}})
		require.NoError(t, err)
	}
	s.watch.hashed(s.p[0])
	s.broken("I5", func() { s.watch.hashed(s.p[1]) })
	s.broken("I8", func() { s.watch.restored(s.p[0], 2) })
	s.broken("I13", func() { s.watch.restored(s.p[0], 0) })
}

func TestChangesOfMembers(t *testing.T) {
	s := newStage(t)
	change := func(commit rpc.Index, from, to rpc.Configuration) func() {
		was, now := status(raft.Leader, 1, 0), status(raft.Leader, 1, commit)
		was.Configuration, now.Configuration = from, to
		return func() { s.watch.changes(s.p[0], was, now) }
	}
	s.committed(1, 1, 1)
	change(2, s.conf(0, 0, 1, 2), s.conf(3, 0, 1))()
	s.broken("I11", change(0, s.conf(0, 0, 1), s.conf(3, 0, 1, 2))) // nothing of this term is committed
	s.broken("I11", change(1, s.conf(2, 0, 1), s.conf(3, 0, 1, 2))) // another change is not
	s.broken("I11", change(2, s.conf(0, 0), s.conf(3, 0, 1, 2)))    // quorums that need not meet
	joint := s.conf(3, 0, 1, 2)
	joint.Outgoing = s.conf(0, 0).Voters
	change(2, s.conf(0, 0), joint)()
}

func TestWhatClientsAreTold(t *testing.T) {
	s := newStage(t)
	s.committed(1, 1, 1)
	tell := func(o *op, a answer) func() {
		return func() { a.op = o; s.trade.hear(a) }
	}
	write := func() *op {
		o := s.trade.newOp(0)
		o.bucket, o.key = "b0", "k0"
		o.write = &command.Command{Write: &command.Write{Bucket: o.bucket, Key: o.key, Value: []byte(o.name)}}
		return o
	}
	enter := func(o *op, index rpc.Index, r store.Result) func() {
		e := &rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Data: o.write.Encode()}
		return func() { s.trade.applied(e, r); s.watch.at(index).result = r }
	}
	s.trade.ledger.buckets["b0"] = true
	done := store.Result{Sequence: 1, Revision: 1}

	a := write()
	s.broken("C2", tell(a, answer{outcome: answered, result: done, at: rpc.EntryID{Term: 1, Index: 2}}))
	b := write()
	tell(b, answer{outcome: notDone})()
	s.broken("C5", enter(b, 2, done))
	c := write()
	enter(c, 2, done)()
	s.broken("C4", enter(c, 2, done))
	s.broken("C5", tell(c, answer{outcome: notDone}))
	d := write()
	d.low = 2
	s.broken("C1", enter(d, 2, store.Result{Code: store.KeyExists}))
	s.broken("C6", enter(write(), 2, store.Result{Sequence: 2, Revision: 5}))
	s.broken("C6", enter(write(), 2, store.Result{Sequence: 5, Revision: 2}))
}

func TestConfirmedReads(t *testing.T) {
	s := newStage(t)
	s.has(0, 1)
	s.has(1, 1)
	s.has(2, 2)
	three, one := s.conf(0, 0, 1, 2), s.conf(1, 0)
	is := func(before, after rpc.Configuration) func() {
		return func() { s.watch.confirmed(s.p[0], confirmedRead{1, s.watch.witnesses()}, &before, &after) }
	}
	is(three, three)()
	s.has(1, 2)
	s.broken("C3", is(three, three)) // two are past its term
	is(three, one)()                 // it counts by itself alone now
	is(one, three)()
	s.watch.served(s.p[0], 2, 2)
	s.broken("C3", func() { s.watch.served(s.p[0], 1, 2) })
}

// What was said to be durable and is not there after a crash.
func TestALogThatForgot(t *testing.T) {
	s := newStage(t)
	id := s.list[0].mirror.instance
	found := func(node int, id rpc.InstanceID, terms ...rpc.Term) func() {
		return func() { s.watch.found(s.list[node], id, logs(terms...)) }
	}
	s.has(0, 1, 1, 1)
	s.has(1, 1, 1, 2)
	s.broken("D3", found(0, id, 1, 1)) // shorter
	s.committed(1, 1, 1, 1)
	s.broken("D3", found(0, id, 1, 1, 2)) // other than what is committed
	s.broken("I7", func() { s.watch.found(s.list[0], id, wal.State{}) })
	found(0, id, 1, 1, 1, 1)()
	found(1, s.list[1].mirror.instance, 1, 1, 3)() // replaced by what was being written
	found(0, rpc.InstanceID{9}, 1)()               // another disk
	s.broken("stop", func() { s.watch.stopped(s.list[0], errors.New("something")) })
	s.broken("stop", func() { s.watch.stopped(s.list[0], errIO) })
	s.list[0].disk.failed = true
	s.watch.stopped(s.list[0], errIO)
}

// A table that not all hold, and one that a disk has forgotten.
func TestFirstBootsThatEndTooSoon(t *testing.T) {
	s := newStage(t)
	table := s.conf(0, 0, 1, 2)
	state := wal.State{HasBase: true, Base: wal.Base{Configuration: rpc.AppendConfiguration(nil, &table)}}
	serves := func() {
		after := status(raft.Follower, 1, 0)
		after.Configuration = table
		s.watch.members(s.p[0], status(raft.Follower, 0, 0), after)
	}
	for _, i := range []int{0, 1} {
		s.watch.found(s.list[i], s.p[i].folder.Instance, state)
	}
	s.broken("I12", serves)
	other := s.conf(0, 1, 2)
	s.watch.found(s.list[2], s.p[2].folder.Instance, wal.State{HasBase: true, Base: wal.Base{Configuration: rpc.AppendConfiguration(nil, &other)}})
	s.broken("I12", serves)
	s.watch.tables[s.p[2].member()] = rpc.ClusterIDOf(table.Voters)
	serves()
	s.broken("D3", func() { s.watch.found(s.list[0], s.p[0].folder.Instance, wal.State{}) })
}

func TestAStateThatForgot(t *testing.T) {
	s := newStage(t)
	n := s.list[0]
	n.kept = 1
	s.broken("I8", func() { s.watch.resumes(n, 0) })
	s.watch.resumes(n, 1)
	s.broken("I13", func() { s.watch.begins(n, rpc.EntryID{Term: 1, Index: 1}, 1) }) // not committed
	s.committed(1, 1, 1)
	s.watch.begins(n, rpc.EntryID{Term: 1, Index: 2}, 2)
	s.broken("I13", func() { s.watch.begins(n, rpc.EntryID{Term: 1, Index: 2}, 1) })
}

func TestWhoHasLostAnEntry(t *testing.T) {
	s := newStage(t)
	s.has(0, 1, 1, 1)
	m := &s.list[0].mirror
	m.Damaged = []rpc.EntryID{{Term: 1, Index: 2}}
	s.broken("D3", func() { s.watch.leaves(s.p[0], "n2", 1, &rpc.RequestVoteReturn{Granted: true}) })
	s.broken("D3", func() { s.watch.leaves(s.p[0], "n2", 1, &rpc.RequestVoteCommand{}) })
	s.broken("D3", func() { s.watch.leaves(s.p[0], "n2", 1, &rpc.AppendLogReturn{Accepted: true, Match: 2}) })
	s.watch.leaves(s.p[0], "n2", 1, &rpc.AppendLogReturn{Accepted: true, Match: 1})
	n := s.list[0]
	n.ruined, n.looked = lossy, true
	n.mended()
	require.Equal(t, lossy, n.ruined)
	m.Damaged = nil
	n.mended()
	require.Empty(t, n.ruined)
}

func TestElectionsWithoutVotes(t *testing.T) {
	s := newStage(t)
	after := status(raft.Leader, 2, 0)
	after.Configuration = s.conf(0, 0, 1, 2)
	elected := func() { s.watch.elected(s.p[0], after, after) }
	s.broken("I1", elected)
	s.watch.votes[ballot{s.p[1].folder.Instance, 2}] = "n1"
	s.broken("I1", elected) // its own vote is not durable
	s.list[0].mirror.HardState = rpc.HardState{Term: 2, Vote: "n1"}
	elected()
	s.p[1].folder.Instance = rpc.InstanceID{9}
	after.Configuration = s.conf(0, 0, 1, 2)
	s.broken("I1", elected) // the vote is another disk's
	delete(s.watch.voters, s.p[1].member())
	s.broken("I12", func() { s.watch.leaves(s.p[1], "n1", 2, &rpc.RequestVoteCommand{}) })
}

func TestWhoCountsByWhichConfiguration(t *testing.T) {
	s := newStage(t)
	s.has(0, 1, 1)
	m := &s.list[0].mirror
	m.Configurations = []rpc.Index{2}
	s.watch.confs[rpc.EntryID{Term: 1, Index: 2}] = s.conf(2, 0, 1)
	now := status(raft.Follower, 1, 0)
	now.Last, now.Synced, now.Configuration = 2, 2, s.conf(2, 0, 1)
	s.watch.inForce(s.p[0], now)
	now.Configuration = s.conf(2, 0, 1, 2)
	s.broken("I11", func() { s.watch.inForce(s.p[0], now) })
	base := s.conf(0, 0, 1, 2)
	m.Configurations, m.HasBase, m.Base.Configuration = nil, true, rpc.AppendConfiguration(make([]byte, baseTimeBytes), &base)
	s.broken("I11", func() { s.watch.inForce(s.p[0], now) })
	now.Configuration = base
	s.watch.inForce(s.p[0], now)

	sends := func(index rpc.Index, c rpc.Configuration) func() {
		return func() {
			s.watch.carried(s.p[0], &rpc.InstallSnapshotCommand{Snapshot: rpc.EntryID{Term: 1, Index: index}, Configuration: &c})
		}
	}
	s.broken("I13", sends(1, base)) // not committed
	s.committed(1, 1, 1)
	sends(1, base)()
	s.broken("I13", sends(1, s.conf(2, 0, 1)))
	changed := s.conf(2, 0, 1)
	s.watch.at(2).entry = rpc.Entry{Index: 2, Term: 1, Kind: rpc.EntryConfiguration, Data: rpc.AppendConfiguration(nil, &changed)}
	sends(2, changed)()
	s.broken("I13", sends(2, base))
}

func TestRemovalsOfBuckets(t *testing.T) {
	s := newStage(t)
	s.committed(1, 1, 1, 1)
	s.trade.removals["b0"] = &removals{answered: map[rpc.Index]*op{}}
	s.trade.ledger.buckets["b0"] = true
	ask := func() *op {
		o := s.trade.newOp(0)
		o.bucket, o.write = "b0", &command.Command{RemoveBucket: &command.RemoveBucket{Name: "b0"}}
		s.trade.removals["b0"].asked++
		return o
	}
	enter := func(index rpc.Index, code store.Code) {
		c := s.watch.at(index)
		c.entry = rpc.Entry{Index: index, Term: 1, Kind: rpc.EntryCommand, Data: ask().write.Encode()}
		s.trade.removals["b0"].asked--
		c.result = store.Result{Code: code}
		if code == store.Done {
			c.result = store.Result{Revision: s.trade.ledger.revision + 1}
		}
		s.trade.applied(&c.entry, c.result)
	}
	s.broken("C5", func() { enter(1, store.Done) }) // nobody has asked
	s.trade.removals["b0"].entries = nil
	a, b, _ := ask(), ask(), ask()
	enter(1, store.Done)
	s.broken("C1", func() { enter(2, store.Done) }) // it is gone already
	tell := func(o *op, index rpc.Index) func() {
		return func() {
			s.trade.hear(answer{op: o, outcome: answered, result: s.watch.at(index).result.(store.Result), at: rpc.EntryID{Term: 1, Index: index}})
		}
	}
	tell(a, 1)()
	s.broken("C4", tell(b, 1))
}

// What the second checker is told is enough to find a lost write and a read from the past.
func TestTheSecondChecker(t *testing.T) {
	history := func(second answer) *stage {
		s := newStage(t)
		s.committed(1, 1, 1, 1)
		s.now = 10
		done := func(value string, r store.Result, called, returned time.Duration, outcome outcome) {
			o := s.trade.newOp(0)
			o.bucket, o.key, o.called, o.returned, o.outcome = "b0", "k0", called, returned, outcome
			o.write = &command.Command{Write: &command.Write{Bucket: "b0", Key: "k0", Value: []byte(value)}}
			if value == "" {
				o.write = &command.Command{AddBucket: &command.AddBucket{Name: "b0"}}
			}
			o.answer.result, o.appliedAt = r, rpc.Index(r.Revision)
			s.watch.at(o.appliedAt).result = r
		}
		done("", store.Result{Revision: 1}, 1, 2, answered)
		done("a", store.Result{Revision: 2, Sequence: 1}, 3, 4, unknown)
		done("b", store.Result{Revision: 3, Sequence: 2}, 4, 6, answered)
		o := s.trade.newOp(1)
		o.bucket, o.key, o.called, o.returned, o.outcome, o.answer = "b0", "k0", 7, 8, answered, second
		return s
	}
	b := answer{found: true, entry: store.Entry{Value: []byte("b"), Sequence: 2}}
	history(b).trade.judge()
	for _, wrong := range []answer{{}, {found: true, entry: store.Entry{Value: []byte("a"), Sequence: 1}}, {result: store.Result{Code: store.NoBucket}}} {
		s := history(wrong)
		s.broken("C1", s.trade.judge)
	}
}

func TestReads(t *testing.T) {
	s := newStage(t)
	s.committed(1, 1, 1, 1)
	l := s.trade.ledger
	l.keys["b0.k0"] = []state{{from: 1, bucket: true}, {from: 2, bucket: true, found: true, value: "a", sequence: 1, revision: 1}, {from: 3, bucket: true, sequence: 2, revision: 2}}
	read := func(low rpc.Index, a answer) rpc.Index {
		o := &op{bucket: "b0", key: "k0", low: low, answer: a}
		o.answer.op = o
		return l.read(o)
	}
	value := answer{found: true, entry: store.Entry{Value: []byte("a"), Sequence: 1, Revision: 1}}
	nothing := answer{result: store.Result{Code: store.KeyNotFound}}
	for i, c := range []struct {
		low  rpc.Index
		a    answer
		want rpc.Index
	}{{0, value, 2}, {2, value, 2}, {1, nothing, 1}, {2, nothing, 3}, {3, nothing, 3}} {
		require.Equal(t, c.want, read(c.low, c.a), "case %d", i)
	}
	s.broken("C1", func() { read(3, value) }) // stale
	s.broken("C1", func() { read(2, answer{result: store.Result{Code: store.NoBucket}}) })
	require.Equal(t, rpc.Index(0), read(0, answer{result: store.Result{Code: store.NoBucket}}))
	value.entry.Value = []byte("b")
	s.broken("C1", func() { read(0, value) }) // nobody wrote it
}

// What may be in force after a crash counts too: the configuration of what is on the disk, not only that of what waits for it.
func TestConfigurationsInMemoryAndOnDiskMayBothBeInForce(t *testing.T) {
	s := newStage(t)
	first, later := s.conf(0, 0, 1), s.conf(3, 1)
	n := s.list[0]
	n.conf, n.onDisk = &later, &first
	require.Equal(t, []*rpc.Configuration{&later, &first}, s.configurations())
	require.False(t, s.spares(s.list[1]))
	s.watch.conf = later
	require.Equal(t, []*rpc.Configuration{&later}, s.configurations(), "the first one is over: a later one is committed")
	s.watch.counts(n, &rpc.Configuration{})
	n.forget()
	require.Empty(t, s.configurations(), "a lost disk has none")
}

// A change that was asked for, and may be made yet, counts like one that is made.
func TestAChangeThatIsAskedForMayComeIntoForce(t *testing.T) {
	s := newStage(t)
	now := s.conf(4, 0, 1, 2)
	s.p[0].status.Configuration = now
	s.list[0].conf = &now
	require.True(t, s.spares(s.list[1]))
	s.requests = append(s.requests, &pending{s.p[0], raft.Change{Remove: []rpc.NodeID{s.list[2].id}}})
	require.False(t, s.spares(s.list[1]), "two are left, and one of them is not enough")
	s.p[0].gone = true
	require.True(t, s.spares(s.list[1]))
}
