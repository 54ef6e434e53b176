package node

// A node's life: its goroutines, and its end, by Stop or by an error of one of them.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/raftbus/raftbus/raft"
)

// lifetime is how a node's goroutines end.
type lifetime struct {
	stop     chan struct{} // closed to end them
	stopOnce sync.Once
	group    sync.WaitGroup
	done     chan struct{} // closed when all have ended
	err      error         // why, if not Stop; written before stop is closed
}

// Start begins the node's work on a bus that has n as its owner. An error means that nothing was started: the log
// belongs to other members than those configured, or holds less than the state machine has applied, or Stop was called meanwhile.
func (n *Node) Start(bus Bus) error {
	n.inline = true
	n.delayTimer = time.AfterFunc(math.MaxInt64, n.delayOver)
	if err := n.prepare(bus); err != nil {
		return err
	}
	n.spawn("loop", n.loop)
	n.spawn("appender", n.appender.run)
	n.spawn("applier", n.applier.run)
	n.spawn("loader", n.loader.run)
	n.spawn("cutter", n.cutter.run)
	n.spawn("compactor", n.compact.run)
	n.spawn("receiver", n.receiver.run)
	go func() { // ends with the last of them
		n.group.Wait()
		close(n.done)
	}()
	return nil
}

// spawn runs one of the node's goroutines. Its error, or a broken invariant, stops the node.
func (n *Node) spawn(name string, run func(stop <-chan struct{}) error) {
	n.group.Add(1)
	go func() {
		defer n.group.Done()
		if err := guard(func() error { return run(n.stop) }); err != nil {
			n.fail(fmt.Errorf("%s: %w", name, err))
		}
	}()
}

// guard makes an error of a broken invariant.
func guard(run func() error) (err error) {
	defer func() {
		switch broken := recover().(type) {
		case nil:
		case *raft.InvariantError:
			err = broken
		default:
			panic(broken)
		}
	}()
	return run()
}

// fail stops the node for a reason. The first one counts.
func (n *Node) fail(err error) {
	n.stopOnce.Do(func() {
		n.err = err
		n.logger.Error("node stops", "err", err)
		close(n.stop)
	})
}

// Abort stops a node from outside, for a reason that Err then gives: such as another process with its id.
func (n *Node) Abort(err error) { n.fail(err) }

// Ending is closed when the node begins to stop, by Stop or by itself: from then on it serves nobody. Done may never follow, if a disk hangs (F22).
func (n *Node) Ending() <-chan struct{} { return n.stop }

// Done is closed when the node has stopped, by Stop or by itself.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node stopped by itself; nil while it runs and after Stop. A failed sync, damage, a broken invariant.
func (n *Node) Err() error {
	select {
	case <-n.stop:
		return n.err
	default:
		return nil
	}
}

// Stop ends the node: a leader steps down first, writes under way become durable, nothing more is applied. It returns
// when all goroutines have ended, or with ctx's error if that takes longer than ctx allows. Call it once, after Start. With a ctx that has ended it may be
// called before that too, to end a Start that is under way: one that reads a received snapshot, which may take minutes, returns ErrStopped.
func (n *Node) Stop(ctx context.Context) error {
	n.resign(ctx)
	n.stopOnce.Do(func() { close(n.stop) })
	select {
	case <-n.done:
		return n.err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), errors.New("the node's disk or state machine did not finish in time"))
	}
}

// resign makes a leader step down, and waits until it has.
func (n *Node) resign(ctx context.Context) {
	turned := make(chan struct{})
	if !n.inbox.call(func() {
		n.stepDown()
		close(turned)
	}) {
		return
	}
	select {
	case <-turned:
	case <-n.stop:
	case <-ctx.Done():
	}
}
