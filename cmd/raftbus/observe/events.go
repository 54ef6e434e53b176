package observe

// A node's events: recorded without waiting, counted, and published on NATS in the order in which they came.

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"
)

// Event is something that happened to a node, as it is published on <prefix>.event.<kind>. Fields that do not belong to its kind are
// absent. Events are for people and alarms: they may be lost, so what must be known is read from Stats.
type Event struct {
	Kind string    `json:"kind"` // see the constants
	Time time.Time `json:"time"` // by the node's clock
	Node string    `json:"node"` // whose event it is
	Term uint64    `json:"term"` // that the node was in

	State   string  `json:"state,omitempty"`   // what is so now, by kind
	Peer    string  `json:"peer,omitempty"`    // leader: who, absent when the node knows none; link, snapshot: with whom
	Index   uint64  `json:"index,omitempty"`   // members: of the configuration; snapshot: the state is as of that entry
	Members string  `json:"members,omitempty"` // members: who belongs to the cluster
	Seconds float64 `json:"seconds,omitempty"` // disk: how long the slowest write and sync took, or has taken so far
	Reason  string  `json:"reason,omitempty"`
}

// Kinds of events, and the states of each.
const (
	KindRole     = "role"     // leader, follower, candidate
	KindLeader   = "leader"   // no state: another leader is followed, or none
	KindLink     = "link"     // connected, broken
	KindMembers  = "members"  // pending, committed
	KindSnapshot = "snapshot" // sending, sent, failed: one for a peer; installed: one from the leader
	KindDisk     = "disk"     // slow, fast again: ok; full, room
)

// eventsMax bounds the events that wait, as while NATS is away.
const eventsMax = 256

// Recorder takes a node's events, counts them, and publishes them. Record may be called by any goroutine; it never waits.
type Recorder struct {
	waiting chan Event
	counts  [3]atomic.Uint64 // published, dropped, changes of the leader
	breaks  breaks
}

// NewRecorder makes one. Nothing is published until Publish runs.
func NewRecorder() *Recorder { return &Recorder{waiting: make(chan Event, eventsMax)} }

// Places in Recorder.counts.
const (
	published = iota
	dropped
	leaders
)

// Record takes an event. It is dropped if too many wait.
func (r *Recorder) Record(e Event) {
	switch {
	case e.Kind == KindLeader:
		r.counts[leaders].Add(1)
	case e.Kind == KindLink && e.State == "broken":
		r.breaks.add(e.Peer)
	}
	select {
	case r.waiting <- e:
	default:
		r.counts[dropped].Add(1)
	}
}

// Bus is where events go.
type Bus interface {
	// Ready reports whether what is published now can arrive.
	Ready() bool
	Publish(subject string, data []byte) error
}

// busWait is how often a bus that is away is looked at.
const busWait = 50 * time.Millisecond

// Publish publishes events until ctx ends, on subjects that begin with family and a dot. While the bus is away they wait.
func (r *Recorder) Publish(ctx context.Context, bus Bus, family string) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-r.waiting:
			if !awaitBus(ctx, bus) {
				return
			}
			r.publish(bus, family, e)
		}
	}
}

func awaitBus(ctx context.Context, bus Bus) bool {
	for !bus.Ready() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(busWait):
		}
	}
	return true
}

func (r *Recorder) publish(bus Bus, family string, e Event) {
	data, err := json.Marshal(e)
	if err == nil {
		err = bus.Publish(family+"."+e.Kind, data)
	}
	if err != nil {
		r.counts[dropped].Add(1)
		return
	}
	r.counts[published].Add(1)
}

// Counts are how many events there were.
func (r *Recorder) Counts() Events {
	return Events{Published: r.counts[published].Load(), Dropped: r.counts[dropped].Load()}
}

// LeaderChanges is how often the node followed another leader, or none any more.
func (r *Recorder) LeaderChanges() uint64 { return r.counts[leaders].Load() }

// LinkBreaks is how often the link to a peer broke.
func (r *Recorder) LinkBreaks(peer string) uint64 { return r.breaks.of(peer) }
