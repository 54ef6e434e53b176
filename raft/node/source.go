package node

// Reading the state for snapshots that are sent.

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"slices"
	"sync"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// source cuts a snapshot of the state machine into chunks, as they are asked for: WriteTo pushes, so it runs as a coroutine that
// stands still between two chunks. No more than two chunks are in memory, whatever the size of the state. One caller at
// a time.
type source struct {
	snapshot Snapshot
	pull     func() ([]byte, error, bool)
	stop     func()
	ahead    []byte // cut and not given away: whether it is the last is not known before the next
	digest   hash.Hash
	closing  sync.Once
}

// openSource takes a view of the state, to be cut into chunks of so many bytes. The stream begins with the time of its last entry.
func openSource(machine StateMachine, chunkBytes int, timeOf func(rpc.EntryID) (int64, error)) (*source, error) {
	snapshot, err := machine.Snapshot()
	if err != nil {
		return nil, err
	}
	time, err := timeOf(snapshot.ID())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the time of entry %v: %w", snapshot.ID(), err), snapshot.Close())
	}
	s := &source{snapshot: snapshot, digest: sha256.New()}
	s.pull, s.stop = iter.Pull2(Chunks(binary.LittleEndian.AppendUint64(nil, uint64(time)), snapshot, chunkBytes))
	if s.ahead, err = s.next(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// errNotWanted ends a WriteTo whose chunks nobody wants any more.
var errNotWanted = errors.New("the snapshot is not wanted any more")

// Chunks are a few bytes, fewer than size, and what a snapshot writes after them, in pieces of size bytes, each the caller's to keep; the last may
// be shorter, and there is none that is empty.
func Chunks(first []byte, snapshot io.WriterTo, size int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		w := &chunkWriter{size: size, yield: yield}
		_, _ = w.Write(first)
		_, err := snapshot.WriteTo(w)
		switch {
		case w.over:
		case err != nil:
			yield(nil, fmt.Errorf("write out a snapshot: %w", err))
		case len(w.chunk) > 0:
			yield(w.chunk, nil)
		}
	}
}

type chunkWriter struct {
	size  int
	yield func([]byte, error) bool
	chunk []byte
	over  bool
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if w.over {
			return n, errNotWanted
		}
		if w.chunk == nil {
			w.chunk = make([]byte, 0, w.size) // whoever takes it keeps it
		}
		take := min(len(p)-n, w.size-len(w.chunk))
		w.chunk = append(w.chunk, p[n:n+take]...)
		n += take
		if len(w.chunk) == w.size {
			chunk := w.chunk
			w.chunk = nil
			w.over = !w.yield(chunk, nil)
		}
	}
	return len(p), nil
}

func (s *source) next() ([]byte, error) {
	chunk, err, ok := s.pull()
	if !ok || err != nil {
		return nil, err
	}
	s.digest.Write(chunk)
	return chunk, nil
}

// cut returns the next chunk, and with the last one the digest of all.
func (s *source) cut() (data []byte, digest []byte, err error) {
	data = s.ahead
	if s.ahead, err = s.next(); err != nil {
		return nil, nil, err
	}
	if s.ahead == nil {
		digest = s.digest.Sum(nil)
	}
	return data, digest, nil
}

// close lets go of the state. It may be called again.
func (s *source) close() (err error) {
	s.closing.Do(func() {
		s.stop()
		err = s.snapshot.Close()
	})
	return err
}

// cutter reads the state for the streams: one view at a time is opened, cut or closed. It owns the sources.
type cutter struct {
	worker
	sources []*source
}

// open takes a view of the state. A log that is found damaged meanwhile ends the node.
func (c *cutter) open(machine StateMachine, size int, timeOf func(rpc.EntryID) (int64, error), then func(*source, error)) {
	c.do(func() error {
		source, err := openSource(machine, size, timeOf)
		if err == nil {
			c.sources = append(c.sources, source)
		}
		then(source, err)
		if bad := (*wal.CorruptError)(nil); errors.As(err, &bad) {
			return fmt.Errorf("open a snapshot: %w", withRemedy(err))
		}
		return nil
	})
}

func (c *cutter) cut(s *source, then func(data, digest []byte, err error)) {
	c.do(func() error { then(s.cut()); return nil })
}

func (c *cutter) close(s *source) {
	c.do(func() error {
		c.sources = slices.DeleteFunc(c.sources, func(o *source) bool { return o == s })
		_ = s.close() // it was only read from
		return nil
	})
}

// run is the cutter's goroutine.
func (c *cutter) run(stop <-chan struct{}) error { return errors.Join(c.worker.run(stop), c.end()) }

// end lets go of all views.
func (c *cutter) end() error {
	var errs []error
	for _, s := range c.sources {
		errs = append(errs, s.close())
	}
	c.sources = nil
	return errors.Join(errs...)
}
