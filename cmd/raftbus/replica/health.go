package replica

// What a node's status means for whoever is to look after it: the same words for `raftbus health`, for HTTP and on the bus.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

// Health is the node's health now.
func (r *Replica) Health() observe.Health {
	if r.over() {
		reason := "the node was stopped"
		if err := r.Err(); err != nil {
			reason = err.Error()
		}
		return observe.Health{Node: r.o.ID, Reasons: []string{reason}, Warnings: []string{}}
	}
	return r.Status().Health()
}

// Health is what a status says about its node, which lives since it answers.
func (s Status) Health() observe.Health {
	h := observe.Health{Node: s.ID, Live: true, Reasons: []string{}, Warnings: s.warnings()}
	if reason := s.unready(); reason != "" {
		h.Reasons = append(h.Reasons, reason)
	}
	h.Ready = len(h.Reasons) == 0
	return h
}

// unready is why clients are not served with the node; empty: they are.
func (s Status) unready() string {
	switch {
	case s.Joining:
		return fmt.Sprintf("%s waits to be added to a cluster: raftbus member add %s", s.ID, s.ID)
	case s.Role == "removed":
		return fmt.Sprintf("%s is no member of the cluster any more: stop it and delete its data folder, or let it in again with 'raftbus member add %s'", s.ID, s.ID)
	case s.Rival != "":
		return s.Rival
	case s.Deaf != "":
		return fmt.Sprintf("no client reaches %s: its connection to clients has been down %s; look at the node's credentials for clients, and at what NATS allows their account", s.ID, s.Deaf)
	case !s.Ready:
		return fmt.Sprintf("%s knows no leader%s: look at its peers with 'raftbus doctor'", s.ID, s.because())
	}
	return ""
}

// because tells what the node itself gives as the reason that it cannot serve.
func (s Status) because() string {
	switch refusing := slices.Sorted(maps.Keys(s.RefusedBy)); {
	case len(refusing) > 0:
		return fmt.Sprintf(" (refused by %s: %s)", strings.Join(refusing, ", "), s.RefusedBy[refusing[0]])
	case len(s.WaitingFor) > 0:
		return fmt.Sprintf(" (it waits for %s)", strings.Join(s.WaitingFor, ", "))
	}
	for _, l := range s.Links {
		if l.Refusal != "" {
			return fmt.Sprintf(" (its link to %s: %s)", l.Peer, l.Refusal)
		}
	}
	return ""
}

// warnings are what an operator should look at though the node serves.
func (s Status) warnings() []string {
	list := []string{}
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch {
	case s.Disk.Files:
		say("too many files are open: writes are refused, reads go on; have some closed, or allow more")
	case s.Disk.Full:
		say("the disk is full: writes are refused, reads go on; free some space")
	}
	if s.Disk.Slow {
		say("the disk is slow: a write and sync took half a second or more lately, or has not ended; look at the disk, and at who else uses it")
	}
	if s.Disk.Damaged > 0 {
		say("%d entries of the log are damaged: the node has no vote until a leader has given them again", s.Disk.Damaged)
	}
	for _, l := range s.Links {
		if l.State != "connected" {
			say("the link to %s is %s: %s", l.Peer, l.State, l.Reason)
		}
	}
	if s.Denied != "" {
		say("NATS refuses this node a subject that clients ask at (%s): it leads only where no other node can, and some clients find nobody then; grant its user for clients the permissions of a node", s.Denied)
	}
	if !s.Watches.Leaf {
		say("no leaf connection: this node serves no watches; give the NATS server a leafnodes port, and name it with --leaf")
	}
	for i := range s.Accounts {
		list = append(list, s.Accounts[i].warnings()...)
	}
	return list
}
