package node

// Installing a snapshot, throttled (L7): a state machine that takes all it is given at full speed takes the processor and the
// disk from whoever else needs them, on this node its own log, and clients notice. So it is given the stream with rests in
// between. What a step costs is seen by how long it takes, whatever it waits for: on a busy machine the rests are longer.

import (
	"io"
	"sync/atomic"
	"time"
)

const (
	// throttleWork is how much work is done between two rests: short beside what a client waits for its write.
	throttleWork = 4 * time.Millisecond
	// throttleRest is how many times as long as the work a rest is. Measured with three nodes on one disk and two cores that had other work, p99 of
	// writes while 256 MiB were installed, 7 to 18 ms before and after it: 174 and 267 ms without rests, 38 and 40 ms with 3 times,
	// 12 and 24 ms with 7 times, at 25 to 28 MiB/s.
	throttleRest = 7
	// throttleRestMax bounds a rest: work that met a stalled disk is no reason to wait as long again.
	throttleRestMax = 100 * time.Millisecond
)

// throttledReader is a reader that rests, and counts. Whoever reads works between two calls.
type throttledReader struct {
	from  io.Reader
	count *atomic.Uint64 // of bytes read
	now   func() time.Time
	rest  func(time.Duration)
	since time.Time // when the work began that goes on
}

func (t *throttledReader) Read(p []byte) (int, error) {
	if worked := t.now().Sub(t.since); worked >= throttleWork {
		t.rest(min(throttleRest*worked, throttleRestMax))
		t.since = t.now()
	}
	n, err := t.from.Read(p)
	t.count.Add(uint64(n))
	return n, err
}

// stopReader is a reader that ends once the node stops: the next start installs the snapshot.
type stopReader struct {
	io.Reader
	stop <-chan struct{}
}

func (r stopReader) Read(p []byte) (int, error) {
	if closed(r.stop) {
		return 0, ErrStopped
	}
	return r.Reader.Read(p)
}
