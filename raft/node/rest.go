package node

// When the loop wakes. While anything is asked of a node, or under way, once a tick; a node at rest sleeps through the ticks of which its core
// says that they do nothing (raft.Core.Quiet), since to be woken is most of what an idle node costs. They are stepped with whatever comes next: by
// a turn before it takes what is new, so that the core sees nothing earlier than it was. All here is owned by whoever takes a turn.

import "time"

const (
	// restAfter is for how many ticks nothing was asked or done before a node rests: those who ask again and again find it awake.
	restAfter = 10
	// restTicks bounds the ticks from one waking to the next: well below those that may pass at once (ticksAtOnceMax).
	restTicks = 5
)

// rest is when to wake, and what passes meanwhile.
type rest struct {
	beat  metronome
	alarm *time.Timer // wakes the loop; nil where somebody steps the node by hand
	at    time.Time   // for when it is set
	calm  int         // ticks since anything was asked or done
	quiet int         // of the ticks to come, so many do nothing
}

// begin sets the first alarm.
func (r *rest) begin(tick time.Duration) {
	r.beat = metronome{period: tick, last: time.Now()}
	r.at = r.beat.next(1)
	r.alarm = time.NewTimer(tick)
}

// elapsed are the ticks that a turn is to step: those that did nothing, before what it takes, and the others after.
type elapsed struct{ slept, due int }

func (e elapsed) ticks() int { return e.slept + e.due }

// passed is called by the loop.
func (r *rest) passed(now time.Time) elapsed {
	return r.split(r.beat.ticks(now))
}

func (r *rest) split(ticks int) elapsed {
	slept := min(ticks, r.quiet)
	return elapsed{slept, ticks - slept}
}

// missed is passed for who takes a turn and is not the loop: at rest time passes that the loop is not woken for.
func (r *rest) missed() elapsed {
	if r.quiet == 0 || r.alarm == nil {
		return elapsed{}
	}
	return r.passed(time.Now())
}

// plan ends a turn: it sets the alarm, unless that is set for the same time. quiet: for so many ticks.
func (r *rest) plan(quiet int) {
	r.quiet = min(quiet, restTicks-1)
	if at := r.beat.next(r.quiet + 1); r.alarm != nil && !at.Equal(r.at) {
		r.at = at
		r.alarm.Reset(time.Until(at))
	}
}

// rung: the alarm went off.
func (r *rest) rung() { r.at = time.Time{} }

// quiet is for how many ticks this node may sleep.
func (n *Node) quiet() int {
	if n.core == nil || n.rest.calm < restAfter || len(n.streams.list) > 0 {
		return 0
	}
	return n.core.Quiet()
}

// noteCalm notes whether a batch was asked for, or is of this node's own work.
func (r *rest) noteCalm(b *batch, ticks int) {
	if len(b.completions)+len(b.proposals)+len(b.reads) > 0 {
		r.calm = 0
	} else {
		r.calm += ticks
	}
}
