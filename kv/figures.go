package kv

// What the service counts of its requests: two atomic additions and a look at the clock for each answer. Nothing is decided by it.

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/raft/measure"
)

// doorKind is one of the ways in that a client can take.
type doorKind uint8

const (
	doorKV doorKind = iota
	doorBucket
	doorJetStream
	doorsCount
)

func (d doorKind) String() string { return [...]string{"kv", "bucket", "jetstream"}[d] }

// errCodesMax is above ErrCode-errCodeBase of every ErrorKind; a test holds it to that.
const (
	errCodeBase = 30_000
	errCodesMax = 64
)

type figures struct {
	doors [doorsCount]struct {
		reads, writes measure.Histogram
		errors        [errCodesMax]atomic.Uint64
	}
	unanswered atomic.Uint64
}

// answered counts an answer to a request that was carried out, or refused by the state.
func (s *Service) answered(r *request) {
	d := &s.figures.doors[r.door]
	took := time.Since(r.deadline.Add(-s.timeout))
	if r.logged.Load() {
		d.writes.Observe(took)
	} else {
		d.reads.Observe(took)
	}
}

// failed counts an error that a client is told.
func (f *figures) failed(d doorKind, code int) {
	if i := code - errCodeBase; i > 0 && i < errCodesMax {
		f.doors[d].errors[i].Add(1)
	}
}

// nativeDoor is the door of an operation's kind.
func nativeDoor(kind string) doorKind {
	if strings.HasPrefix(kind, "bucket_") {
		return doorBucket
	}
	return doorKV
}

// Figures are what a Service counted since it was made, and how much it has in hand.
type Figures struct {
	Doors         []DoorFigures
	Unanswered    uint64 // requests given up in silence, or too many to be refused: their clients' time-outs tell them
	Unrepublished uint64 // entries that were not published again: the bus took them too slowly, they would have been orders to nodes or to NATS, or the subject was too long
	InFlight      int    // requests
	InFlightMax   int
	Bytes         int // that they weigh
	BytesMax      int
	Reads         int // confirmed, and waiting for a reader
	ReadsMax      int
}

// DoorFigures are of the requests that came one way: kv, bucket (native) or jetstream.
type DoorFigures struct {
	Door          string
	Reads, Writes measure.Durations
	Errors        map[ErrorKind]uint64
}

// Figures returns what was counted. It holds up nobody.
func (s *Service) Figures() Figures {
	f := Figures{
		Unanswered: s.figures.unanswered.Load(), Unrepublished: s.republishing.drops.Load() + s.republishing.refused.Load(),
		InFlightMax: s.inflight.countMax, BytesMax: s.inflight.bytesMax, Reads: s.reads.waiting(), ReadsMax: s.reads.max,
	}
	s.inflight.mu.Lock()
	f.InFlight, f.Bytes = s.inflight.count, s.inflight.bytes
	s.inflight.mu.Unlock()
	for kind := range doorsCount {
		d := &s.figures.doors[kind]
		one := DoorFigures{Door: kind.String(), Reads: d.reads.Read(), Writes: d.writes.Read(), Errors: map[ErrorKind]uint64{}}
		for _, k := range ErrorTable {
			if n := d.errors[k.ErrCode-errCodeBase].Load(); n > 0 {
				one.Errors[k] = n
			}
		}
		f.Doors = append(f.Doors, one)
	}
	return f
}

// And are two services' figures together, but for what they have in hand, which is the first's.
func (f Figures) And(other Figures) Figures {
	f.Unanswered += other.Unanswered
	f.Unrepublished += other.Unrepublished
	doors := slices.Clone(f.Doors)
	for i := range doors {
		doors[i] = doors[i].and(other.Doors[i])
	}
	f.Doors = doors
	return f
}

func (d DoorFigures) and(other DoorFigures) DoorFigures {
	d.Reads, d.Writes = d.Reads.And(other.Reads), d.Writes.And(other.Writes)
	d.Errors = maps.Clone(d.Errors)
	for kind, n := range other.Errors {
		d.Errors[kind] += n
	}
	return d
}

// Told is how many requests were answered, and how many heard 'busy'.
func (f Figures) Told() (requests, busy uint64) {
	for _, d := range f.Doors {
		requests += d.Reads.Count() + d.Writes.Count()
		busy += d.Errors[Busy]
	}
	return requests, busy
}
