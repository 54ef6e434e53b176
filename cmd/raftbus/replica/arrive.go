package replica

// How a node takes its name on the bus: once it has seen that the bus is closed, that the prefix is its cluster's, and that no JetStream answers where
// it is to. Some of that only the connection to clients shows. A node that has a cluster already votes and follows without (F12): it waits no longer
// for clients that NATS does not let in than until that is clear, serves nobody of them meanwhile, and ends if it then sees what speaks against it.

import (
	"context"
	"sync"
	"time"

	"github.com/raftbus/raftbus/busclient"
)

// arrive takes the node's name on the bus, and begins to serve it.
func (r *Replica) arrive(ctx context.Context) {
	founded := r.Status().Cluster != ""
	excused := func(err error) bool { return founded && (isFull(err) || r.shutOut()) }
	closed, known := make(chan struct{}), make(chan struct{})
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		r.abort(ctx, r.checkBus(ctx, r.whoToTry(), excused, sync.OnceFunc(func() { close(closed) })))
	})
	beside.Go(func() { r.abort(ctx, r.checkFirst(ctx, closed, known)) })
	if r.mayArrive(ctx, closed, known, founded) {
		r.abort(ctx, r.bus.Start(ctx))
	}
}

// checkFirst has the first account served, once nothing is found that speaks against it.
func (r *Replica) checkFirst(ctx context.Context, closed <-chan struct{}, known chan<- struct{}) error {
	if !r.await(ctx, closed) {
		return nil
	}
	if err := r.checkPrefix(ctx); err != nil {
		return err
	}
	if err := r.checkAPI(ctx, r.first()); err != nil {
		return err
	}
	r.settle(r.first(), allow)
	close(known)
	return nil
}

// mayArrive waits until nothing speaks against this node's part in the cluster, as far as it can see, and reports whether it runs still.
func (r *Replica) mayArrive(ctx context.Context, closed, known <-chan struct{}, founded bool) bool {
	if !r.await(ctx, closed) {
		return false
	}
	look := time.NewTicker(openBusRetry)
	defer look.Stop()
	for !founded || !r.shutOut() {
		select {
		case <-look.C:
		case <-known:
			return true
		case <-r.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// await waits for c to be closed, and reports whether this node runs still.
func (r *Replica) await(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-r.Done(): // the bus is open
		return false
	case <-ctx.Done():
		return false
	}
}

// shutOut reports whether NATS lets this node in as a peer, but not to clients.
func (r *Replica) shutOut() bool {
	up, since := r.conns[busclient.RoleControl].Up()
	return up && time.Since(since) >= deafAfter && r.deaf() != ""
}

// abort ends the node for what was found, unless it ends anyway.
func (r *Replica) abort(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		r.node.Abort(err)
	}
}
