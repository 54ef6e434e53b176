package busclient

// Whether the other end of a connection lives (F10): it does while anything comes from it, and while it takes what had to wait. NATS's
// client goes by the answers to its pings alone. These wait behind a flood of requests, and behind what a slow way has yet to carry: it
// would give up a connection that does all it can, and with it all that is under way.

import (
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// lookInterval is how often a connection is looked at.
	lookInterval = 500 * time.Millisecond
	// silentLooksMax is how many looks in a row may find nothing new. They are counted, not timed: a process that was stopped, and goes on,
	// has not looked, and gives up nothing. NATS's client pings once in keepAliveInterval, so a server has something to say.
	silentLooksMax = 6
)

// life is written by who reads and who writes.
type life struct {
	signs   atomic.Uint64
	reading atomic.Bool // somebody waits for the other end; else it is this one that is slow

	// Of who looks.
	seen   uint64
	silent int // so many looks in a row
}

func (l *life) sign() { l.signs.Add(1) }

// ended reports whether the other end has shown no life for so long that it has none. It is called once in lookInterval.
func (l *life) ended() bool {
	seen := l.seen
	if l.seen = l.signs.Load(); l.seen != seen || !l.reading.Load() {
		l.silent = 0
		return false
	}
	l.silent++
	return l.silent >= silentLooksMax
}

// look gives a connection up whose other end lives no more, and has itself called again.
func (c *laneConn) look() {
	switch {
	case c.closed.Load():
	case c.life.ended():
		c.outlet.giveUp(nats.ErrStaleConnection)
	default:
		time.AfterFunc(lookInterval, c.look)
	}
}
