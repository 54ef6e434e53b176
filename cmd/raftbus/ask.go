package main

// Asking nodes for their status over NATS, and judging what they say.

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

const (
	// gatherTime bounds how long the nodes have to answer. Those that are up answer within a round trip.
	gatherTime = time.Second
	// graceTime is how long nodes are waited for that are no members, once all members have answered: nobody knows whether there are any.
	graceTime = 50 * time.Millisecond
)

// cluster is what the nodes that answered say, in order of id.
type cluster struct {
	Nodes       []replica.Status `json:"nodes"`       // members, those that wait to be added, and those that were removed
	Unreachable []string         `json:"unreachable"` // members named by those nodes that did not answer
}

// askAll collects the status of all nodes, until every member that is known has answered or the time is over.
func askAll(ctx context.Context, conn *nats.Conn, prefix string) (cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	var c cluster
	err := observe.Ask(ctx, conn, busclient.StatusSubject(prefix, busclient.AllNodes), func(answer []byte) time.Duration {
		var s replica.Status
		if json.Unmarshal(answer, &s) != nil || s.ID == "" {
			return 0 // not a node's answer
		}
		if c.add(s); len(c.members()) > 0 && len(c.missing()) == 0 {
			return graceTime
		}
		return 0
	})
	if err != nil {
		return cluster{}, unsent(err)
	}
	return c.sorted(), nil
}

// add takes a node's answer; a second one of the same id is the later. Whoever may answer on the bus does not fill the memory.
func (c *cluster) add(s replica.Status) {
	if known := c.node(s.ID); known != nil {
		*known = s
	} else if len(c.Nodes) < observe.NodesMax {
		c.Nodes = append(c.Nodes, s)
	}
}

// sorted is the answers in order, with the members that are missing.
func (c cluster) sorted() cluster {
	if c.Nodes == nil {
		c.Nodes = []replica.Status{}
	}
	slices.SortFunc(c.Nodes, func(a, b replica.Status) int { return strings.Compare(a.ID, b.ID) })
	c.Unreachable = c.missing()
	return c
}

// configuration is the latest that one of the nodes knows; nil: there is none yet.
func (c cluster) configuration() (latest *replica.Configuration) {
	for i := range c.Nodes {
		if conf := c.Nodes[i].Configuration; conf != nil && (latest == nil || conf.Index > latest.Index) {
			latest = conf
		}
	}
	return latest
}

// members are the ids of all members, learners too. Without a configuration they are those that nodes were given for the first boot.
func (c cluster) members() (list []string) {
	add := func(id string) {
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	if conf := c.configuration(); conf != nil {
		for _, m := range slices.Concat(conf.Voters, conf.Outgoing, conf.Learners) {
			add(m.ID)
		}
		return list
	}
	for i := range c.Nodes {
		if !c.Nodes[i].Joining {
			for _, id := range c.Nodes[i].Members {
				add(id)
			}
		}
	}
	return list
}

// missing lists the members that did not answer.
func (c cluster) missing() []string {
	absent := []string{}
	for _, id := range c.members() {
		if c.node(id) == nil {
			absent = append(absent, id)
		}
	}
	slices.Sort(absent)
	return absent
}

// node finds a node that answered.
func (c cluster) node(id string) *replica.Status {
	for i := range c.Nodes {
		if c.Nodes[i].ID == id {
			return &c.Nodes[i]
		}
	}
	return nil
}

// quorums are the sets of voters of each of which a majority is needed: two during a change of several voters.
func (c cluster) quorums() (sets [][]string) {
	conf := c.configuration()
	if conf == nil {
		return [][]string{c.members()}
	}
	for _, set := range [][]replica.Member{conf.Voters, conf.Outgoing} {
		var voters []string
		for _, m := range set {
			voters = append(voters, m.ID)
		}
		if len(voters) > 0 {
			sets = append(sets, voters)
		}
	}
	return sets
}

// quorum reports whether those that fulfil a condition are a majority of every set of voters.
func (c cluster) quorum(fulfils func(n *replica.Status) bool) bool {
	for _, voters := range c.quorums() {
		count := 0
		for _, id := range voters {
			if n := c.node(id); n != nil && fulfils(n) {
				count++
			}
		}
		if count <= len(voters)/2 {
			return false
		}
	}
	return true
}

// leader returns the node that leads and serves, nil when there is none: a quorum follows it in its term. That tells it from a
// deposed one that has not noticed yet.
func (c cluster) leader() *replica.Status {
	for i := range c.Nodes {
		n := &c.Nodes[i]
		follows := func(o *replica.Status) bool { return o.Leader == n.ID && o.Term == n.Term }
		if n.Role == "leader" && n.Ready && c.quorum(follows) {
			return n
		}
	}
	return nil
}

// err says what keeps the cluster from serving, as far as the answers show: nil when a leader serves with a quorum.
func (c cluster) err(prefix string) error {
	all := len(c.members())
	answer := all - len(c.Unreachable)
	switch {
	case len(c.Nodes) == 0:
		return failf(exitUnavailable, "no node answers on %s: start the nodes, or check --prefix, the NATS account and what this user may publish", busclient.StatusSubject(prefix, busclient.AllNodes))
	case all == 0:
		return failf(exitNoLeader, "no member answers, only nodes that wait to be added: start the members")
	case !c.quorum(func(*replica.Status) bool { return true }):
		return failf(exitNoLeader, "%d of %d nodes answer, which is no quorum: start the others", answer, all)
	case c.leader() != nil && !c.leader().Health().Ready:
		return failf(exitNoLeader, "%s leads, and serves nobody: %s", c.leader().ID, strings.Join(c.leader().Health().Reasons, "; "))
	case c.leader() == nil:
		return failf(exitNoLeader, "%d of %d nodes answer, but a quorum follows no leader: see whom they wait for, and their logs", answer, all)
	}
	return nil
}
