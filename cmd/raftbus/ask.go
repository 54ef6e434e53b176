package main

// Asking nodes for their status over NATS, and judging what they say.

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// gatherTime bounds how long the nodes have to answer. Those that are up answer within a round trip.
const gatherTime = time.Second

// cluster is what the nodes that answered say, in order of id.
type cluster struct {
	Nodes       []replica.Status `json:"nodes"`
	Unreachable []string         `json:"unreachable"` // members named by those nodes that did not answer
}

// askAll collects the status of all nodes, until every member that an answer names has answered or the time is over.
func askAll(ctx context.Context, conn *nats.Conn, prefix string) (cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	inbox := conn.NewInbox()
	answers, err := conn.SubscribeSync(inbox)
	if err != nil {
		return cluster{}, err
	}
	if err := conn.PublishRequest(busclient.StatusSubject(prefix, busclient.AllNodes), inbox, nil); err != nil {
		return cluster{}, err
	}
	seen := map[string]replica.Status{}
	for len(seen) == 0 || len(missing(seen)) > 0 {
		answer, err := answers.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) {
			break
		}
		if err != nil {
			return cluster{}, err
		}
		var s replica.Status
		if json.Unmarshal(answer.Data, &s) == nil && s.ID != "" { // not a node's answer otherwise
			seen[s.ID] = s
		}
	}
	return newCluster(seen), nil
}

func newCluster(seen map[string]replica.Status) cluster {
	c := cluster{Nodes: []replica.Status{}, Unreachable: missing(seen)}
	for _, s := range seen {
		c.Nodes = append(c.Nodes, s)
	}
	slices.SortFunc(c.Nodes, func(a, b replica.Status) int { return strings.Compare(a.ID, b.ID) })
	return c
}

// missing lists the members that some node named and that did not answer.
func missing(seen map[string]replica.Status) []string {
	absent := []string{}
	for _, s := range seen {
		for _, id := range s.Members {
			if _, ok := seen[id]; !ok && !slices.Contains(absent, id) {
				absent = append(absent, id)
			}
		}
	}
	slices.Sort(absent)
	return absent
}

// leader returns the node that leads and serves, nil when there is none: a quorum of all nodes follows it in its term.
// That tells it from a deposed one that has not noticed yet.
func (c cluster) leader() *replica.Status {
	for i := range c.Nodes {
		if n := &c.Nodes[i]; n.Role == "leader" && n.Ready && c.followers(n) > c.size()/2 {
			return n
		}
	}
	return nil
}

// followers counts the nodes that take n for the leader of its term, n included.
func (c cluster) followers(n *replica.Status) int {
	count := 0
	for _, other := range c.Nodes {
		if other.Leader == n.ID && other.Term == n.Term {
			count++
		}
	}
	return count
}

func (c cluster) size() int { return len(c.Nodes) + len(c.Unreachable) }

// err says what keeps the cluster from serving, as far as the answers show: nil when a leader serves with a quorum.
func (c cluster) err(prefix string) error {
	all := c.size()
	switch {
	case len(c.Nodes) == 0:
		return failf(exitUnavailable, "no node answers on %s: start the nodes, or check --prefix and the NATS account", busclient.StatusSubject(prefix, busclient.AllNodes))
	case len(c.Nodes) <= all/2:
		return failf(exitNoLeader, "%d of %d nodes answer, which is no quorum: start the others", len(c.Nodes), all)
	case c.leader() == nil:
		return failf(exitNoLeader, "%d of %d nodes answer, but a quorum follows no leader: see whom they wait for, and their logs", len(c.Nodes), all)
	}
	return nil
}
