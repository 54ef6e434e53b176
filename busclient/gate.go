package busclient

// Who is let in. A message counts only from the known cluster, node, instance and boot epoch (I12); this file judges a
// header against what is known, and says in words what is wrong and what to do about it. It sends and logs nothing.

import (
	"fmt"
	"sync/atomic"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Identity is who this node is, in this life of it.
type Identity struct {
	ID       rpc.NodeID
	Instance rpc.InstanceID
	Boot     rpc.BootEpoch
}

func (i Identity) String() string {
	return fmt.Sprintf("%s (data folder instance %s, start %d)", i.ID, i.Instance, i.Boot.Count())
}

// fault is what is wrong with a message; the zero value is nothing.
type fault uint8

const (
	noFault       fault = iota
	malformed           // cannot be read, has a wrong MAC or another version
	misaddressed        // not for this node, or its reply subject is not its sender's
	forgedSender        // the header names another sender than the subject, which NATS permissions guard
	unknownSender       // no member has that id
	notAdmitted         // this node has no table yet, so it cannot know who may speak
	otherCluster        // another cluster with the same prefix (F14)
	otherInstance       // a known id, another data directory: a wiped disk (D3, F23)
	earlierLife         // a start before the newest one heard of: late, or an old backup put back
	copiedFolder        // the same start of the same instance, but another process: a copied data directory (F13)
	lateReturn          // no such round is open: it ended, or was never opened
	brokenParts         // parts that do not make a message
	faults              // how many there are
)

func (f fault) String() string {
	return [...]string{
		"none", "malformed", "misaddressed", "forged sender", "unknown sender", "not admitted", "other cluster",
		"other instance", "earlier life", "copied folder", "late return", "broken parts",
	}[f]
}

// roster is the table of members as one Admit gave it. What it holds does not change, but for the boots.
type roster struct {
	cluster rpc.ClusterID
	members map[rpc.NodeID]*admitted
}

type admitted struct {
	instance rpc.InstanceID
	boot     atomic.Uint64 // the newest rpc.BootEpoch heard of; 0: none yet
}

// newRoster keeps what the roster before knew of the boots of instances that stay.
func newRoster(cluster rpc.ClusterID, members []rpc.Member, before *roster) *roster {
	r := &roster{cluster: cluster, members: make(map[rpc.NodeID]*admitted, len(members))}
	for _, m := range members {
		a := &admitted{instance: m.Instance}
		if before != nil {
			if old := before.members[m.ID]; old != nil && old.instance == m.Instance {
				a.boot.Store(old.boot.Load())
			}
		}
		r.members[m.ID] = a
	}
	return r
}

// judge says whether the sender of a message is who it must be. A node without a table sends cluster id zero: pings of
// such a node are let pass, or it could never get one.
func (r *roster) judge(h *rpc.Header, ping bool) fault {
	member := r.members[h.From]
	switch {
	case member == nil:
		return unknownSender
	case h.Cluster != r.cluster && !(ping && h.Cluster == rpc.ClusterID{}):
		return otherCluster
	case h.Instance != member.instance:
		return otherInstance
	}
	return member.hear(h.Boot)
}

// hear remembers the newest boot of the member. The first process heard of one start is the one that counts.
func (a *admitted) hear(boot rpc.BootEpoch) fault {
	for {
		newest := rpc.BootEpoch(a.boot.Load())
		switch {
		case boot == newest:
			return noFault
		case newest != 0 && boot.Count() < newest.Count():
			return earlierLife
		case newest != 0 && boot.Count() == newest.Count():
			return copiedFolder
		case a.boot.CompareAndSwap(uint64(newest), uint64(boot)):
			return noFault
		}
	}
}

// explain puts a fault of a sender in words, with the remedy: for the log, and for the sender itself.
func (r *roster) explain(f fault, h *rpc.Header) string {
	switch f {
	case otherCluster:
		return fmt.Sprintf("%s belongs to cluster %s, this is cluster %s: two clusters share one prefix, or a data folder was moved; give each cluster its own prefix, and each node its own folder",
			h.From, h.Cluster, r.cluster)
	case otherInstance:
		return fmt.Sprintf("%s is known to this cluster by data folder instance %s, but speaks as %s: its folder was wiped or replaced; put the old folder back, or replace the member",
			h.From, r.members[h.From].instance, h.Instance)
	case earlierLife:
		return fmt.Sprintf("%s was heard in its start %d, but speaks as in start %d: an old backup of its data folder was put back; replace the member",
			h.From, rpc.BootEpoch(r.members[h.From].boot.Load()).Count(), h.Boot.Count())
	case copiedFolder:
		return fmt.Sprintf("two processes speak as %s with the same data folder instance %s: the folder was copied; stop the copy and delete its folder",
			h.From, h.Instance)
	}
	return remedies[f]
}

// remedies are for the faults that need no names.
var remedies = [faults]string{
	malformed:     "the message cannot be read: let all nodes run compatible releases with the same cluster key",
	misaddressed:  "the message is not for this node, or its answer would go to another: check the permissions in NATS",
	forgedSender:  "the message names another sender than its subject: check the permissions in NATS, and who holds a node's credentials",
	unknownSender: "the sender is not a member of this cluster: give each cluster its own prefix, or list the node as a member",
	notAdmitted:   "this node has no table of the members yet: it is still starting",
	brokenParts:   "parts of a large message were lost: it will be sent again",
}
