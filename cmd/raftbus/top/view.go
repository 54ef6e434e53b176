package top

// What is shown of a cluster: two samples of it, compared. It only computes; package page and text.go draw it.

import (
	"strings"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/raft/measure"
)

// View is what two samples say of a cluster: a line of `raftbus top --json`, and what the web page draws. Fields are added, never renamed.
type View struct {
	Prefix string    `json:"prefix"`
	Time   time.Time `json:"time"`   // of the later sample
	Leader string    `json:"leader"` // empty: none that serves has answered
	Term   uint64    `json:"term"`   // the highest that somebody told
	Writes Flow      `json:"writes"` // of all nodes
	Reads  Flow      `json:"reads"`
	Errors float64   `json:"errors_per_second"` // that clients were told
	Nodes  []Node    `json:"nodes"`             // by id
	// Trouble is why nobody could be asked; absent: all were.
	Trouble string `json:"trouble,omitempty"`
}

// Flow is what was done between the samples. All is 0 where there is no earlier one of the same process.
type Flow struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_seconds"`
	P99       float64 `json:"p99_seconds"`
}

// Node is one node of a view.
type Node struct {
	ID       string    `json:"id"`
	Answers  bool      `json:"answers"`
	Since    time.Time `json:"since,omitzero"` // one that does not answer: when it did last; absent: it never did
	Version  string    `json:"version"`
	Role     string    `json:"role"`
	Leader   string    `json:"leader"` // whom it follows
	Term     uint64    `json:"term"`
	Ready    bool      `json:"ready"`
	Problems []string  `json:"problems"` // reasons and warnings, as it tells them
	First    uint64    `json:"log_first"`
	Last     uint64    `json:"log_last"`
	Commit   uint64    `json:"commit"`
	Applied  uint64    `json:"applied"`
	Lag      *uint64   `json:"lag,omitempty"` // entries of the leader's log that it is not known to hold; absent: nobody knows
	Writes   Flow      `json:"writes"`
	Reads    Flow      `json:"reads"`
	Errors   float64   `json:"errors_per_second"`
	Syncs    Flow      `json:"syncs"` // writes to the log, each with its sync
	Written  float64   `json:"log_bytes_per_second"`
	LogBytes int64     `json:"log_bytes"`
	Store    uint64    `json:"store_bytes"`
	DiskSlow bool      `json:"disk_slow"`
	DiskFull bool      `json:"disk_full"`
	Links    []Link    `json:"links"`
}

// Link is a node's link to another.
type Link struct {
	To        string    `json:"to"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`
	RoundTrip float64   `json:"round_trip_seconds"`
	Reason    string    `json:"reason,omitempty"`
}

// change is what happened at one node between two samples.
type change struct {
	seconds              float64
	writes, reads, syncs measure.Durations
	errors, written      uint64
}

// Compare makes the view of a sample, with the one before it for rates and latencies.
func Compare(before, after Sample) View {
	v := View{Time: after.Time, Nodes: []Node{}}
	var all change
	for i := range after.Nodes {
		now := &after.Nodes[i]
		c := between(before.find(now.Node), now)
		n := node(now, after.Time, c)
		v.Nodes = append(v.Nodes, n)
		all.writes, all.reads = all.writes.And(c.writes), all.reads.And(c.reads)
		v.Writes.PerSecond += n.Writes.PerSecond
		v.Reads.PerSecond += n.Reads.PerSecond
		v.Errors += n.Errors
		v.Term = max(v.Term, now.Term)
		if now.Prefix != "" {
			v.Prefix = now.Prefix
		}
	}
	v.Writes.quantiles(all.writes)
	v.Reads.quantiles(all.reads)
	if leader := leader(after); leader != nil {
		v.Leader = leader.Node
		v.addLag(leader)
	}
	return v
}

// leader is the node that leads and serves, in the highest term of those that answered.
func leader(s Sample) (best *Seen) {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.At.Equal(s.Time) && n.Role == "leader" && n.Health.Ready && (best == nil || n.Term > best.Term) {
			best = n
		}
	}
	return best
}

func (v *View) addLag(leader *Seen) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.ID == leader.Node {
			n.Lag = new(uint64)
		}
		for _, p := range leader.Peers {
			if p.ID == n.ID {
				n.Lag = p.Lag
			}
		}
	}
}

func node(s *Seen, now time.Time, c change) Node {
	n := Node{
		ID: s.Node, Answers: s.At.Equal(now), Version: s.Version, Role: s.Role, Leader: s.Leader, Term: s.Term, Ready: s.Health.Ready,
		First: s.Log.First, Last: s.Log.Last, Commit: s.Log.Commit, Applied: s.Log.Applied,
		Writes: c.flow(c.writes), Reads: c.flow(c.reads), Syncs: c.flow(c.syncs), Errors: c.rate(c.errors), Written: c.rate(c.written),
		LogBytes: s.Disk.LogBytes, Store: s.Store.Bytes, DiskSlow: s.Disk.Slow, DiskFull: s.Disk.Full, Links: []Link{}, Problems: []string{},
	}
	if !n.Answers {
		n.Since, n.Ready = s.At, false
		return n // its links and problems may be others by now
	}
	n.Problems = append(append(n.Problems, s.Health.Reasons...), s.Health.Warnings...)
	for _, p := range s.Peers {
		l := Link{To: p.ID, Connected: p.Link == "connected", Since: p.Since, RoundTrip: p.RoundTrip, Reason: p.Reason}
		if p.Refusal != "" {
			l.Reason = p.Refusal
		}
		n.Links = append(n.Links, l)
	}
	for _, conn := range s.NATS {
		if !conn.Up {
			n.Problems = append(n.Problems, strings.TrimSuffix("its "+conn.Role+" connection to NATS is down: "+conn.LastError, ": "))
		}
	}
	return n
}

// between is what a node did from one sample to the next; nothing if they are not of one process, or it did not answer again.
func between(before, now *Seen) (c change) {
	if before == nil || !before.Started.Equal(now.Started) || !now.Time.After(before.Time) {
		return c
	}
	c.seconds = now.Time.Sub(before.Time).Seconds()
	c.writes = since(total(now.Doors, writes), total(before.Doors, writes))
	c.reads = since(total(now.Doors, reads), total(before.Doors, reads))
	c.syncs = since(measured(now.Disk.Syncs), measured(before.Disk.Syncs))
	c.errors = less(told(now.Doors), told(before.Doors))
	c.written = less(now.Disk.Bytes, before.Disk.Bytes)
	return c
}

func (c change) rate(count uint64) float64 {
	if c.seconds <= 0 {
		return 0
	}
	return float64(count) / c.seconds
}

func (c change) flow(d measure.Durations) Flow {
	f := Flow{PerSecond: c.rate(d.Count())}
	f.quantiles(d)
	return f
}

func (f *Flow) quantiles(d measure.Durations) {
	f.P50, f.P99 = d.Quantile(0.5).Seconds(), d.Quantile(0.99).Seconds()
}

func writes(d observe.Door) observe.Durations { return d.Writes }
func reads(d observe.Door) observe.Durations  { return d.Reads }

// total adds up what all doors counted.
func total(doors []observe.Door, of func(observe.Door) observe.Durations) (sum measure.Durations) {
	for _, d := range doors {
		sum = sum.And(measured(of(d)))
	}
	return sum
}

// measured is a histogram as this build has them; nothing if the node's build has others.
func measured(d observe.Durations) measure.Durations {
	m, ok := d.Measured()
	if !ok {
		return measure.Durations{}
	}
	return m
}

// since is a difference, bucket by bucket: of sums over doors, one bucket may be torn while they were read.
func since(now, before measure.Durations) (d measure.Durations) {
	for i := range d.Counts {
		d.Counts[i] = less(now.Counts[i], before.Counts[i])
	}
	d.Sum = max(0, now.Sum-before.Sum)
	return d
}

func less(a, b uint64) uint64 { return a - min(a, b) }

func told(doors []observe.Door) (n uint64) {
	for _, d := range doors {
		for _, e := range d.Errors {
			n += e.Count
		}
	}
	return n
}
