package replica

import (
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/kv"
)

// tracing passes traces on; nil: there is nobody to take them.
func (r *Replica) tracing() func(kv.Trace) {
	if r.o.Traces == nil {
		return nil
	}
	return func(t kv.Trace) {
		r.o.Traces.Record(observe.Request{
			Node: r.o.ID, Prefix: r.config.Prefix(), Parent: t.Parent, Door: t.Door, Operation: t.Operation, Entry: uint64(t.Entry),
			Arrived: t.Arrived, Proposed: t.Proposed, Applied: t.Applied, SyncBegan: t.SyncBegan, SyncEnded: t.SyncEnded, Committed: t.Committed,
			Confirmed: t.Confirmed, Answered: t.Answered,
		})
	}
}
