package replica

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Status is one node in the output of `raftbus status --json`, and what it answers on <prefix>.node.<id>.status.
type Status struct {
	ID         string            `json:"id"`
	Role       string            `json:"role"` // leader, follower, candidate, learner
	Term       uint64            `json:"term"`
	Leader     string            `json:"leader"` // empty: it knows none
	Ready      bool              `json:"ready"`  // it follows a leader, or leads and serves
	Commit     uint64            `json:"commit"`
	Applied    uint64            `json:"applied"`
	LogFirst   uint64            `json:"log_first"` // the first entry the log holds; log_last+1 when it holds none
	LogLast    uint64            `json:"log_last"`
	Links      []LinkStatus      `json:"links"`
	Disk       DiskStatus        `json:"disk"`
	Dropped    uint64            `json:"dropped"` // messages dropped because too much waited
	Members    []string          `json:"members"`
	WaitingFor []string          `json:"waiting_for,omitempty"` // first boot: members not heard from yet
	RefusedBy  map[string]string `json:"refused_by,omitempty"`  // peers that refuse this node, and why
	Cluster    string            `json:"cluster,omitempty"`     // empty before the first boot is through
	Instance   string            `json:"instance"`              // of the data folder
}

// DiskStatus is what a node's log has done since it started.
type DiskStatus struct {
	Entries   uint64  `json:"entries"`     // made durable
	Syncs     uint64  `json:"syncs"`       // that it took
	SyncMaxMS float64 `json:"sync_max_ms"` // the longest write and sync
	LogBytes  int64   `json:"log_bytes"`   // on disk
}

// StatusSubject is where a node answers with its Status; who is its id, or AllNodes.
func StatusSubject(prefix, who string) string {
	return prefix + "." + busclient.FamilyNode + "." + who + ".status"
}

// AllNodes stands for every node in StatusSubject. No id starts with '_'.
const AllNodes = "_all"

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
		ID: r.o.ID, Role: s.Role.String(), Term: uint64(s.Term), Leader: string(s.Leader),
		Ready:  s.Serving || s.Leader != "" && s.Leader != s.ID,
		Commit: uint64(s.Commit), Applied: uint64(s.Applied), LogFirst: uint64(s.Base) + 1, LogLast: uint64(s.Last),
		Members: texts(s.Members), WaitingFor: texts(s.WaitingFor), Instance: s.Instance.String(),
		Disk:      DiskStatus{Entries: s.Log.Entries, Syncs: s.Log.Syncs, SyncMaxMS: float64(s.Log.SyncMax.Microseconds()) / 1000, LogBytes: s.Log.SegmentBytes},
		Dropped:   s.Dropped,
		RefusedBy: map[string]string{}, Links: []LinkStatus{},
	}
	if s.Cluster != (rpc.ClusterID{}) {
		out.Cluster = s.Cluster.String()
	}
	for _, l := range s.Links {
		out.Links = append(out.Links, linkStatus(l))
	}
	for peer, reason := range s.RefusedBy {
		out.RefusedBy[string(peer)] = reason
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

// serveStatus answers status requests on the node's own subject and on that of all nodes.
func (r *Replica) serveStatus(context.Context) error {
	answer := func(m *nats.Msg) {
		if body, err := json.Marshal(r.Status()); err == nil {
			_ = m.Respond(body) // a lost answer is asked for again
		}
	}
	nc := r.conns[busclient.RoleClient].NATS()
	for _, who := range []string{r.o.ID, AllNodes} {
		if _, err := nc.Subscribe(StatusSubject(r.config.Prefix(), who), answer); err != nil {
			return err
		}
	}
	return nil
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

// answered asks the leader something, as a client would.
func (r *Replica) answered(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	nc := r.conns[busclient.RoleClient].NATS()
	_, err := nc.RequestWithContext(ctx, r.config.Prefix()+"."+busclient.FamilyBucket+".ls", nil)
	return err == nil
}
