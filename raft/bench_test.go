package raft

// What the core itself costs: one turn of proposals on a leader of three, and the turns of the acks that commit and apply
// them. No disk, no bus, no encoding.

import (
	"fmt"
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
)

func BenchmarkPropose(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			l := benchLeader(b)
			list := make([]Proposal, batch)
			data := make([]byte, 128)
			for i := range list {
				list[i] = Proposal{Ticket: uint64(i), Data: data}
			}
			b.ReportAllocs()
			for b.Loop() {
				l.round(list)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/proposal")
		})
	}
}

// benchLeader is a leader of three whose peers are in step.
func benchLeader(b *testing.B) *solo {
	s := lead(b, start(rpc.HardState{Term: 1}))
	s.ack("n2", 1)
	s.ack("n3", 1)
	s.turn(ApplyDone{1})
	return s
}

// round takes a batch of proposals through its four turns: proposed; synced and acknowledged by one peer, so committed;
// applied; acknowledged by the other.
func (s *solo) round(list []Proposal) {
	s.turn(Propose{Proposals: list})
	ack := &rpc.AppendLogReturn{Accepted: true, Match: s.log.last}
	s.turn(DiskDone{s.log.seq}, from2("n2", s.id, s.hard.Term, ack))
	s.turn(ApplyDone{s.log.last})
	s.turn(from2("n3", s.id, s.hard.Term, ack))
}
