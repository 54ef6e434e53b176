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

func identityOf(h *rpc.Header) Identity {
	return Identity{ID: h.From, Instance: h.Instance, Boot: h.Boot}
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
	unprovenStart       // a start that has answered nothing yet that this node asked: late, forged, or new
	lateReturn          // no such round is open: it ended, or was never opened
	brokenParts         // parts that do not make a message
	forOthers           // a message to several that does not name this node
	faults              // how many there are
)

// Why messages are dropped, as Drops counts it.
const (
	UnknownSender = "unknown sender" // it is no member
	OtherInstance = "other instance" // it has the id of a member, and another data folder
)

func (f fault) String() string {
	return [...]string{
		"none", "malformed", "misaddressed", "forged sender", UnknownSender, "not admitted", "other cluster",
		OtherInstance, "earlier life", "copied folder", "unproven start", "late return", "broken parts", "for others",
	}[f]
}

// roster is the table of members as one Admit gave it. What it holds does not change, but for the starts.
type roster struct {
	cluster rpc.ClusterID
	members map[rpc.NodeID]*admitted
}

type admitted struct {
	instance rpc.InstanceID
	boot     atomic.Uint64 // the newest rpc.BootEpoch proven; 0: none yet
	old      atomic.Uint64 // the last one that turned out to be of an old copy of the folder; 0: none
}

func newRoster(cluster rpc.ClusterID, members []rpc.Member, known *starts) *roster {
	r := &roster{cluster: cluster, members: make(map[rpc.NodeID]*admitted, len(members))}
	for _, m := range members {
		a := &admitted{instance: m.Instance}
		a.boot.Store(uint64(known.of(m)))
		r.members[m.ID] = a
	}
	return r
}

// ends is why what was open to a peer ends when this roster takes the place of before; nil: it goes on. A peer that was known
// by its id only, before there was a table, goes on as whoever it turned out to be.
func (r *roster) ends(peer rpc.NodeID, before *roster) error {
	member := r.members[peer]
	if member == nil {
		return ErrUnknownPeer
	}
	if before != nil && before.members[peer] != nil && before.members[peer].instance != member.instance {
		return ErrReplaced
	}
	return nil
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
	if h.Boot != 0 && uint64(h.Boot) == member.old.Load() {
		return earlierLife
	}
	return compare(h.Boot, rpc.BootEpoch(member.boot.Load()))
}

// condemn notes a start that came from an old copy of a member's folder.
func (r *roster) condemn(h *rpc.Header) {
	if member := r.members[h.From]; member != nil && member.instance == h.Instance {
		member.old.Store(uint64(h.Boot))
	}
}

// compare holds a start against the newest one proven. The first process that proves a start is the one that counts.
func compare(boot, newest rpc.BootEpoch) fault {
	switch {
	case boot.Count() == 0: // starts are counted from 1: it must not pass for the one of which nothing is proven yet
		return earlierLife
	case boot == newest:
		return noFault
	case boot.Count() > newest.Count():
		return unprovenStart
	case boot.Count() < newest.Count():
		return earlierLife
	}
	return copiedFolder
}

// prove takes a start for the newest one, and reports whether it is one. The sender has answered what this node asked.
func (r *roster) prove(who Identity) bool {
	member := r.members[who.ID]
	for member != nil && member.instance == who.Instance {
		newest := member.boot.Load()
		if compare(who.Boot, rpc.BootEpoch(newest)) != unprovenStart {
			return false
		}
		if member.boot.CompareAndSwap(newest, uint64(who.Boot)) {
			return true
		}
	}
	return false
}

// explain puts a fault of a sender in words, with the remedy: for the log, and for the sender itself. The roster may be a later
// one than the sender was judged by.
func (r *roster) explain(f fault, h *rpc.Header) string {
	member := r.members[h.From]
	if member == nil && (f == otherInstance || f == earlierLife) {
		f = unknownSender
	}
	switch f {
	case unknownSender:
		return r.explainStranger(h)
	case otherCluster:
		return fmt.Sprintf("%s belongs to cluster %s, this is cluster %s: two clusters share one prefix, or a data folder was moved; give each cluster its own prefix, and each node its own folder",
			h.From, h.Cluster, r.cluster)
	case otherInstance:
		return fmt.Sprintf("%s is known to this cluster by data folder instance %s, but speaks as %s: its folder was wiped or replaced; put the old folder back, or replace the member with `raftbus member replace %s`",
			h.From, member.instance, h.Instance, h.From)
	case earlierLife:
		return fmt.Sprintf("%s was heard in its start %d, but speaks as in start %d: an old backup of its data folder was put back; replace the member with `raftbus member replace %s` and an empty folder",
			h.From, rpc.BootEpoch(member.boot.Load()).Count(), h.Boot.Count(), h.From)
	case copiedFolder:
		return fmt.Sprintf("two processes speak as %s with the same data folder instance %s: the folder was copied; stop the copy and delete its folder",
			h.From, h.Instance)
	}
	return remedies[f]
}

// UnsealedRemedy is what to do about a member whose folder was lost before a first boot was through.
const UnsealedRemedy = "if no member has a term yet (raftbus status), the first boot was not through and nothing was ever served: stop all nodes, delete their data folders, and begin again"

// explain puts a fault in words as roster.explain does. While this node's own first boot is not through, there may be no leader
// that could replace anybody.
func (s *Service) explain(r *roster, why fault, h *rpc.Header) string {
	text := r.explain(why, h)
	said := s.content()
	if unsealed := said.Term == 0 && said.Configuration != nil && said.Configuration.Index == 0; unsealed && (why == otherInstance || why == otherCluster) {
		text += "; " + UnsealedRemedy
	}
	return text
}

// explainStranger is for who is no member. One that has the cluster's id was one, or would not know it.
func (r *roster) explainStranger(h *rpc.Header) string {
	if h.Cluster == r.cluster {
		return fmt.Sprintf("%s is not a member of this cluster any more: it was removed; stop it and delete its data folder, or let it in again with `raftbus member add %s`",
			h.From, h.From)
	}
	return fmt.Sprintf("%s is not a member of this cluster: start it with --join and let it in with `raftbus member add %s`, or give it the prefix and the --members of its own cluster",
		h.From, h.From)
}

// remedies are for the faults that need no names.
var remedies = [faults]string{
	malformed:     "the message cannot be read: let all nodes run compatible releases with the same cluster key",
	misaddressed:  "the message is not for this node, or its answer would go to another: check the permissions in NATS",
	forgedSender:  "the message names another sender than its subject: check the permissions in NATS, and who holds a node's credentials",
	unknownSender: "the sender is not a member of this cluster: give each cluster its own prefix, or list the node as a member",
	notAdmitted:   "this node has no table of the members yet: it is still starting",
	unprovenStart: "the sender was started anew, or somebody speaks in its name: it is asked, nothing needs to be done",
	brokenParts:   "parts of a large message were lost: it will be sent again",
}
