package replica

// A planned hand-over costs no request of a client that retries (L2): once nobody else listens any more the services stop listening and finish what
// they have, so that a client finds no responders and asks again, until the next leader listens.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// handOverTimeout bounds how long a stop waits for somebody to take over. Nothing is lost without.
const handOverTimeout = 3 * time.Second

// TransferLeadership hands over to a voter, or if to is empty to the best one. With an error this node leads on and serves as before,
// as far as it knows: node.ErrNotLeader, node.ErrBusy while another hand-over is under way or NATS has not given up a former leader, or why nobody
// took over.
func (r *Replica) TransferLeadership(ctx context.Context, to string) error {
	if !r.handing.TryLock() {
		return node.ErrBusy
	}
	defer r.handing.Unlock()
	if r.node.Status().Role != raft.Leader {
		return node.ErrNotLeader
	}
	defer r.resume() // also for the next time that this node leads
	if err := r.awaitAlone(ctx, formerWait); err != nil {
		return fmt.Errorf("%w: %w, ask again in some seconds", node.ErrBusy, err)
	}
	if err := r.drain(ctx); err != nil {
		return err
	}
	return r.handOver(ctx, rpc.NodeID(to))
}

// yieldWait bounds how long a leader that lacks something finishes what it has: nobody is served meanwhile, and where its disk has no place for what was
// logged that does not end.
const yieldWait = time.Second

// noteYield is told that this leader had better hand over.
func (r *Replica) noteYield() {
	select {
	case r.yields <- struct{}{}:
	default: // it does, and is told again
	}
}

// watchYields hands over when the node says that it had better, until it begins to stop.
func (r *Replica) watchYields(ctx context.Context) {
	for {
		select {
		case <-r.yields:
			r.yield(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// yield is TransferLeadership to the best one, by a leader that others are better off without: all the same where what it waits for does not come.
func (r *Replica) yield(ctx context.Context) {
	if !r.handing.TryLock() {
		return // the node says so again
	}
	defer r.handing.Unlock()
	if r.node.Status().Role != raft.Leader {
		return
	}
	defer r.resume()
	unfinished := errors.Join(r.awaitAlone(ctx, formerWait), r.drainFor(ctx, cmp.Or(r.o.yieldWait, yieldWait)))
	if ctx.Err() != nil {
		return // a stop hands over
	}
	if unfinished != nil {
		r.logger.Warn("handing over all the same: requests may get no answer", "reason", unfinished)
	}
	_ = r.handOver(ctx, "") // what became of it the log says
}

// handOver is for when the services have nothing under way.
func (r *Replica) handOver(ctx context.Context, to rpc.NodeID) error {
	ended := make(chan error, 1)
	if err := r.node.TransferLeadership(to, func(err error) { ended <- err }); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave has the services finish and hands over before a stop, if there is something to hand over and somebody to take it.
func (r *Replica) leave(ctx context.Context) error {
	for _, s := range r.served {
		s.watches.Leave() // others deliver to this node's watchers from now on
	}
	unfinished := r.finish(ctx)
	if r.alone() {
		return unfinished
	}
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	if err := r.handOver(ctx, ""); err != nil && !errors.Is(err, node.ErrNotLeader) {
		r.logger.Info("stopping without a successor", "reason", err)
	}
	return unfinished
}

// finish has the services stop listening and finish what they have, for good.
func (r *Replica) finish(ctx context.Context) error {
	if r.over() {
		return nil
	}
	r.endMove()
	r.handing.Lock() // nothing is handed over any more
	if err := r.awaitAlone(ctx, formerWaitStop); err != nil {
		r.logger.Warn("stopping all the same: until NATS has noticed that a former leader is gone, requests may get no answer", "reason", err)
	}
	return r.drain(ctx)
}

// How long is waited for NATS to give up what a former leader has left there. An administrator is answered in 5 s, and asks again; a stop has
// stopTime in all.
const (
	formerWait     = 3 * time.Second
	formerWaitStop = 8 * time.Second
)

// awaitAlone returns when nobody listens beside this node, in any account (L2).
func (r *Replica) awaitAlone(ctx context.Context, longest time.Duration) error {
	if len(r.peers()) == 0 {
		return nil // nobody else ever led
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	errs := make([]error, len(r.served))
	r.eachAtOnce(func(i int, s *served) { errs[i] = s.kv.AwaitAlone(ctx) })
	return errors.Join(errs...)
}

// peers are the others that may listen, or may have listened: the members, and those that led and may be members no more.
func (r *Replica) peers() []string {
	ids := r.leaders.seen()
	c := r.node.Status().Configuration
	for _, m := range c.Members() {
		ids = append(ids, string(m.ID))
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == r.o.ID })
}

// leadersMax is how many leaders are remembered. NATS gives up a dead connection long before so many have led.
const leadersMax = 16

// leaders are those that this node saw lead since it started, the last ones: one that was cut off is removed, and NATS still has its subscriptions (L2).
type leaders struct {
	mu  sync.Mutex
	ids []string
}

// saw is told of a leader; empty: there is none.
func (l *leaders) saw(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == "" {
		return
	}
	l.ids = append(slices.DeleteFunc(l.ids, func(o string) bool { return o == id }), id)
	l.ids = l.ids[max(0, len(l.ids)-leadersMax):]
}

func (l *leaders) seen() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

// alone reports whether this node is the only voter: then there is never anybody to hand over to.
func (r *Replica) alone() bool {
	c := r.node.Status().Configuration
	return len(c.Voters) == 1 && len(c.Outgoing) == 0
}

// roundTrip is the longest to another node, of those that answer.
func (r *Replica) roundTrip() (longest time.Duration) {
	for _, l := range r.node.Status().Links {
		if l.State == "connected" {
			longest = max(longest, l.RTT)
		}
	}
	return longest
}
