package node

import (
	"testing"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// What each traced request costs the applier here, once as many batches are remembered as there is room for.
func BenchmarkMilestones(b *testing.B) {
	m := &milestones{}
	n := &Node{marks: m}
	began := time.Now()
	for i := range rpc.Index(2 * milestonesMax) {
		m.synced(10*(i+1), began)
		m.committed(10 * (i + 1))
	}
	last := rpc.Index(20 * milestonesMax)
	i := rpc.Index(0)
	for b.Loop() {
		if i++; n.Milestones(last - i%100).Committed.IsZero() {
			b.Fatal("not remembered")
		}
	}
}
