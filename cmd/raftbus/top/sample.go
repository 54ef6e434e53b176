// Package top turns the figures that nodes publish into what a person watches: rates, latencies, lag, links. It is pure: two samples in, a
// view out, and the view as text. Who asks the nodes, and who draws, is elsewhere.
package top

import (
	"slices"
	"strings"
	"time"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/raft/config"
)

// Sample is what is known of all nodes at one moment.
type Sample struct {
	Time  time.Time // by the clock of who asked
	Nodes []Seen    // by id
}

// Seen is a node's figures, and when it gave them.
type Seen struct {
	observe.Stats
	At time.Time // when it answered last, by the clock of who asked; zero: never
}

// Next is the sample after this one: nodes that answered, and members that did not, with what they said last. A node that does not
// answer, and that nobody who does counts as a member, is gone.
func (s Sample) Next(now time.Time, answers []observe.Stats) Sample {
	next := Sample{Time: now}
	for _, a := range answers {
		next.put(Seen{Stats: a, At: now})
	}
	for _, id := range s.expected(answers) {
		if next.find(id) == nil {
			old := s.find(id)
			if old == nil {
				old = &Seen{Stats: observe.Stats{Node: id}}
			}
			next.put(*old)
		}
	}
	return next
}

// expected are the nodes that are to be in a list: the members that those who answer name, and if nobody answers all that there were.
func (s Sample) expected(answers []observe.Stats) (ids []string) {
	for _, a := range answers {
		ids = append(ids, a.Members...)
	}
	if len(answers) == 0 {
		ids = s.IDs()
	}
	return slices.DeleteFunc(ids, func(id string) bool { return !config.ValidToken(id) })
}

// IDs are the nodes of a sample.
func (s Sample) IDs() (ids []string) {
	for _, n := range s.Nodes {
		ids = append(ids, n.Node)
	}
	return ids
}

// Silent are the nodes that did not answer.
func (s Sample) Silent() (ids []string) {
	for _, n := range s.Nodes {
		if !n.At.Equal(s.Time) {
			ids = append(ids, n.Node)
		}
	}
	return ids
}

func (s *Sample) put(n Seen) {
	at, found := slices.BinarySearchFunc(s.Nodes, n.Node, byID)
	if !found && len(s.Nodes) < observe.NodesMax {
		s.Nodes = slices.Insert(s.Nodes, at, n)
	}
}

func (s Sample) find(id string) *Seen {
	at, found := slices.BinarySearchFunc(s.Nodes, id, byID)
	if !found {
		return nil
	}
	return &s.Nodes[at]
}

func byID(n Seen, id string) int { return strings.Compare(n.Node, id) }
