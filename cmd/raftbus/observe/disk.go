package observe

// When a disk is slow, and when it is full: looked at now and then, since the disk itself tells nobody.

import (
	"time"

	"github.com/raftbus/raftbus/raft/measure"
)

const (
	// SlowSync is how long a write and its sync take on a slow disk: much longer than a sound one ever takes, and long before an election
	// timeout would have others notice.
	SlowSync = 500 * time.Millisecond
	// slowFor is for how long nothing must be slow until the disk is called sound again.
	slowFor = 5 * time.Second
)

// DiskSample is what is known of a log's disk at one moment.
type DiskSample struct {
	Time    time.Time
	Syncs   measure.Durations // since the start
	Syncing time.Duration     // how long the one under way has taken so far; 0: none is
	Full    bool
}

// DiskWatch makes events of samples. One goroutine uses it.
type DiskWatch struct {
	last DiskSample
	slow time.Time // when it was slow last; zero: it is sound
}

// Look takes the next sample, and returns what has changed since the last: an event, or two.
func (w *DiskWatch) Look(s DiskSample) (events []Event) {
	if s.Full != w.last.Full {
		events = append(events, Event{Kind: KindDisk, State: map[bool]string{true: "full", false: "room"}[s.Full]})
	}
	slowest := max(slowest(s.Syncs.Since(w.last.Syncs)), s.Syncing)
	w.last = s
	switch {
	case slowest >= SlowSync:
		if w.slow.IsZero() {
			events = append(events, Event{Kind: KindDisk, State: "slow", Seconds: slowest.Seconds()})
		}
		w.slow = s.Time
	case !w.slow.IsZero() && s.Time.Sub(w.slow) >= slowFor:
		w.slow = time.Time{}
		events = append(events, Event{Kind: KindDisk, State: "ok"})
	}
	return events
}

// Slow reports whether the disk was slow lately.
func (w *DiskWatch) Slow() bool { return !w.slow.IsZero() }

// slowest is what the slowest took at least.
func slowest(d measure.Durations) time.Duration {
	for i := len(d.Counts) - 1; i > 0; i-- {
		if d.Counts[i] > 0 {
			return measure.Bounds[i-1]
		}
	}
	return 0
}
