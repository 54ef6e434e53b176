package raft

// Every queue of the core has a bound, and says so when it is reached.

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

func TestProposalsAreRefusedAtTheirBoundAndTakenAgainOnceApplied(t *testing.T) {
	s := established(t, 3)
	s.limits.ProposedBytesMax = 2 * rpc.EntryOverheadBytes
	out := s.turn(Propose{Proposals: []Proposal{{Ticket: 1}, {Ticket: 2}, {Ticket: 3}}})
	require.Equal(t, Proposed{Ticket: 3, Refusal: RefusedBusy}, out.Proposed[2])
	require.Equal(t, rpc.Index(5), s.log.last)
	s.turn(DiskDone{s.log.seq}, from2("n2", "n1", 2, &rpc.AppendLogReturn{Accepted: true, Match: 5}))
	require.Equal(t, RefusedBusy, s.turn(Propose{Proposals: []Proposal{{Ticket: 4}}}).Proposed[0].Refusal, "committed is not applied")
	s.turn(ApplyDone{5})
	out = s.turn(Propose{Proposals: []Proposal{{Ticket: 5}, {Ticket: 6}, {Ticket: 7}}})
	require.Equal(t, []Refusal{Accepted, Accepted, RefusedBusy}, []Refusal{out.Proposed[0].Refusal, out.Proposed[1].Refusal, out.Proposed[2].Refusal})
}

func TestReadsAreRefusedAtTheirBound(t *testing.T) {
	s := established(t, 3)
	s.limits.ReadsMax = 2
	out := s.turn(ReadIndex{Ticket: 1}, ReadIndex{Ticket: 2}, ReadIndex{Ticket: 3})
	require.Equal(t, []Read{{Ticket: 3, Refusal: RefusedBusy}}, out.Reads)
	s.hear("n2", 2, &rpc.HeartbeatReturn{Read: 1, Last: 3})
	require.Empty(t, s.turn(ReadIndex{Ticket: 4}).Reads)
}

func TestReadsThatWaitForTheStateMachineCount(t *testing.T) {
	s := established(t, 3)
	s.limits.ReadsMax = 2
	s.turn(Propose{Proposals: make([]Proposal, 1)})
	s.synced()
	s.ack("n2", 4)
	require.Empty(t, s.turn(ReadIndex{Ticket: 1}, ReadIndex{Ticket: 2}).Reads)
	require.Empty(t, s.hear("n2", 2, &rpc.HeartbeatReturn{Read: 1, Last: 4}).Reads, "confirmed, and not applied")
	require.Equal(t, []Read{{Ticket: 3, Refusal: RefusedBusy}}, s.turn(ReadIndex{Ticket: 3}).Reads)
	require.Equal(t, []Read{{Ticket: 1}, {Ticket: 2}}, s.turn(ApplyDone{4}).Reads)
	require.Empty(t, s.turn(ReadIndex{Ticket: 4}).Reads)
}

func TestFlyingBytesAreBounded(t *testing.T) {
	s := established(t, 3)
	s.limits.FlyingBytesMax = 3 * rpc.EntryOverheadBytes
	sent := 0
	for i := range uint64(10) {
		sent += len(only[*rpc.AppendLogCommand](s.turn(Propose{Proposals: []Proposal{{Ticket: i}}}).Send))
	}
	require.Equal(t, 2*3, sent)
	require.Equal(t, 3*rpc.EntryOverheadBytes, s.office.peers["n2"].flyingBytes)
	s.ack("n2", 6)
	require.LessOrEqual(t, len(s.office.peers["n2"].flying), 1)
}

func TestAppendLogsAreSplitAndOneLargeEntryGoesAlone(t *testing.T) {
	s := established(t, 3)
	s.limits.AppendBytesMax = 200
	small, large := make([]byte, 40), make([]byte, 500)
	out := s.turn(Propose{Proposals: []Proposal{{1, small}, {2, small}, {3, large}, {4, small}}})
	var counts []int
	for _, b := range to("n2", out.Send) {
		counts = append(counts, len(b.(*rpc.AppendLogCommand).Entries))
	}
	require.Equal(t, []int{2, 1, 1}, counts)
}

func TestEvictionKeepsWhatIsNotDurable(t *testing.T) {
	s := established(t, 3)
	s.limits.CacheBytesMax = 4 * rpc.EntryOverheadBytes
	for i := range uint64(10) {
		s.turn(Propose{Proposals: []Proposal{{Ticket: i}}})
	}
	require.NotNil(t, s.log.cached(4, 14, 1<<20), "entries 4 to 13 are under way to the disk")
	s.synced()
	require.LessOrEqual(t, s.log.bytes, s.limits.CacheBytesMax)
	require.Nil(t, s.log.cached(4, 14, 1<<20))
	require.Equal(t, s.log.last, s.log.cacheFirst()+rpc.Index(len(s.log.cache))-1)
}

func TestApplyIsBoundedAndOneAtATime(t *testing.T) {
	s := established(t, 3)
	s.limits.ApplyBytesMax = 2 * rpc.EntryOverheadBytes
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}, {Ticket: 2}, {Ticket: 3}}})
	s.synced()
	out := s.ack("n2", 6)
	require.Equal(t, rpc.Index(5), out.Apply.To)
	require.Zero(t, s.turn(Tick{}).Apply, "one is under way")
	require.Equal(t, rpc.Index(5), s.turn(ApplyDone{4}).Apply.From, "applied in part: the rest is handed out again")
}

// An entry's time is the only clock that the state machine reads: it never goes back (design section 6).
func TestEntryTimeNeverGoesBack(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Clock: 50, Proposals: []Proposal{{Ticket: 1}}})
	s.turn(Tick{Clock: 20})
	out := s.turn(Propose{Clock: 30, Proposals: []Proposal{{Ticket: 2}}})
	require.Equal(t, int64(50), out.Write.Entries[0].Time)
	out = s.turn(Propose{Clock: 60, Proposals: []Proposal{{Ticket: 3}}})
	require.Equal(t, int64(60), out.Write.Entries[0].Time)
}

// CommitLog is not sent when an AppendLog leaves in the same turn (design section 3): that says it already.
func TestCommitLogNeverLeavesBesideAnAppendLog(t *testing.T) {
	s := established(t, 3)
	s.turn(Propose{Proposals: []Proposal{{Ticket: 1}}})
	s.synced()
	ack := from2("n2", "n1", 2, &rpc.AppendLogReturn{Accepted: true, Match: 4})
	out := s.turn(ack, Propose{Proposals: []Proposal{{Ticket: 2}}})
	require.Empty(t, only[*rpc.CommitLogCommand](out.Send))
	require.Equal(t, rpc.Index(4), only[*rpc.AppendLogCommand](out.Send)[0].Commit)
}

// What the defaults are, and why: none is changed unawares.
func TestDefaults(t *testing.T) {
	limits := DefaultLimits()
	require.Equal(t, 16<<20, limits.CacheBytesMax, "entries are read from the disk by a peer that is further behind; part of what docs/tuning.md says of memory")
	require.Equal(t, 4<<20, limits.FlyingBytesMax, "a way of 1 Gbit/s and 30 ms is full with it; far below max_pending, 64 MiB, at which NATS cuts a connection")
	require.Equal(t, 1000, awayMax, "10 s: the disk of who is away for longer may not fill that of the leader")
}
