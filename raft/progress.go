package raft

// How far a leader's peers are.

import "github.com/raftbus/raftbus/raft/rpc"

// progress is what a leader knows of one peer's log, and how it sends to it.
//
// probing: one AppendLog at a time, until it is known where the logs match. replicating: many in flight, sent ahead of
// their answers. Whether the link is connected is another matter: a broken link only stops the sending.
type progress struct {
	match, next rpc.Index
	replicating bool
	waiting     bool   // probing: an AppendLog is unanswered
	tries       int    // probing: how many with entries were, since an answer came
	tried       uint64 // and when the first was, or what was taken for lost then; 0: none was
	loading     bool   // entries are being read from the disk for it
	stuck       bool   // the log no longer holds what it needs
	after       bool   // it has installed a snapshot, and what it lacks since is not all in memory yet; see gains
	connected   bool

	seen   rpc.Index // how far its log was last said to match, and when that was first more
	seenAt uint64

	flying      []flight // replicating: AppendLogs unanswered, oldest first
	flyingBytes int
	window      window

	lacked   rpc.Index // after a snapshot: how much of the log, as of the last time that this was looked at
	lackedAt uint64    // when that was

	goal   rpc.Index // a learner: what the log held when it last began a round of catching up (thesis 4.2.1)
	goalAt uint64    // when that was

	stream
	told  rpc.Index // the highest commit index it was told, as far as it can have used it
	read  uint64    // the highest ReadIndex round it confirmed
	heard uint64    // tick of its last return of any kind
	acked uint64    // tick of its last accepted AppendLog, or of more of a snapshot stored

	denials  int    // how often it denied what it has acknowledged, each time asked anew
	deniedAt uint64 // tick in which it last did

	streamed uint64 // how much of the snapshot under way it has stored, or of one before that this node could not read to its end
	unread   bool   // the last one ended for that
	restored uint64 // how much of snapshots its state machine has taken; from nothing again when its process is started again
}

// flight is an AppendLog on its way: its last index, its size, the tick in which it left, and that in which a heartbeat's answer first said that it is
// there; 0: none has. One without entries only asks for the answer to those before it.
type flight struct {
	last  rpc.Index
	bytes int
	at    uint64
	seen  uint64
}

// saw takes how far the peer's log was said to match. Of what it was said to have before, and was sent again, it says nothing.
func (p *progress) saw(last rpc.Index, now uint64) {
	if last <= p.seen {
		return
	}
	for i := range p.flying {
		if f := &p.flying[i]; f.last > p.seen && f.last <= last {
			f.seen = now
		}
	}
	p.seen, p.seenAt = last, now
}

// probe forgets what was sent ahead, and begins again behind what is known to match. While nothing is known to match yet
// the place being probed stays: far below it the log may be compacted.
func (p *progress) probe() {
	if p.replicating {
		p.next = p.match + 1
	}
	p.replicating, p.waiting, p.tries, p.tried, p.loading = false, false, 0, 0, false
	if len(p.flying) > 0 {
		p.tried = p.flying[0].at
	}
	p.flying, p.flyingBytes = p.flying[:0], 0
	p.window.lost()
	p.told = min(p.told, p.match)
}

// landed notes an accepted AppendLog that reached up to match.
func (p *progress) landed(match rpc.Index, now uint64, lim *Limits) {
	n, left, seen, flying := 0, p.tried, uint64(0), p.flyingBytes
	for n < len(p.flying) && p.flying[n].last <= match {
		if f := &p.flying[n]; f.bytes > 0 {
			left, seen = f.at, f.seen
		}
		p.flyingBytes -= p.flying[n].bytes
		n++
	}
	if left > 0 {
		p.window.landed(now, left, seen, flying-p.flyingBytes, flying, p.loading, lim)
	}
	p.flying, p.tried = append(p.flying[:0], p.flying[n:]...), 0
	p.match = max(p.match, match)
	if p.next <= match {
		p.next, p.loading = match+1, false // what is being loaded is behind that: its Loaded will be ignored (K62)
	}
	p.replicating, p.waiting, p.denials = true, false, 0
}

// denies: it refused what follows all that it has acknowledged. There is nowhere to go back to, so the same is sent again, but only when the next
// heartbeat is due: no busy loop. It reports whether that is certain, the first time. A refusal may be late, also one that comes after what was sent since
// another: so three are wanted, each after the peer was asked anew.
func (p *progress) denies(now uint64) bool {
	p.waiting = true
	if p.sent <= p.deniedAt {
		return false
	}
	p.denials, p.deniedAt = p.denials+1, now
	return p.denials == 3
}

// installed: it has a snapshot now, and lacks so much of the log that follows it.
func (p *progress) installed(lacks rpc.Index, now uint64) {
	p.stuck, p.after, p.unread = false, true, false
	p.lacked, p.lackedAt = lacks, now
}

// gains reports whether who catches up after a snapshot comes nearer to the log's end, which it is asked of once in awayMax. To hold the log for who
// takes in less than clients write is to no purpose, and would fill the disk.
func (p *progress) gains(lacks rpc.Index, now uint64) bool {
	if now-p.lackedAt < awayMax {
		return true
	}
	before := p.lacked
	p.lacked, p.lackedAt = lacks, now
	return lacks < before
}

// probesMax bounds how long a probe waits for its answer: eight heartbeats.
const probesMax = 4

// attempt notes an AppendLog to a peer that is probed.
func (p *progress) attempt(now uint64, entries int) {
	if entries == 0 {
		return
	}
	if p.tried == 0 {
		p.tried = now
	}
	p.tries = min(p.tries+1, probesMax)
}

// again is after how many ticks entries are sent again to which no answer came, twice as many each time: over a slow way they may not have
// arrived yet, and what is sent again and again keeps all else from arriving.
func (p *progress) again(t *Ticks) uint64 {
	return max(uint64(t.Heartbeat)<<max(p.tries-1, 0), p.window.twice(t))
}

// arrived: what is being probed, and all up to last, is in the peer's log, so the answer is lost or on its way. What comes after it is
// sent, and not the same again; the answer to that attests both.
func (p *progress) arrived(last rpc.Index) {
	p.next, p.waiting, p.tries, p.tried, p.loading = last+1, false, 0, 0, false // what is being loaded is behind that (K62)
}

// unasked: what the peer said that it has is not attested, and no answer to come attests it. So it is when the answer to what followed was lost, after
// a late one to what came before.
func (p *progress) unasked() bool {
	return p.replicating && len(p.flying) == 0 && p.match < p.next-1
}

// ready reports whether another AppendLog may leave now.
func (p *progress) ready(lim *Limits) bool {
	switch {
	case !p.connected || p.loading || p.stuck:
		return false
	case !p.replicating:
		return !p.waiting
	}
	return len(p.flying) < lim.FlyingMax && p.flyingBytes < p.window.bytes(lim)
}
