package node

// Who takes a turn: whoever has brought something for it, on the spot, because to wake another goroutine costs more than most turns take. It is
// one at a time. Who finds one under way leaves what it brought to whoever takes that one and looks again after it, or wakes the loop if the turn
// left it work (spot.go); so nothing waits that could be taken. The loop's goroutine takes the turns that nobody takes: when time passes, and
// when something came from who must not be held up by a turn, and rings.
//
// Requests of clients are left waiting while enough is under way: what is acknowledged next takes all of them along, as one batch. For a moment
// they also wait for each other (commitdelay.go).

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/raft"
)

// turns is who takes one, and what lasts for one.
type turns struct {
	turning    sync.Mutex   // held by whoever takes a turn
	inline     bool         // those who bring something take turns; false: only the loop, or who drives by Steps
	writesWait atomic.Int64 // see hold
	readsWait  atomic.Bool
	delayTimer *time.Timer // calls delayOver; nil unless inline

	// Owned by the loop: by whoever takes a turn.
	delay   commitDelay
	rest    rest
	over    bool            // the loop has ended
	taker   taker           // of the turn under way
	left    spotWork        // by it
	offered bool            // a received snapshot was, in this turn, to the core
	steps   []raft.Proposal // reused
	spent   batch           // reused
}

// held says what of the inbox is no reason for a turn now.
type held struct {
	writes int // so many, and fewer
	reads  bool
}

// turnsMax is how many turns somebody takes who has other work: with more the loop goes on.
const turnsMax = 2

// act takes a turn or two on the caller's goroutine, if there is reason to and nobody else does. The caller holds no lock, and may hold
// the turn: then it does nothing.
func (n *Node) act(by taker) {
	for range turnsMax {
		if !n.inbox.due(n.held()) || !n.tryTurn(by) {
			return
		}
	}
	if n.inbox.due(n.held()) {
		n.inbox.ring()
	}
}

// Gather implements Prompter.
func (n *Node) Gather() { n.inbox.gathering.Store(true) }

// Prompt implements Prompter.
func (n *Node) Prompt(whole bool) {
	n.inbox.gathering.Store(false)
	n.delivered(whole, hasty)
}

// delivered is told that messages were handed out: all that had arrived, or one of maybe many that wait with it. Then the
// loop's goroutine is woken, which finds more of them.
func (n *Node) delivered(whole bool, by taker) {
	if whole {
		n.act(by)
	} else {
		n.inbox.ring()
	}
}

func (n *Node) deliveredTo(by taker) func(bool) {
	return func(whole bool) { n.delivered(whole, by) }
}

// tryTurn takes one turn, if none is under way, and does what it left. It reports whether another may be tried.
func (n *Node) tryTurn(by taker) bool {
	left, ok := n.turnOf(by)
	if !ok || left == (spotWork{}) {
		return ok
	}
	err := guard(func() error { return n.onSpot(left) })
	if err != nil {
		n.fail(err)
	}
	return err == nil
}

// turnOf takes one turn, if none is under way.
func (n *Node) turnOf(by taker) (left spotWork, ok bool) {
	if !n.turning.TryLock() {
		return left, false
	}
	defer n.turning.Unlock()
	if n.over {
		return left, false
	}
	n.taker, n.left = by, spotWork{}
	err := guard(func() error { return n.takeTurn(n.rest.missed()) })
	n.taker, left = hasty, n.left
	if err != nil {
		n.over = true
		n.fail(err)
	}
	return left, err == nil
}

// loopTurn is a turn of the loop's own goroutine, and what came up meanwhile.
func (n *Node) loopTurn(alarmed bool) error {
	n.turning.Lock()
	err := error(nil)
	if alarmed {
		n.rest.rung()
	}
	if !n.over {
		err = guard(func() error { return n.takeTurn(n.rest.passed(time.Now())) })
		n.over = err != nil
	}
	n.turning.Unlock()
	if err == nil {
		n.act(hasty)
	}
	return err
}

func (n *Node) held() held { return held{writes: int(n.writesWait.Load()), reads: n.readsWait.Load()} }

// hold says at the end of a turn what is to wait for one that something else is the reason of.
func (n *Node) hold() {
	if n.core != nil {
		n.writesWait.Store(int64(n.patience()))
	}
	n.readsWait.Store(n.core != nil && n.core.Confirming())
}

// report brings the completion of a goroutine's work. It reports whether who did it is to act then: not if it has more work.
func (n *Node) report(e raft.Event, more bool) bool {
	n.inbox.completedOr(more || !n.inline, e)
	return n.inline && !more
}
