package jetstream

// Gets of many messages: a batch from a sequence or a time on, and the newest messages of many keys. Each is of one moment (C1), and leaves some messages
// at a time (Q12). What comes with the messages, and how they end, is as of nats-server.

import (
	"strconv"

	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/subject"
)

const (
	// lastsMax is of how many keys the newest messages may be asked for.
	lastsMax = 1024
	// batchMessagesMax and batchBytesMax bound an answer, whatever is asked for: it says how many are left. The bytes are those of subjects, headers
	// and values; a JetStream sends as many where it is not told how many.
	batchMessagesMax = 64 << 10
	batchBytesMax    = 64 << 20
	// batchPage and batchPageBytes bound what of it is in memory.
	batchPage      = 1_000
	batchPageBytes = 1 << 20
)

// many answers a get of many messages. Its patterns are read when its turn comes: many may wait.
func (g *getRequest) many(bucket string) Plan {
	if len(g.MultiLast) > consumerFiltersMax {
		return answer(status(statusBadRequest))
	}
	return Plan{Stream: func(s *store.Store, wanted func() bool, send func([]Reply) bool) Plan {
		filter, b := g.filter(bucket), &batch{bucket: bucket, send: send, left: g.messages(), room: g.bytes()}
		switch {
		case filter.Wild() > consumerWildMax:
			return answer(status(statusBadRequest))
		case len(g.MultiLast) > 0:
			return g.lasts(s, b, filter, wanted)
		}
		return g.batch(s, b, filter, wanted)
	}}
}

// filter is of the keys that the messages may be of. What is no pattern matches nothing.
func (g *getRequest) filter(bucket string) subject.Filter {
	asked := g.MultiLast
	if g.NextFor != "" {
		asked = []string{g.NextFor}
	}
	if len(asked) == 0 {
		return subject.Filter{}
	}
	patterns := []string{streamOf(bucket)} // under no bucket: it stays where no other does
	for _, text := range asked {
		if _, err := subject.Parse(text); err == nil {
			patterns = append(patterns, text)
		}
	}
	filter, _ := subject.Under(subjectPrefix+bucket, patterns...) // all are patterns
	return filter
}

// messages is how many messages may be sent. A batch of less than none has its end only, as of nats-server.
func (g *getRequest) messages() int {
	if g.Batch == 0 || g.Batch < 0 && len(g.MultiLast) > 0 {
		return batchMessagesMax
	}
	return min(g.Batch, batchMessagesMax)
}

// bytes is how many bytes may be sent; the message that exceeds it is sent too.
func (g *getRequest) bytes() int {
	if g.MaxBytes == 0 {
		return batchBytesMax
	}
	return min(g.MaxBytes, batchBytesMax)
}

// batch sends the messages from a sequence or a time on.
func (g *getRequest) batch(s *store.Store, b *batch, filter subject.Filter, wanted func() bool) Plan {
	q := store.Query{Bucket: b.bucket, From: g.Seq, Filter: filter, Count: true, Max: max(0, min(b.left, batchPage)), MaxBytes: batchPageBytes, Wanted: wanted}
	if g.StartTime != nil {
		q.Since = g.StartTime.UnixNano()
	}
	b.bare = g.NoHeaders
	switch err := s.Pages(q, b.take); {
	case err != nil:
		return answer(status(statusNone))
	case b.last == 0 && g.Batch > 0:
		return answer(status(statusNotFound))
	}
	return b.end("")
}

// lasts sends the newest messages of many keys, with headers in any case.
func (g *getRequest) lasts(s *store.Store, b *batch, filter subject.Filter, wanted func() bool) Plan {
	q := store.Lasts{Bucket: b.bucket, Filter: filter, AsOf: g.UpToSeq, From: g.Seq, Most: lastsMax, MaxBytes: batchPageBytes, Wanted: wanted}
	if g.UpToTime != nil {
		before := g.UpToTime.UnixNano()
		q.Before = &before
	}
	upTo := uint64(0)
	err := s.Lasts(q, func(p *store.EntryPage) bool {
		upTo = p.Last
		return b.take(p)
	})
	switch err {
	case nil:
		return b.end(numberLine(headerUpTo, upTo))
	case store.NoEntry:
		return answer(status(statusNoResults))
	case store.ErrTooMany:
		return answer(status(statusTooMany))
	}
	return answer(status(statusNone))
}

// batch is an answer of many messages on its way.
type batch struct {
	bucket  string
	bare    bool // without headers
	send    func([]Reply) bool
	left    int    // messages that may be sent
	room    int    // bytes
	pending uint64 // how many follow the last message
	last    uint64 // its sequence; 0: none was sent
}

// more reports whether another message may be sent.
func (b *batch) more() bool { return b.left > 0 && (b.room > 0 || b.last == 0) }

// take sends what may be sent of a page, and reports whether there may be another.
func (b *batch) take(p *store.EntryPage) bool {
	if b.last == 0 && p.Count > 0 {
		b.pending = p.Count
	}
	var page []Reply
	for i := 0; i < len(p.Entries) && b.more(); i++ {
		page = append(page, b.message(p.Entries[i]))
	}
	return (len(page) == 0 || b.send(page)) && b.more()
}

// message is the next message.
func (b *batch) message(e store.Entry) Reply {
	b.left--
	b.room -= len(subjectOf(b.bucket, e.Key)) + len(HeaderOf(e)) + len(e.Value)
	before := b.last
	b.last = e.Sequence
	if b.bare {
		return Reply{Data: e.Value} // and for nats-server it does not count
	}
	b.pending--
	r := direct(b.bucket, e, true)
	if r.Block == nil {
		r.Header[headerPending], r.Header[headerLastSequence] = []string{decimal(b.pending)}, []string{decimal(before)}
		return r
	}
	lines := r.Block[:len(r.Block)-len(headerBlockEnd+headerBlockEnd)]
	r.Block = append(lines, numberLine(headerPending, b.pending)+numberLine(headerLastSequence, before)+headerBlockEnd+headerBlockEnd...)
	return r
}

// end is what follows the messages.
func (b *batch) end(more string) Plan {
	return answer(status(statusEnd + numberLine(headerPending, b.pending) + numberLine(headerLastSequence, b.last) + more))
}

// numberLine is a header behind another.
func numberLine(name string, n uint64) string {
	return headerBlockEnd + name + headerSeparator + decimal(n)
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
