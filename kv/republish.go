package kv

// Entries of buckets that say so are published again, under another subject, by the leader when it has applied them, in the first account, whose
// clients alone may have it so (jetstream.RepublishElsewhere). It may be lost: what a leader had not sent when it ended, or what the bus
// would not take in time, is not sent. Where to is part of the log (store.Event). It may come twice: what a new leader applies is sent, also if the one before had sent it.

import (
	"context"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

const (
	// republishMax and republishBytesMax bound what waits to be published again.
	republishMax      = 8_192
	republishBytesMax = 32 << 20
	// republishSubjectMax bounds a subject: NATS ends a connection on which a line of more than 4 KiB comes (F11), and a mapping may name a part of a
	// key again and again.
	republishSubjectMax = 3 << 10
	// republishedAhead is how much leaves before it is awaited that NATS has it: answers, and what a planned move waits for, leave behind no more than
	// that (L9, L2).
	republishedAhead = 1 << 20
)

// republishing is what waits to be published again, and what was not.
type republishing struct {
	known   map[string]republication // by bucket; of who applies
	waiting chan *nats.Msg
	bytes   atomic.Int64 // in it
	drops   atomic.Uint64
	refused atomic.Uint64 // for what the messages would have been
}

func newRepublishing() republishing {
	return republishing{waiting: make(chan *nats.Msg, republishMax), known: map[string]republication{}}
}

// republication is a bucket's, as it was made of what the settings say.
type republication struct {
	of command.Republish
	to *jetstream.Republication
}

// republicationsMax bounds how many are remembered.
const republicationsMax = 1_024

// republication is where an entry is to be published again; nil if nowhere. On the node's goroutine.
func (s *Service) republication(e *store.Event) *jetstream.Republication {
	if e.Republish == nil || !s.first() || len(e.Republish.Source) > jetstream.SourceMax { // that of an earlier release, which no subject matches
		return nil
	}
	known, is := s.republishing.known[e.Bucket]
	if is && known.of == *e.Republish {
		return known.to
	}
	if len(s.republishing.known) >= republicationsMax {
		clear(s.republishing.known)
	}
	to := jetstream.NewRepublication(e.Bucket, command.Settings{Republish: e.Republish})
	s.republishing.known[e.Bucket] = republication{*e.Republish, to}
	return to
}

// republish passes an entry on to be published again, on the node's goroutine.
func (s *Service) republish(e *store.Event) {
	to := s.republication(e)
	if to == nil {
		return
	}
	subject, m, matches := to.Message(e.Entry, e.Previous)
	if !matches {
		return
	}
	if why := s.unpublishable(subject); why != "" {
		if s.republishing.refused.Add(1) == 1 {
			s.logger.Warn("entries of a bucket are not published again: "+why+", give the bucket another republish destination; this is said once", "bucket", e.Bucket, "subject", subject[:min(len(subject), 100)])
		}
		return
	}
	msg := &nats.Msg{Subject: subject, Header: m.Header, Data: m.Data}
	size := int64(msg.Size())
	if s.republishing.bytes.Add(size) <= republishBytesMax {
		select {
		case s.republishing.waiting <- msg:
			return
		default:
		}
	}
	s.republishing.bytes.Add(-size)
	if dropped := s.republishing.drops.Add(1); dropped&(dropped-1) == 0 {
		s.logger.Warn("entries are not published again: the bus takes them too slowly", "so_far", dropped)
	}
}

// unpublishable is why nothing is sent on a subject; empty: it is.
func (s *Service) unpublishable(subject string) string {
	switch {
	case jetstream.IsOrder(s.prefix, subject):
		return "the messages would be orders to nodes or to NATS"
	case len(subject) > republishSubjectMax:
		return "the subject is longer than NATS takes"
	}
	return ""
}

// republisher publishes them, no faster than NATS takes them: what waits meanwhile is bounded, and what is too much is counted.
func (s *Service) republisher() {
	defer s.wg.Done()
	for ahead := 0; ; {
		select {
		case <-s.stop:
			return
		case msg := <-s.republishing.waiting:
			s.republishing.bytes.Add(-int64(msg.Size()))
			if err := s.conn.PublishMsg(msg); err != nil {
				s.logger.Debug("an entry could not be published again", "err", err)
			}
			if ahead += msg.Size(); ahead >= republishedAhead {
				s.awaitTaken()
				ahead = 0
			}
		}
	}
}

// awaitTaken returns when NATS has all that was published, or the connection is away, or the service ends.
func (s *Service) awaitTaken() {
	for s.conn.IsConnected() {
		ctx, cancel := context.WithTimeout(context.Background(), flushWait)
		err := s.conn.FlushWithContext(ctx)
		cancel()
		select {
		case <-s.stop:
			return
		default:
		}
		if err == nil {
			return
		}
	}
}
