package node

// Driving a node by hand, as the simulator does.

import (
	"errors"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/wal"
)

// Steps drive a node by hand: there is no goroutine and no timer, and nothing happens but what one goroutine calls. Each step is
// the very function that a goroutine of Start is a shell around, so a simulator runs what production runs, in whatever order
// and at whatever pace it likes: a disk is slow while nobody calls Append, a state machine while nobody calls Apply.
//
// A step reports whether there was work. After an error the node has stopped, as in production, and Node.Err says why: the
// steps that follow do nothing. To crash a node, call nothing more of it, but Abandon.
type Steps struct {
	node  *Node
	ended bool
}

// Waiting says which steps of a node have work now.
type Waiting struct {
	Turn    bool // something is in the inbox; a turn may also be due because time passes
	Append  bool
	Apply   bool
	Load    bool
	Cut     bool // for a snapshot that is sent
	Receive bool // of one that comes
	Compact bool
}

// StartSteps is Start for a node driven by hand. The node's own doors (Propose, Status, busclient.Owner, ...) work as ever,
// but Stop: use Steps.Stop.
func (n *Node) StartSteps(bus Bus) (*Steps, error) {
	if err := guard(func() error { return n.prepare(bus) }); err != nil {
		return nil, err
	}
	return &Steps{node: n}, nil
}

// Waiting looks for work.
func (s *Steps) Waiting() Waiting {
	n := s.node
	if closed(n.stop) {
		return Waiting{}
	}
	return Waiting{Turn: n.inbox.due(n.held()), Append: n.appender.waits(), Apply: n.applier.waiting() > 0, Load: n.loader.waiting() > 0,
		Cut: n.cutter.waiting() > 0, Receive: n.receiver.waits(), Compact: n.compact.waiting() > 0}
}

// Quiet is for how many ticks there need be no turn, if nothing comes.
func (s *Steps) Quiet() int { return s.node.rest.quiet }

// Turn is one turn of the loop, with all that waits in the inbox and so many ticks of Timing.Tick; as in production it takes
// no more than 10 of them at once, and of Quiet before what waits.
func (s *Steps) Turn(ticks int) (worked bool, err error) {
	ticks = min(ticks, ticksAtOnceMax)
	worked = ticks > 0 || s.node.inbox.due(s.node.held())
	return s.step(worked, func() error { return s.node.takeTurn(s.node.rest.split(ticks)) })
}

// Append makes durable all that waits for it, with one sync, and lets the messages go that attest it. On a full disk it does
// what there is a place for, and reports no work: the rest waits, and the messages.
func (s *Steps) Append() (worked bool, err error) {
	full := false
	worked, err = s.step(s.node.appender.waits(), func() error {
		_, err := s.node.appender.step()
		if full = errors.Is(err, wal.ErrFull); full {
			return nil
		}
		return err
	})
	return worked && !full, err
}

// Apply applies one run of entries, or puts a snapshot in the place of the state.
func (s *Steps) Apply() (worked bool, err error) {
	return s.step(s.node.applier.waiting() > 0, func() error { _, err := s.node.applier.step(); return err })
}

// Load reads once from the log, for one peer.
func (s *Steps) Load() (worked bool, err error) { return s.work(&s.node.loader.worker) }

// Cut opens, cuts or closes a snapshot that is sent to a peer: one chunk.
func (s *Steps) Cut() (worked bool, err error) { return s.work(&s.node.cutter.worker) }

// Receive stores all chunks of a snapshot that wait.
func (s *Steps) Receive() (worked bool, err error) {
	return s.step(s.node.receiver.waits(), func() error { _, err := s.node.receiver.step(); return err })
}

// Compact looks whether the log can be compacted, or does it.
func (s *Steps) Compact() (worked bool, err error) { return s.work(&s.node.compact.worker) }

// work is a worker's step.
func (s *Steps) work(w *worker) (worked bool, err error) {
	return s.step(w.waiting() > 0, func() error { _, err := w.step(); return err })
}

// step does work, unless there is none or the node has stopped.
func (s *Steps) step(worked bool, do func() error) (bool, error) {
	n := s.node
	if closed(n.stop) { // by Stop, or by somebody from outside, as Node.Abort is
		s.end()
		return false, n.Err()
	}
	if !worked {
		return false, nil
	}
	err := guard(do)
	if err != nil {
		n.fail(err)
		s.end()
	}
	return true, err
}

// end answers all who wait, once.
func (s *Steps) end() {
	if !s.ended {
		s.ended = true
		s.node.end()
		s.letGo()
		close(s.node.done)
	}
}

// letGo closes what is open of snapshots.
func (s *Steps) letGo() {
	_ = s.node.cutter.end() // they were only read from
	s.node.receiver.end()
}

// Stop ends the node as Node.Stop does: a leader steps down, writes under way become durable. The log and the state machine
// may be closed then.
func (s *Steps) Stop() error {
	n := s.node
	n.inbox.call(n.stepDown)
	_, err := s.Turn(0)
	for worked := true; worked && err == nil; {
		worked, err = s.Append()
	}
	s.node.stopOnce.Do(func() { close(s.node.stop) })
	s.end()
	return err
}

// Abandon ends the node in the middle of what it does, as a crash would: it takes nothing in any more, and nobody who waits is
// answered.
func (s *Steps) Abandon() {
	if !s.ended {
		s.ended = true
		s.letGo()
	}
	s.node.inbox.close()
	s.node.stopOnce.Do(func() { close(s.node.stop) })
}

// stepDown makes a leader step down. On the loop.
func (n *Node) stepDown() {
	if n.core != nil && !n.over {
		n.core.Step(raft.Resign{})
	}
}
