// Package observe shows what a node does to whoever watches it: figures, metrics, health, events. It gets the figures from the node
// and decides nothing for it; what is shown here may be read by machines, so names stay once they are out.
package observe

import (
	"time"

	"github.com/raftbus/raftbus/raft/measure"
)

// Stats are a node's figures at one moment, and what it answers on <prefix>.node.<id>.stats. Fields are added, never renamed. Counters
// count since the process began: whoever wants rates takes two of them, and Started tells whether both are of one process.
type Stats struct {
	Node    string    `json:"node"`
	Prefix  string    `json:"prefix"`
	Cluster string    `json:"cluster"` // empty before the first boot is through
	Version string    `json:"version"`
	Time    time.Time `json:"time"`    // of these figures, by the node's clock
	Started time.Time `json:"started"` // of the node

	Health Health `json:"health"`

	Role          string   `json:"role"` // leader, follower, candidate, learner, removed, joining
	Term          uint64   `json:"term"`
	Leader        string   `json:"leader"` // empty: it knows none
	LeaderChanges uint64   `json:"leader_changes"`
	Members       []string `json:"members"` // of the configuration, learners too

	Log   Log   `json:"log"`
	Disk  Disk  `json:"disk"`
	Store Store `json:"store"`

	Peers   []Peer  `json:"peers"` // all others; what only a leader knows is absent elsewhere
	NATS    []Conn  `json:"nats"`
	Doors   []Door  `json:"doors"`
	Queues  []Queue `json:"queues"`
	Watches Watches `json:"watches"` // of the first account
	// Accounts are those that are served beside the first. Doors are of all.
	Accounts []Account `json:"accounts,omitempty"`
	Dropped  []Drop    `json:"dropped"`
	Events   Events    `json:"events"`
	Process  *Process  `json:"process"`

	Unanswered    uint64 `json:"unanswered"`    // requests given up in silence, since somebody else may have done them
	Unrepublished uint64 `json:"unrepublished"` // entries that were not published again: the bus took them too slowly, they would have been orders to nodes or to NATS, or the subject was too long
}

// Health says whether a node is to be left alone, and whether clients are served with it.
type Health struct {
	Node     string   `json:"node"`
	Live     bool     `json:"live"`     // the process works; false: start it again
	Ready    bool     `json:"ready"`    // it follows a leader, or leads and serves
	Reasons  []string `json:"reasons"`  // why it is not live or not ready
	Warnings []string `json:"warnings"` // what an operator should look at all the same
}

// Log is how far a node is, by index of the log.
type Log struct {
	First   uint64 `json:"first"` // the first entry the log holds; last+1 when it holds none
	Last    uint64 `json:"last"`
	Synced  uint64 `json:"synced"` // durable here
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
	Durable uint64 `json:"durable"` // applied, and durable in the store
}

// Disk is what the log does to its disk.
type Disk struct {
	Entries  uint64    `json:"entries"` // made durable
	Bytes    uint64    `json:"bytes"`   // written for that
	LogBytes int64     `json:"log_bytes"`
	Segments int       `json:"segments"`
	Syncs    Durations `json:"syncs"` // writes, each with its sync
	// SyncUnderWay is how long the one under way has taken so far, in seconds; 0: none is.
	SyncUnderWay float64 `json:"sync_under_way_seconds"`
	SyncMax      float64 `json:"sync_max_seconds"`
	Slow         bool    `json:"slow"`     // half a second or more, lately
	Full         bool    `json:"full"`     // no room for writes: they are refused, reads go on
	Damaged      int     `json:"damaged"`  // entries that it lost, and that no leader has given again yet
	Repaired     uint64  `json:"repaired"` // entries that a leader has given again
}

// Store is the size of the state.
type Store struct {
	Bytes       uint64 `json:"bytes"`        // on disk
	MemoryBytes uint64 `json:"memory_bytes"` // not flushed yet
}

// Peer is another member, as the node sees it.
type Peer struct {
	ID         string    `json:"id"`
	Link       string    `json:"link"`               // connected, broken
	Since      time.Time `json:"since"`              // when the link came into its state
	Reason     string    `json:"reason,omitempty"`   // why it is broken
	Refusal    string    `json:"refusal,omitempty"`  // why one takes nothing from the other, and what to do
	RoundTrip  float64   `json:"round_trip_seconds"` // of the last good ping; 0: none yet
	State      string    `json:"state,omitempty"`    // leader only: replicate, probe, snapshot
	Match      *uint64   `json:"match,omitempty"`    // leader only: index up to which it is known to hold the log durably
	Lag        *uint64   `json:"lag,omitempty"`      // leader only: entries of the leader's log that it is not known to hold
	Snapshot   *Snapshot `json:"snapshot,omitempty"` // leader only: one on its way
	LinkBreaks uint64    `json:"link_breaks"`        // how often the link broke
}

// Snapshot is one on its way to a peer.
type Snapshot struct {
	Index  uint64 `json:"index"` // the state as of that entry; 0: it waits for its turn
	Sent   uint64 `json:"sent_bytes"`
	Stored uint64 `json:"stored_bytes"`
}

// Conn is one of the node's connections to NATS: control, bulk, client, and client@<account> for each further account.
type Conn struct {
	Role             string    `json:"role"`
	Up               bool      `json:"up"`
	Server           string    `json:"server,omitempty"` // its name, as NATS gives it
	Reconnects       uint64    `json:"reconnects"`
	Disconnects      uint64    `json:"disconnects"`
	SlowConsumer     uint64    `json:"slow_consumer"` // how often a subscription began to drop messages
	PermissionErrors uint64    `json:"permission_errors"`
	Refused          time.Time `json:"refused,omitzero"`     // when NATS last refused a subject, by the node's clock
	LastError        string    `json:"last_error,omitempty"` // since the last connect
}

// Door is one of the ways in for clients: kv, bucket (the native subjects) or jetstream.
type Door struct {
	Name   string    `json:"name"`
	Reads  Durations `json:"reads"`
	Writes Durations `json:"writes"`
	Errors []Errors  `json:"errors"` // those that were told, by code
}

// Errors counts one kind of error.
type Errors struct {
	Code  int    `json:"code"`
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Queue is how full a queue is. Beyond Max who asks is told 'busy', or what is sent is dropped.
type Queue struct {
	Name    string `json:"name"`
	Waiting int    `json:"waiting"`
	Max     int    `json:"max"`
}

// Watches is what a node does for watchers.
type Watches struct {
	Leaf      bool   `json:"leaf"`                 // its leaf connection is up: without it the node serves none
	LeafError string `json:"leaf_error,omitempty"` // why it is not, if that is known
	Consumers int    `json:"consumers"`            // that it serves
	Hosts     int    `json:"hosts"`                // nodes that can serve watchers, as this one knows
	Account   int    `json:"account"`              // watches of the account on all nodes, which are bounded
	// LeftOut counts entries that watches were not sent, since they are larger than max_payload; again if one is looked at again.
	LeftOut uint64 `json:"left_out"`
}

// Account is an account that is served beside the first.
type Account struct {
	Name      string  `json:"name"`
	Connected bool    `json:"connected"` // the connection to its clients stands
	Watches   Watches `json:"watches"`
	Requests  uint64  `json:"requests"` // that were answered
	Busy      uint64  `json:"busy"`     // that were told to come again, since too many waited
}

// Drop counts the messages between nodes that were dropped for one reason.
type Drop struct {
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// Events counts those of <prefix>.event.<kind>.
type Events struct {
	Published uint64 `json:"published"`
	Dropped   uint64 `json:"dropped"` // too many waited, or NATS was away
}

// Durations is a histogram: how many there were, how long they took in all, and how many took at most each bound and more than the one
// before; the last of Counts is for those beyond all bounds.
type Durations struct {
	Count  uint64    `json:"count"`
	Sum    float64   `json:"sum_seconds"`
	Bounds []float64 `json:"le_seconds"`
	Counts []uint64  `json:"counts"`
}

// bounds are measure.Bounds in seconds. Never changed.
var bounds = func() (list []float64) {
	for _, b := range measure.Bounds {
		list = append(list, b.Seconds())
	}
	return list
}()

// FromMeasured puts a histogram into the form that is shown.
func FromMeasured(d measure.Durations) Durations {
	return Durations{Count: d.Count(), Sum: d.Sum.Seconds(), Bounds: bounds, Counts: d.Counts[:]}
}

// Measured is FromMeasured's reverse, to tell differences and quantiles of; false: its buckets are those of another build.
func (d Durations) Measured() (m measure.Durations, ok bool) {
	if len(d.Counts) != len(m.Counts) {
		return m, false
	}
	for i, b := range d.Bounds {
		if i >= len(bounds) || b != bounds[i] {
			return m, false
		}
	}
	copy(m.Counts[:], d.Counts)
	m.Sum = time.Duration(d.Sum * float64(time.Second))
	return m, true
}
