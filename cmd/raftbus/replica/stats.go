package replica

// Where a node's figures are gathered, once for all who show them. Nothing here waits for a turn of the loop, or holds one up.

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/node"
)

// StatsFor is for how long figures are given again: however many ask, the node is looked at so often.
const StatsFor = 100 * time.Millisecond

// statsCache keeps the last figures.
type statsCache struct {
	mu   sync.Mutex
	last observe.Stats

	textMu sync.Mutex
	text   []byte // of the figures, for Prometheus
	textAt time.Time
}

// Stats are the node's figures, not older than a tenth of a second.
func (r *Replica) Stats() observe.Stats {
	r.stats.mu.Lock()
	defer r.stats.mu.Unlock()
	if time.Since(r.stats.last.Time) >= StatsFor || r.over() {
		r.stats.last = r.gather()
	}
	return r.stats.last
}

// exposition is the text of the figures, made as seldom as they are looked for.
func (r *Replica) exposition() ([]byte, error) {
	r.stats.textMu.Lock()
	defer r.stats.textMu.Unlock()
	if time.Since(r.stats.textAt) < StatsFor && !r.over() {
		return r.stats.text, nil
	}
	text, err := observe.NewMetrics(r).Text()
	if err == nil {
		r.stats.text, r.stats.textAt = text, time.Now()
	}
	return text, err
}

func (r *Replica) gather() observe.Stats {
	status, s := r.Status(), r.node.Status()
	figures := r.figures()
	f := total(figures)
	out := observe.Stats{
		Node: r.o.ID, Prefix: r.config.Prefix(), Cluster: status.Cluster, Version: r.o.Version, Time: time.Now(), Started: r.started,
		Health: r.Health(),
		Role:   status.Role, Term: status.Term, Leader: status.Leader, Members: status.Members, LeaderChanges: r.events.LeaderChanges(),
		Log: observe.Log{
			First: status.LogFirst, Last: status.LogLast, Synced: uint64(s.Synced), Commit: status.Commit, Applied: status.Applied, Durable: uint64(r.store.Durable()),
		},
		Disk: observe.Disk{
			Entries: s.Log.Entries, Bytes: s.Log.Bytes, LogBytes: s.Log.SegmentBytes, Segments: s.Log.Segments, Syncs: observe.FromMeasured(s.Log.SyncTimes),
			SyncUnderWay: s.Log.Syncing.Seconds(), SyncMax: s.Log.SyncMax.Seconds(), Slow: status.Disk.Slow, Full: s.Full, Damaged: s.Damaged, Repaired: s.Log.Repaired,
		},
		Peers: r.peerFigures(s), NATS: r.connFigures(), Doors: doors(f.Doors), Queues: r.queues(figures),
		Watches: status.Watches, Accounts: accountFigures(status.Accounts, figures[1:]), Dropped: r.drops(s.Dropped), Process: observe.ReadProcess(),
		Events: r.events.Counts(), Unanswered: f.Unanswered, Unrepublished: f.Unrepublished,
	}
	size := r.store.Size()
	out.Store = observe.Store{Bytes: size.Disk, MemoryBytes: size.Memory}
	return out
}

// peerFigures are of the links that the node has, and of what a leader knows beside them.
func (r *Replica) peerFigures(s node.Status) []observe.Peer {
	list := []observe.Peer{}
	for _, l := range s.Links {
		p := observe.Peer{ID: string(l.Peer), Link: l.State, Since: l.Since, Reason: l.Reason, Refusal: l.Refusal, RoundTrip: l.RTT.Seconds(), LinkBreaks: r.events.LinkBreaks(string(l.Peer))}
		if s.Role == raft.Leader {
			addProgress(&p, s)
		}
		list = append(list, p)
	}
	return list
}

func addProgress(p *observe.Peer, s node.Status) {
	for _, known := range s.Peers {
		if string(known.ID) != p.ID {
			continue
		}
		match := uint64(known.Match)
		lag := uint64(s.Last) - min(match, uint64(s.Last))
		p.State, p.Match, p.Lag = known.State, &match, &lag
		if t := snapshotTo(s, known.ID); t != nil {
			p.Snapshot = &observe.Snapshot{Index: t.Index, Sent: t.Sent, Stored: t.Stored}
		}
	}
}

// connFigures are of all connections; those to further accounts bear their names.
func (r *Replica) connFigures() []observe.Conn {
	conns := map[string]*busclient.Conn{}
	for role, c := range r.conns {
		conns[string(role)] = c
	}
	for _, s := range r.served {
		conns[busclient.NodeIn(s.name, string(busclient.RoleClient))] = s.conn
	}
	list := []observe.Conn{}
	for _, role := range slices.Sorted(maps.Keys(conns)) {
		c := conns[role]
		up, _ := c.Up()
		s := c.Stats()
		one := observe.Conn{
			Role: role, Up: up, Disconnects: s.Disconnects, SlowConsumer: s.SlowConsumer, PermissionErrors: s.PermissionErrors, Refused: s.Refused, LastError: s.LastError,
			Reconnects: c.NATS().Stats().Reconnects,
		}
		if up {
			one.Server = c.NATS().ConnectedServerName()
		}
		list = append(list, one)
	}
	return list
}

// figures are those of the services of all accounts, the first's first.
func (r *Replica) figures() (list []kv.Figures) {
	for _, s := range r.served {
		f := s.kv.Figures()
		f.Unanswered += s.conn.Stats().Unanswered
		list = append(list, f)
	}
	return list
}

// total is what the services of all accounts have counted.
func total(list []kv.Figures) kv.Figures {
	sum := list[0]
	for _, f := range list[1:] {
		sum = sum.And(f)
	}
	return sum
}

func accountFigures(status []AccountStatus, figures []kv.Figures) (list []observe.Account) {
	for i, s := range status {
		requests, busy := figures[i].Told()
		list = append(list, observe.Account{Name: s.Name, Connected: s.Connected, Watches: s.Watches, Requests: requests, Busy: busy})
	}
	return list
}

func doors(list []kv.DoorFigures) (out []observe.Door) {
	for _, d := range list {
		one := observe.Door{Name: d.Door, Reads: observe.FromMeasured(d.Reads), Writes: observe.FromMeasured(d.Writes), Errors: []observe.Errors{}}
		for _, kind := range kv.ErrorTable {
			if n := d.Errors[kind]; n > 0 {
				one.Errors = append(one.Errors, observe.Errors{Code: kind.ErrCode, Name: kind.Name, Count: n})
			}
		}
		out = append(out, one)
	}
	return out
}

// queues are the node's, and those of each account, which bear its name if it is not the first.
func (r *Replica) queues(figures []kv.Figures) (list []observe.Queue) {
	for i, f := range figures {
		of := func(queue string) string { return busclient.NodeIn(r.served[i].name, queue) }
		list = append(list,
			observe.Queue{Name: of("requests"), Waiting: f.InFlight, Max: f.InFlightMax}, observe.Queue{Name: of("request_bytes"), Waiting: f.Bytes, Max: f.BytesMax},
			observe.Queue{Name: of("confirmed_reads"), Waiting: f.Reads, Max: f.ReadsMax})
	}
	for _, q := range r.node.Queues() {
		list = append(list, observe.Queue(q))
	}
	return list
}

// drops are what was dropped of the messages between nodes: of those that the bus did not take, and those too many in the inbox.
func (r *Replica) drops(inbox uint64) []observe.Drop {
	list := []observe.Drop{{Reason: "inbox full", Count: inbox}}
	byReason := r.bus.Drops()
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		list = append(list, observe.Drop{Reason: reason, Count: byReason[reason]})
	}
	return list
}
