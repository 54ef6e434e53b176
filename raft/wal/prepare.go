package wal

// The preparer: one goroutine, owned by the Log, that has the next segment ready before the appender needs it. It is the
// only part of the log that meets a full disk in normal life, and then it tries again until there is space. With
// Options.Inline there is no goroutine: whoever needs the segment, or asks whether there is room, makes it.

import (
	"fmt"
	"sync"
	"time"
)

const (
	// prepareRetryMin and prepareRetryMax bound the pause between two attempts on a full disk.
	prepareRetryMin = 50 * time.Millisecond
	prepareRetryMax = 2 * time.Second

	// diskLookEvery is how often the free space of the disk is looked at, when some of it is to be left to others.
	diskLookEvery = time.Second
)

// preparer holds at most one prepared segment.
type preparer struct {
	folder   folder
	keepFree func() int64 // bytes of the disk to leave to others
	inline   bool         // there is no goroutine
	requests chan request // holds the newest request
	stop     chan struct{}
	done     chan struct{}

	inlineMu sync.Mutex // without a goroutine: held by who does its work
	pending  request    // without a goroutine: the newest request; guarded by inlineMu

	mu       sync.Mutex
	changed  sync.Cond
	ready    *segment
	settling bool   // a segment gets its name: what comes of that is known soon
	taken    uint64 // the number of the last segment taken
	err      error  // why there is none: ErrFull while the disk is full, else final
	low      bool   // less than keepFree is free
}

// request asks for a segment of at least so many bytes.
type request struct {
	place place
	size  int64
}

func startPreparer(f folder, o Options) *preparer {
	p := &preparer{
		folder: f, keepFree: o.keepFree, inline: o.Inline,
		requests: make(chan request, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	p.changed.L = &p.mu
	p.look()
	if p.inline {
		close(p.done)
	} else {
		go p.run()
	}
	return p
}

// close ends the goroutine and closes what it prepared.
func (p *preparer) close() error {
	close(p.stop)
	<-p.done
	p.inlineMu.Lock()
	defer p.inlineMu.Unlock()
	if p.ready == nil {
		return nil
	}
	return p.ready.file.Close()
}

// ask requests a segment, in place of what was requested before. Only the appender asks.
func (p *preparer) ask(r request) {
	select {
	case <-p.requests:
	default:
	}
	p.requests <- r
}

// take returns a segment as asked for, waiting while it is being made, but not for a full disk. A ready one that is too
// small is replaced by a larger one, if there is room for that beside it.
func (p *preparer) take(r request) (*segment, error) {
	if p.inline {
		p.ask(r)
		p.serveInline()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awaits(r) {
		p.ask(r) // what is under way may be too small; if it is not, begin sees that nothing is left to be made
	}
	for p.awaits(r) {
		p.changed.Wait()
	}
	if p.err != nil && (!IsFull(p.err) || !p.fits(r)) {
		return nil, p.err // that a larger one has no place is no reason to go without the one that is there
	}
	s := p.ready
	p.ready, p.taken = nil, s.segment
	return s, nil
}

// fits reports whether what is ready will do for r. The caller holds mu.
func (p *preparer) fits(r request) bool { return p.ready != nil && p.ready.size >= r.size }

// awaits reports whether what will do for r is not there, but may be soon. The caller holds mu.
func (p *preparer) awaits(r request) bool { return (p.err == nil || p.settling) && !p.fits(r) }

// keepFree is what KeepFreeBytes says, if anything.
func (o *Options) keepFree() int64 {
	if o.KeepFreeBytes == nil {
		return 0
	}
	return o.KeepFreeBytes()
}

// begin reports whether r is still to be made. What is ready stays so meanwhile: there may be no room for a larger one.
func (p *preparer) begin(r request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.place.segment > p.taken && !p.fits(r) {
		return true
	}
	p.err = nil // if the disk was full, then for one that nobody waits for any more
	return false
}

// claim is asked for the name of the segment whose temporary file is whole. From then on nothing is ready, so that no file is
// replaced under a segment in use; was that taken while the file was written, the name is not to be had. It returns the smaller
// one that was ready, if any: that has the name until the rename. Why there was none stays true until there is one: the rename, and what comes after it, may fail.
func (p *preparer) claim(r request) (small *segment, granted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.place.segment <= p.taken {
		return nil, false
	}
	small = p.ready
	p.ready, p.settling = nil, true
	return small, true
}

// status is nil, or why no segment can be had, or should be.
func (p *preparer) status() error {
	if p.inline {
		p.serveInline()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && p.low {
		return ErrFull
	}
	return p.err
}

// look finds out whether others have the free space that is to be left to them. A file system that can not tell is
// believed to have it; one that does not answer holds up only who looks, and not who asks for the status (F22).
func (p *preparer) look() {
	low := !p.folder.hasFree(p.keepFree())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.low = low
}

// hasFree reports whether so many bytes of the disk are free.
func (f folder) hasFree(bytes int64) bool {
	if bytes <= 0 {
		return true
	}
	usage, err := f.fs.GetDiskUsage(f.dir)
	return err != nil || usage.AvailBytes >= uint64(bytes)
}

// set has s ready.
func (p *preparer) set(s *segment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready, p.err, p.settling = s, nil, false
	p.changed.Broadcast()
}

// putBack has the smaller one ready again that was so before, since the larger one got no name. That one is refused next.
func (p *preparer) putBack(small *segment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = small
}

// refuse says why what was asked for is not to be had. What is ready stays, to be used if the disk is full, and else to be closed.
func (p *preparer) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.settling = err, false
	p.changed.Broadcast()
}

func (p *preparer) run() {
	defer close(p.done)
	ticker := time.NewTicker(diskLookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.look()
		case r := <-p.requests:
			if !p.serve(r) {
				return
			}
		}
	}
}

// serve makes the segment, trying again while the disk is full. It reports false when the preparer is to end.
func (p *preparer) serve(r request) bool {
	for pause := prepareRetryMin; ; pause = longerPause(pause) {
		if err := p.attempt(r); err == nil {
			return true
		} else if !IsFull(err) {
			return false
		}
		select {
		case <-p.stop:
			return false
		case r = <-p.requests:
		case <-time.After(pause):
		}
	}
}

func longerPause(pause time.Duration) time.Duration { return min(2*pause, prepareRetryMax) }

// serveInline is the goroutine's work where there is none: a look at the free space, and one attempt at what was asked
// for last. What failed for want of space is so tried again whenever somebody needs it; what failed otherwise never is.
func (p *preparer) serveInline() {
	p.inlineMu.Lock()
	defer p.inlineMu.Unlock()
	if p.stopped() {
		return
	}
	select {
	case p.pending = <-p.requests:
	default:
	}
	p.look()
	if err := p.failure(); err != nil && !IsFull(err) || p.pending.size == 0 {
		return
	}
	_ = p.attempt(p.pending) // whoever waits for a segment finds the error in p.err
}

func (p *preparer) stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// failure is why there is no segment, or nil.
func (p *preparer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// attempt makes the segment, if it is still to be made, and says what came of it to those who wait. That too many files are open passes as a full
// disk does.
func (p *preparer) attempt(r request) error {
	s, err := p.make(r)
	if TooManyFiles(err) {
		err = fmt.Errorf("%w (%w)", ErrFull, err)
		p.refuse(err)
		return err
	}
	switch {
	case err == nil && s == nil:
	case err == nil:
		p.set(s)
	case IsFull(err):
		p.refuse(ErrFull)
	default:
		// On a failing disk the log stops as a whole: the next segment is not worth a second opinion (D5).
		p.refuse(fmt.Errorf("prepare segment %s: %w", segmentName(r.place.segment), err))
	}
	return err
}

// make returns nil if there is nothing to be made any more.
func (p *preparer) make(r request) (*segment, error) {
	if !p.begin(r) {
		return nil, nil
	}
	p.look()
	if keep := p.keepFree(); keep > 0 && !p.folder.hasFree(keep+r.size) {
		return nil, ErrFull
	}
	if err := p.folder.writeTemp(r.place, r.size, p.stop); err != nil {
		return nil, err
	}
	small, granted := p.claim(r)
	if !granted {
		return nil, p.folder.removeTemp(r.place)
	}
	err := p.folder.rename(r.place)
	switch {
	case small == nil:
	case IsFull(err):
		p.putBack(small) // nothing came of the rename: the file has its name still
	default:
		_ = small.file.Close() // nothing was ever written to it
	}
	if err != nil {
		return nil, err
	}
	return p.folder.settle(r.place, r.size)
}
