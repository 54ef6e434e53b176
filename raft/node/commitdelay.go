package node

// Group commit, with a commit delay. A batch of proposals costs much whatever is in it (a sync on each node, messages and their answers, those who
// are woken), and each proposal in it little. Clients that wait for an answer before they ask again come back together, a moment after a commit
// has answered them: the first of them would be a batch alone, and the others wait for that. So when all that was under way is
// committed, the next batch is delayed until most of them have come.
//
// A delay never pays for one who comes alone, and is short where others do:
//   - it takes no longer than commitDelayBatches times what the last batch took, and commitDelayMax at most;
//   - there is none unless the last batch had several proposals, so that a client alone waits for nobody;
//   - it ends when as many wait as most of those who were answered and those who waited already: some may be gone, and the last of many
//     come late. Clients that come at times of their own lose that moment, and are carried in fewer batches;
//   - it ends when raft.BatchEnough wait, whose batch costs little for each. So under overload, when more always wait, there is none;
//   - there is none while a batch is under way, for then Core.Patience says what waits.
//
// The core knows nothing of it, nor of time: to it, proposals come a moment later. Where somebody drives the node by Steps there is none.

import (
	"time"

	"github.com/raftbus/raftbus/raft"
)

const (
	// commitDelayMax bounds a delay: where a batch takes long, as over a long way or with a slow disk, it is little beside that.
	commitDelayMax = 3 * time.Millisecond
	// commitDelayBatches bounds a delay by the last batch: where processors are short, clients take longer to come back than a batch takes, and
	// it is then that fewer batches leave them more.
	commitDelayBatches = 4
	// commitDelayMin is what a delay is not worth a timer for.
	commitDelayMin = 20 * time.Microsecond
	// commitSiblings is how many proposals the last batch had at least, for a delay of the next one.
	commitSiblings = 4
)

// commitDelay is owned by whoever takes a turn.
type commitDelay struct {
	size  int // of the last batch, in proposals
	began time.Time
	open  bool      // it is not known to be committed
	wants int       // while the next batch is delayed: with so many proposals it goes; 0: it is not
	until time.Time // when it goes in any case
}

// proposed begins a batch. More than one may be under way; the last is committed last.
func (d *commitDelay) proposed(now time.Time, size int) {
	*d = commitDelay{size: size, began: now, open: true}
}

// committed hears that no batch is under way any more, and how many proposals wait. It returns how long the next batch is delayed, from now on.
func (d *commitDelay) committed(now time.Time, waiting int) time.Duration {
	if !d.open {
		return 0
	}
	d.open = false
	most, delay := min((d.size+waiting)*7/8, raft.BatchEnough), min(commitDelayBatches*now.Sub(d.began), commitDelayMax)
	if d.size < commitSiblings || waiting >= most || delay < commitDelayMin {
		return 0
	}
	d.wants, d.until = most, now.Add(delay)
	return delay
}

// expire ends a delay whose time is over.
func (d *commitDelay) expire(now time.Time) {
	if !now.Before(d.until) {
		d.wants = 0
	}
}

// patience is how many proposals are to wait for others.
func (d *commitDelay) patience() int { return max(d.wants-1, 0) }

// patience is how many proposals are to wait, for a batch under way or for others to go with them. The turn is the caller's.
func (n *Node) patience() int {
	if !n.inline || !n.core.Idle() {
		return n.core.Patience()
	}
	if n.delay.open {
		if delay := n.delay.committed(time.Now(), n.inbox.proposals()); delay > 0 {
			n.delayTimer.Reset(delay)
		}
	}
	return n.delay.patience()
}

// delayOver is called when a delay's time is over, or an earlier one's was.
func (n *Node) delayOver() {
	n.turning.Lock()
	if !n.over && n.delay.wants > 0 {
		n.delay.expire(time.Now())
		n.hold()
	}
	n.turning.Unlock()
	n.act(hasty)
}
