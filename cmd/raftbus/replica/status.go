package replica

// What a node says of itself when it is asked for its status, and how long whoever started it waits until it is of use.

import (
	"cmp"
	"context"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Status is one node in the output of `raftbus status --json`, and what it answers on <prefix>.node.<id>.status.
type Status struct {
	ID       string       `json:"id"`
	Role     string       `json:"role"` // leader, follower, candidate, learner, removed, joining
	Term     uint64       `json:"term"`
	Leader   string       `json:"leader"` // empty: it knows none
	Ready    bool         `json:"ready"`  // it follows a leader, or leads and serves
	Commit   uint64       `json:"commit"`
	Applied  uint64       `json:"applied"`
	LogFirst uint64       `json:"log_first"` // the first entry the log holds; log_last+1 when it holds none
	LogLast  uint64       `json:"log_last"`
	Links    []LinkStatus `json:"links"`
	Disk     DiskStatus   `json:"disk"`
	Dropped  uint64       `json:"dropped"` // messages dropped because too much waited
	Members  []string     `json:"members"` // of the configuration, learners too
	// Configuration is the one in force; absent while the node has no cluster.
	Configuration *Configuration    `json:"configuration,omitempty"`
	Peers         []Peer            `json:"peers,omitempty"`       // a leader: how far it knows the others to be
	Joining       bool              `json:"joining,omitempty"`     // it waits to be added: raftbus member add
	FirstBoot     string            `json:"first_boot,omitempty"`  // how far it is: gathering (members were not heard from), sealing (members do not hold the table); absent: it is through
	WaitingFor    []string          `json:"waiting_for,omitempty"` // first boot: the members that are awaited
	RefusedBy     map[string]string `json:"refused_by,omitempty"`  // peers that refuse this node, and why
	Rival         string            `json:"rival,omitempty"`       // who of another cluster leads under the prefix: while that is so, this leader serves nobody
	Deaf          string            `json:"deaf,omitempty"`        // for how long its connection to clients is down, and why: while that is so, it leads only where no other can; absent: it is up, or was just now
	Denied        string            `json:"denied,omitempty"`      // which subject beside those that clients ask at NATS refuses the node, and for how long: with it those; it leads only where no other can; absent: none
	Cluster       string            `json:"cluster,omitempty"`     // empty before the first boot is through
	Instance      string            `json:"instance"`              // of the data folder
	API           *API              `json:"api,omitempty"`         // where it serves clients of NATS KV while it leads; absent: an earlier release does not say
	Watches       observe.Watches   `json:"watches"`
	Accounts      []AccountStatus   `json:"accounts,omitempty"` // that are served beside the first
	Commands      VersionStatus     `json:"commands"`
	Goroutines    int               `json:"goroutines"` // of the whole process
}

// API is where a node serves clients of NATS KV.
type API struct {
	Domain  string `json:"domain"`  // of $JS.<domain>.API
	Default bool   `json:"default"` // at $JS.API too
}

// Configuration is who belongs to the cluster, as one node knows it.
type Configuration struct {
	Index     uint64   `json:"index"`     // of the log entry that carries it; 0: the table of the first boot
	Committed bool     `json:"committed"` // false: a change is under way
	Voters    []Member `json:"voters"`
	Outgoing  []Member `json:"outgoing,omitempty"` // the other voter set, during a joint change
	Learners  []Member `json:"learners,omitempty"`
}

// Member is one node of a configuration.
type Member struct {
	ID       string `json:"id"`
	Instance string `json:"instance"` // of its data folder
}

// Peer is what a leader knows of another member.
type Peer struct {
	ID        string `json:"id"`
	Match     uint64 `json:"match"` // index up to which it is known to hold the log durably
	State     string `json:"state"` // replicate; probe: the leader looks for where their logs meet; snapshot: it is too far behind for the log
	Connected bool   `json:"connected"`
	// Snapshot is one that the leader sends it; absent: none.
	Snapshot *SnapshotStatus `json:"snapshot,omitempty"`
}

// SnapshotStatus is how far a snapshot has come on its way to a member.
type SnapshotStatus struct {
	Index  uint64 `json:"index"`  // the state as of that entry; 0: it waits for its turn
	Sent   uint64 `json:"sent"`   // bytes, with what was sent again
	Stored uint64 `json:"stored"` // bytes
	Whole  bool   `json:"whole"`  // all is stored: the member installs it
}

// DiskStatus is what a node's log has done since it started.
type DiskStatus struct {
	Entries   uint64  `json:"entries"`                  // made durable
	Syncs     uint64  `json:"syncs"`                    // that it took
	SyncMaxMS float64 `json:"sync_max_ms"`              // the longest write and sync
	LogBytes  int64   `json:"log_bytes"`                // on disk
	Slow      bool    `json:"slow"`                     // a write and sync took half a second or more lately, or has not ended for so long
	Full      bool    `json:"full"`                     // it has no room for writes: they are refused, reads go on
	Files     bool    `json:"too_many_files,omitempty"` // that is since too many files are open, and not for want of space
	Damaged   int     `json:"damaged"`                  // entries that it lost, and that no leader has given again yet: until then the node has no vote
	Repaired  uint64  `json:"repaired"`                 // entries that a leader has given again
}

// LinkStatus is a node's link to one peer.
type LinkStatus struct {
	Peer   string  `json:"peer"`
	State  string  `json:"state"` // connected, broken
	RTTms  float64 `json:"rtt_ms"`
	Reason string  `json:"reason,omitempty"` // why it is broken
	// Refusal is why one of the two takes nothing from the other, and what to do; empty: no such thing.
	Refusal string `json:"refusal,omitempty"`
}

// Status describes the node now.
func (r *Replica) Status() Status {
	s := r.node.Status()
	out := Status{
		ID: r.o.ID, Role: role(s), Term: uint64(s.Term), Leader: string(s.Leader),
		Ready:  s.Serving || s.Leader != "" && s.Leader != s.ID && s.Standing != node.StandingRemoved,
		Commit: uint64(s.Commit), Applied: uint64(s.Applied), LogFirst: uint64(s.Base) + 1, LogLast: uint64(s.Last),
		Members: texts(s.Members), FirstBoot: s.FirstBoot, WaitingFor: texts(s.WaitingFor), Instance: s.Instance.String(),
		Disk:      DiskStatus{Entries: s.Log.Entries, Syncs: s.Log.Syncs, SyncMaxMS: float64(s.Log.SyncMax.Microseconds()) / 1000, LogBytes: s.Log.SegmentBytes, Slow: r.slow.Load(), Full: s.Full, Files: s.TooManyFiles, Damaged: s.Damaged, Repaired: s.Log.Repaired},
		Dropped:   s.Dropped,
		RefusedBy: map[string]string{}, Links: []LinkStatus{}, Joining: s.Joining, Deaf: r.deaf(), Denied: r.denied(),
	}
	out.API = &API{Domain: cmp.Or(r.o.Domain, r.config.Prefix()), Default: r.o.DefaultAPI}
	out.Watches = r.first().watchStatus()
	out.Accounts = r.accountsStatus()
	out.Commands, out.Goroutines = r.versions(), goroutines()
	if s.Cluster != (rpc.ClusterID{}) {
		out.Cluster = s.Cluster.String()
	}
	if len(s.Configuration.Voters) > 0 {
		out.Configuration = &Configuration{
			Index: uint64(s.Configuration.Index), Committed: s.Committed, Voters: members(s.Configuration.Voters),
			Outgoing: members(s.Configuration.Outgoing), Learners: members(s.Configuration.Learners),
		}
	}
	if s.Role == raft.Leader {
		for _, p := range s.Peers {
			out.Peers = append(out.Peers, Peer{ID: string(p.ID), Match: uint64(p.Match), State: p.State, Connected: p.Connected, Snapshot: snapshotTo(s, p.ID)})
		}
	}
	for _, l := range s.Links {
		out.Links = append(out.Links, linkStatus(l))
	}
	if rival := r.rival.Load(); rival != nil && s.Role == raft.Leader {
		out.Rival = *rival
	}
	for peer, reason := range s.RefusedBy {
		out.RefusedBy[string(peer)] = reason
	}
	return out
}

// snapshotTo is the snapshot on its way to a peer.
func snapshotTo(s node.Status, peer rpc.NodeID) *SnapshotStatus {
	for _, t := range s.Streams {
		if t.Peer == peer {
			return &SnapshotStatus{Index: uint64(t.Snapshot.Index), Sent: t.Sent, Stored: t.Stored, Whole: t.Whole}
		}
	}
	return nil
}

// role is the node's part in consensus, or where it stands if that part is a voter's and it is none. One that was removed and does
// not have that in its log yet still asks for votes, in vain: an operator must read what it is, whenever he looks.
func role(s node.Status) string {
	switch {
	case s.Joining:
		return "joining"
	case s.Role != raft.Leader && (s.Standing == node.StandingLearner || s.Standing == node.StandingRemoved):
		return s.Standing.String()
	}
	return s.Role.String()
}

func members(list []rpc.Member) []Member {
	var out []Member
	for _, m := range list {
		out = append(out, Member{ID: string(m.ID), Instance: m.Instance.String()})
	}
	return out
}

func linkStatus(l busclient.LinkStatus) LinkStatus {
	rtt := float64(l.RTT.Microseconds()) / 1000
	return LinkStatus{Peer: string(l.Peer), State: l.State, RTTms: rtt, Reason: l.Reason, Refusal: l.Refusal}
}

func texts(ids []rpc.NodeID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	return list
}

// WaitReady waits until this node knows a leader, and a request to it over NATS is answered. It returns the leader's name.
func (r *Replica) WaitReady(ctx context.Context) (string, error) {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if s := r.Status(); s.Ready && r.answered(ctx) {
			return s.Leader, nil
		}
		select {
		case <-poll.C:
		case <-r.Done():
			return "", r.Err()
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// Listens reports whether this node leads and NATS delivers what clients ask to it, in all accounts that it reaches.
func (r *Replica) Listens() bool {
	for _, s := range r.further() { // one that is away holds up nobody
		if up, _ := s.conn.Up(); up && s.refused.reason() == "" && (!s.kv.Listens() || s.conn.Flush(flushTimeout) != nil) {
			return false
		}
	}
	return r.first().kv.Listens() && r.first().conn.Flush(flushTimeout) == nil
}

// answered asks the leader something, as a client would.
func (r *Replica) answered(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	nc := r.first().conn.NATS()
	_, err := nc.RequestWithContext(ctx, r.config.Prefix()+"."+busclient.FamilyBucket+".ls", nil)
	return err == nil
}
