package sim

// A node's clock (F24): its wall clock may be off and be stepped, its monotonic one may run fast or slow, and both stand still
// while the machine is suspended. What code under test gets is a time.Time with both readings, as time.Now gives it: so that a
// stepped wall clock moves no deadline here that it would not move in production.

import (
	"time"
	"unsafe"
)

// epoch is the true time at the world's beginning.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type nodeClock struct {
	world *world
	// At the world's moment since, the monotonic reading was mono, and the wall clock was off from the truth by wall.
	since, mono time.Duration
	wall        time.Duration
	rate        float64 // how much of the monotonic clock passes per true nanosecond
	asleep      bool    // the machine is suspended
}

// read is the monotonic reading now.
func (c *nodeClock) read() time.Duration {
	if c.asleep {
		return c.mono
	}
	return c.mono + time.Duration(float64(c.world.now-c.since)*c.rate)
}

// now is what time.Now would say on that machine.
func (c *nodeClock) now() time.Time { return stamp(epoch.Add(c.world.now+c.wall), c.read()) }

// when is the world's moment at which the clock will show that monotonic reading, as things are.
func (c *nodeClock) when(t time.Time) time.Duration {
	left := t.Sub(c.now())
	return c.world.now + time.Duration(float64(max(left, 0))/c.rate) + 1
}

// drift lets the clock run at another rate from now on.
func (c *nodeClock) drift(rate float64) {
	c.since, c.mono = c.world.now, c.read()
	c.rate = rate
}

// suspend stops the monotonic clock, until wake. It never goes back, not even when the machine is started anew meanwhile.
func (c *nodeClock) suspend() {
	c.mono = c.read()
	c.asleep = true
}

func (c *nodeClock) wake() {
	if c.asleep {
		c.since, c.asleep = c.world.now, false
	}
}

// parts is a time.Time from within: with the topmost bit of wall set, wall holds seconds since 1885 and nanoseconds, and ext
// the monotonic reading. TestStampsAreTimesWithTwoReadings holds it to what package time does.
type parts struct {
	wall uint64
	ext  int64
	loc  *time.Location
}

// stamp makes a time with both readings.
func stamp(wall time.Time, mono time.Duration) time.Time {
	const (
		hasMonotonic = 1 << 63
		since1885    = 62135596800 - 59453308800 // from the year 1 to 1970, less to 1885, in seconds
	)
	p := parts{
		wall: hasMonotonic | uint64(wall.Unix()+since1885)<<30 | uint64(wall.Nanosecond()),
		ext:  int64(mono) + 1,
	}
	return *(*time.Time)(unsafe.Pointer(&p))
}
