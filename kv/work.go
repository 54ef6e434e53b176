package kv

// What a request is on its way through the service, and what it may ask for. Each protocol makes its messages into this, and the service
// carries it out.

import (
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
)

// request is one message of a client on its way through the service. All but the fields for inflight are set before it is
// shared and then only read.
type request struct {
	msg  *nats.Msg
	work work
	// fail is what its client hears, in the words of its protocol, when the service cannot do the work; nothing if that is what it hears.
	fail func(*failure) []reply

	door     doorKind
	trace    *Trace // nil: nobody asked for one; written by who has the request in hand, one after the other
	epoch    uint64 // of leadership, since which it was listened to; see Service.epoch
	deadline time.Time
	weight   int // bytes it counts for in inflight
	logged   atomic.Bool

	client        uint16 // the rest is inflight's
	waits, lasts  bool
	before, after *request
}

// work is what a request asks for, checked: a command to log, or a look at the store once that is confirmed to be up to date.
type work struct {
	command []byte
	done    func(store.Result) ([]reply, *work)       // goes on when it was applied: an answer, or what is to be done next
	look    func() ([]reply, *work)                   // goes on when it was confirmed
	local   bool                                      // look at the store as it is, unconfirmed
	tell    func(store.Entry, error) ([]reply, *work) // goes on in the place of look, with the last entry of newest
	newest  jetstream.Newest
	quick   bool   // the look is at one key
	search  bool   // the look may be at all that a bucket has, or at many names
	writes  bool   // something may be logged, now or after the look
	rest    bool   // the command goes on with what was done in part; as many may follow
	wide    bool   // the command may look at many keys where it is applied
	made    string // the bucket that the command makes
	apart   bool   // its answer may take a while: it is not given where commands are applied
	bucket  string // the command makes, changes or removes it: its answer waits until the subscription follows
}

// none reports whether there is nothing to do.
func (w *work) none() bool { return w.command == nil && w.look == nil && w.tell == nil }

// todo is work for a request, on its way to somebody who does it.
type todo struct {
	request *request
	work    work
}

// reply is a message to a client.
type reply struct {
	status string // the first line of its headers, after NATS/1.0: then there is nothing else
	header nats.Header
	block  []byte // in the place of header: the headers as on the wire
	data   []byte
}

const (
	// requestOverheadBytes is what a request weighs beside its message's bytes.
	requestOverheadBytes = 512
	// headerLineBytes is what a line of its header weighs beside: it is read into a map, and may have four bytes itself.
	headerLineBytes = 128
)

// weightOf is what a message weighs as a request.
func weightOf(m *nats.Msg) int {
	weight := m.Size() + requestOverheadBytes
	for _, values := range m.Header {
		weight += len(values) * headerLineBytes
	}
	return weight
}

// newRequest is a message as a request, of the epoch in which who brought it began to listen: it may have waited since, and another led meanwhile
// and carried out a copy (K25).
func (s *Service) newRequest(msg *nats.Msg, epoch uint64) *request {
	r := &request{
		msg:      msg,
		epoch:    epoch,
		deadline: time.Now().Add(s.timeout),
		weight:   weightOf(msg),
	}
	s.begin(r)
	return r
}

// hasBrokenHeader reports whether a message came with headers that could not be read: a lane says so, nats.go leaves them out.
func (s *Service) hasBrokenHeader(msg *nats.Msg) bool {
	if s.lane != nil {
		return msg.Header != nil && len(msg.Header) == 0
	}
	return msg.Header == nil && msg.Size() > len(msg.Subject)+len(msg.Reply)+len(msg.Data)
}

// hasLongHeader reports whether a message came with headers that were not read, since they are beyond the bounds of a lane.
func hasLongHeader(msg *nats.Msg) bool {
	_, is := msg.Header[""]
	return is
}
