package node

// Work on the spot: a small write or run is done by who took the turn, not by the appender or the applier, if such work has been quick of late.
// To wake their goroutines, on other threads, costs more than the work itself, and a client that is alone waits for all of it.
//
// A write is done so by who reads the bulk connection, and a run by the appender too. Heartbeats and votes come over the control connection, reads
// over the clients', and the loop lets time pass: these never wait for a disk (L5, F22). A leader's own write is never done so: it goes on reading
// meanwhile.
//
// A disk that begins to hang, or a state machine, holds up for once who was quick before. That may be a run behind a write, the appender behind a
// run, or the bulk connection with its pings. Two or three seconds later the links of that node may break. It is then as one that is cut off, and
// comes back with its disk.
//
// Before a turn ends, what is left to be done is in the queue of whose work it is, in its order. Who can do it does; who cannot wakes that
// goroutine. Where somebody drives the node by Steps, nothing is done on the spot.

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/wal"
)

// taker is who takes a turn, by what it may wait for. Each next does all that those before it do, and what a step on the spot brings about is for
// the one before: so steps nest no deeper than there are takers.
type taker int

const (
	hasty   taker = iota // nothing: it is needed elsewhere at once
	steady               // a run of the applier: who has just made entries durable
	patient              // a write too
)

const (
	// spotSyncMax and spotApplyMax are what a write and a run may take to count as quick: some syncs of a good disk, on a machine that has
	// other work.
	spotSyncMax  = 4 * time.Millisecond
	spotApplyMax = time.Millisecond
	// spotQuickMin is after how many quick ones in a row the next is done on the spot.
	spotQuickMin = 4
	// spotBytesMax bounds a write and a run that is done on the spot, and spotEntriesMax a run: with more the goroutines' work beside the turns
	// gains more than their waking costs.
	spotBytesMax   = 64 << 10
	spotEntriesMax = 8
)

// spot keeps a goroutine and those who do its work on the spot apart, so that all is done in the order of its queue: each step is in a run, which
// begin or try begins.
type spot struct {
	bell        // for the goroutine to look at its queue
	act  func() // takes the turn that a step is the reason of

	mu    sync.Mutex // held during a step
	ended bool       // by the goroutine's end or a fatal error: nobody does its work any more
	acts  bool       // of a step: act is to be called after it
	quick atomic.Int32
}

func newSpot(act func()) *spot { return &spot{bell: newBell(), act: act} }

// ready reports whether a step may be tried on the spot.
func (s *spot) ready() bool { return s.quick.Load() >= spotQuickMin }

// begin waits until nobody else is at it. False: nothing is to be done any more.
func (s *spot) begin() bool {
	s.mu.Lock()
	return s.goesOn()
}

// try is begin for who is not the goroutine: it waits for nobody.
func (s *spot) try() bool { return s.mu.TryLock() && s.goesOn() }

// goesOn lets go if all has ended.
func (s *spot) goesOn() bool {
	ended := s.ended
	if ended {
		s.mu.Unlock()
	}
	return !ended
}

// attempt does a step for who is not the goroutine, or leaves it to that: also when the disk is full, for which it waits.
func (s *spot) attempt(step func() (worked bool, err error)) error {
	if !s.try() {
		s.ring()
		return nil
	}
	_, err := s.run(step)
	if errors.Is(err, wal.ErrFull) {
		s.ring()
		return nil
	}
	return err
}

// run does a step, and then what follows of it, for which the queue is not kept waiting. After an error that is fatal, or a panic, no other begins.
func (s *spot) run(step func() (worked bool, err error)) (bool, error) {
	worked, acts, err := s.runStep(step)
	if acts {
		s.act()
	}
	return worked, err
}

func (s *spot) runStep(step func() (bool, error)) (worked, acts bool, err error) {
	defer s.mu.Unlock()
	s.ended, s.acts = true, false
	worked, err = step()
	s.ended = err != nil && !errors.Is(err, wal.ErrFull)
	return worked, s.acts, err
}

// took notes how long work took that went well: only after some that were quick the next is done on the spot.
func (s *spot) took(d, most time.Duration) {
	if d > most {
		s.slow()
	} else if !s.ready() {
		s.quick.Add(1)
	}
}

func (s *spot) slow() { s.quick.Store(0) }

// end is the goroutine's, when it ends: it waits for who is at it, and nobody begins any more.
func (s *spot) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
}

// spotWork is what a turn left to who took it.
type spotWork struct{ write, apply bool }

// leavesWrite reports whether a turn's write is to be done on the spot: one that others wait for, as an AppendLog's is. A leader sends its
// entries to others and syncs beside them, and reads their answers meanwhile.
func (n *Node) leavesWrite(e *raft.Effects) bool {
	return n.taker >= patient && e.Write.Seq > 0 && len(e.SendAfterSync) > 0 && n.appender.spot.ready()
}

func (n *Node) leavesApply(run raft.Apply) bool {
	return n.taker >= steady && littleRun(run) && n.applier.spot.ready()
}

// littleRun reports whether a run is little, and in memory.
func littleRun(run raft.Apply) bool {
	bytes := 0
	for i := range run.Entries {
		bytes += run.Entries[i].Size()
	}
	return len(run.Entries) > 0 && len(run.Entries) <= spotEntriesMax && bytes <= spotBytesMax
}

// onSpot does what a turn left, after it: first what a leader waits for. What cannot be done here is given to whose it is. What somebody brought
// during the turn is not to wait for it.
func (n *Node) onSpot(w spotWork) error {
	if n.inbox.due(n.held()) {
		n.inbox.ring()
	}
	if w.write {
		if err := n.appender.onSpot(); err != nil {
			return err
		}
	}
	if w.apply {
		return n.applier.onSpot()
	}
	return nil
}
