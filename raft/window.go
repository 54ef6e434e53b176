package raft

// How much is on its way to a peer at a time.

// window bounds the AppendLogs on their way to a peer by what the way carries (L7). Without it a slow one is full for seconds: what else is to go over
// it, as pings and heartbeats, comes too late, links break and leaders step down; and what is only slow is taken for lost and sent again, which
// makes it slower. It begins small, grows by what is answered while it is what holds entries back, and is halved when answers take much longer than
// they need to. It is a matter of speed alone: no safety rule reads it. All times are in ticks.
type window struct {
	size  int    // bytes that may be unanswered; less than the least: that
	least uint64 // what an answer took at least, lately, in 1/256
	way   uint64 // what answers take: up at once, down slowly
	rest  uint64 // when it may be halved again
}

const (
	// windowLeast is the least window: at 64 KiB a second its answer comes within half a second.
	windowLeast = 32 << 10
	// windowSlack is how much longer than twice its least an answer may take: a disk's hiccup is no full way.
	windowSlack = 20
	// windowFar is the longest least: more is no distance but a way that is full all the time.
	windowFar = 30
	// windowTook is the longest that counts: what took longer was lost in between.
	windowTook = 200
)

// bytes is how many may be unanswered.
func (w *window) bytes(lim *Limits) int { return min(max(w.size, windowLeast), lim.FlyingBytesMax) }

// message is how many bytes one AppendLog may have: a slow way carries two at a time, so that one is seen to arrive while the other is on it.
func (w *window) message(lim *Limits) int {
	if w.bytes(lim) == lim.FlyingBytesMax {
		return lim.AppendBytesMax
	}
	return min(w.bytes(lim)/2, lim.AppendBytesMax)
}

// patience is for how long what is not answered is not taken for lost.
func (w *window) patience(t *Ticks) uint64 { return max(2*uint64(t.Heartbeat), w.twice(t)) }

// twice is what a way may take and as much again; half the time at most after which a leader steps down whose entries nobody acknowledges: one
// loss, after an answer that took seconds, must not cost it the office.
func (w *window) twice(t *Ticks) uint64 { return min(2*w.way, uint64(t.ElectionMax)/2) }

// landed notes an answer: when the last message that it is for had left, when that was first known to be there (0: by the answer only), for how many
// bytes the answer is, and how many were unanswered until then. What it took after the message was there is the peer's disk: that makes no way full. While more is
// loaded from this node's disk, one message at a time, half a window is not full only since messages are no larger.
func (w *window) landed(now, left, seen uint64, bytes, flying int, loading bool, lim *Limits) {
	took := min(now-left, windowTook)
	came := took
	if seen > 0 {
		came = min(came, seen-left)
	}
	w.time(took, came)
	size := w.bytes(lim)
	switch least := w.least >> 8; {
	case came > 2*least+windowSlack:
		if now >= w.rest {
			w.size, w.rest = size/2, now+took
		}
	case flying <= size/2 && !loading, flying <= size/4:
	case came <= least+windowSlack/2:
		w.size = min(size+bytes, lim.FlyingBytesMax)
	default:
		w.size = min(size+bytes/8, lim.FlyingBytesMax)
	}
}

// time follows the least slowly, should the way be longer now for good; at once while next to nothing is on it that could make it longer.
func (w *window) time(took, came uint64) {
	fine := came << 8
	if fine < w.least || w.size <= windowLeast {
		w.least = fine
	}
	w.least = min(w.least+(fine-w.least)>>8, windowFar<<8)
	w.way = max(took, w.way-w.way/8)
}

// lost begins small again, after a loss.
func (w *window) lost() { w.size = 0 }
