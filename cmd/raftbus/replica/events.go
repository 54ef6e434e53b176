package replica

// Events go from the node, which must not wait, over a bounded queue to NATS.

import (
	"context"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/raft/node"
)

// diskEvery is how often the disk is looked at.
const diskEvery = 250 * time.Millisecond

// noticed makes an event of a node's notice, of the kind that it has there. The node's goroutines call it.
func (r *Replica) noticed(n node.Notice) {
	if n.Kind == node.NoticeLeader {
		r.leaders.saw(string(n.Peer))
	}
	term := n.Term
	if term == 0 {
		term = r.node.PingContent().Term
	}
	r.events.Record(observe.Event{
		Kind: string(n.Kind), Time: time.Now(), Node: r.o.ID, Term: uint64(term),
		State: n.State, Peer: string(n.Peer), Index: uint64(n.Index), Members: n.Members, Reason: n.Reason,
	})
}

// publishEvents publishes until ctx ends.
func (r *Replica) publishEvents(ctx context.Context) {
	r.events.Publish(ctx, eventBus{r.first().conn}, r.config.Prefix()+"."+busclient.FamilyEvent)
}

// eventBus is the client connection. It may wait for NATS, at most as long as a write takes.
type eventBus struct{ conn *busclient.Conn }

func (b eventBus) Ready() bool {
	up, _ := b.conn.Up()
	return up
}

func (b eventBus) Publish(subject string, data []byte) error {
	return b.conn.Publish(subject, "", data)
}

// watchDisk makes events of what the disk does.
func (r *Replica) watchDisk(ctx context.Context) {
	var watch observe.DiskWatch
	for pause(ctx, diskEvery) == nil {
		s := r.node.Status()
		for _, e := range watch.Look(observe.DiskSample{Time: time.Now(), Syncs: s.Log.SyncTimes, Syncing: s.Log.Syncing, Full: s.Full}) {
			e.Time, e.Node, e.Term = time.Now(), r.o.ID, uint64(s.Term)
			if e.State == "slow" {
				r.logger.Warn("the disk is slow", "seconds", e.Seconds)
			}
			r.events.Record(e)
		}
		r.slow.Store(watch.Slow())
	}
}
