package kv

// Traces of requests whose clients ask for one, by the header traceparent (W3C) with its flag 'sampled'. Without Options.Trace nobody
// looks at the header.

import (
	"strings"
	"time"

	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

const headerTraceParent = "traceparent"

// Trace is a request that was answered, and when it came how far. What does not belong to it, or is not known, is zero.
type Trace struct {
	Parent    string // the header
	Door      string // kv, bucket, jetstream
	Operation string // put, get, ...; by the JetStream API: read, write
	Arrived   time.Time
	Proposed  time.Time // a write: it was given to the node
	Entry     rpc.Index // of the last command that was logged for it
	Applied   time.Time
	Confirmed time.Time // a read: this node led when it came, and has applied what was committed then
	Answered  time.Time
	node.Milestones
}

// begin has a request traced, if its client asks for it.
func (s *Service) begin(r *request) {
	if s.trace == nil || r.msg.Header == nil {
		return
	}
	if parent := r.msg.Header.Get(headerTraceParent); sampled(parent) {
		r.trace = &Trace{Parent: parent, Arrived: time.Now()}
	}
}

// sampled reports whether a traceparent says so: 00-<32 hex>-<16 hex>-<flags>. Its ids are looked at by who makes spans.
func sampled(parent string) bool {
	const flags = len("00-") + 32 + len("-") + 16 + len("-")
	return len(parent) >= flags+2 && parent[flags-1] == '-' && strings.IndexByte("13579bdf", parent[flags+1]) >= 0
}

func (t *Trace) proposed() {
	if t != nil {
		t.Proposed = time.Now()
	}
}

func (t *Trace) applied(at rpc.EntryID) {
	if t != nil {
		t.Entry, t.Applied = at.Index, time.Now()
	}
}

func (t *Trace) confirmed() {
	if t != nil {
		t.Confirmed = time.Now()
	}
}

// traced gives away the trace of a request that was answered.
func (s *Service) traced(r *request) {
	t := r.trace
	if t == nil {
		return
	}
	t.Answered, t.Door = time.Now(), r.door.String()
	if t.Operation == "" {
		t.Operation = map[bool]string{true: "write", false: "read"}[r.logged.Load()]
	}
	if n, can := s.node.(interface {
		Milestones(rpc.Index) node.Milestones
	}); can && t.Entry > 0 {
		t.Milestones = n.Milestones(t.Entry)
	}
	s.trace(*t)
}
