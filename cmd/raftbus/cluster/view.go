// Package cluster asks the nodes of a cluster for their status, and puts together what they say of themselves: who belongs to it, who leads,
// whether a quorum answers, whether an upgrade can be finished. It says what follows from their answers; whether that is well, and what to do, is for
// who asks.
package cluster

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

// View is what the nodes that answered say, in order of id; and what `raftbus status --json` prints.
type View struct {
	Nodes       []replica.Status `json:"nodes"`       // members, those that wait to be added, and those that were removed
	Unreachable []string         `json:"unreachable"` // members named by those nodes that did not answer
}

// Ask collects the status of all nodes, until every member that is known has answered or the time is over. That nobody answers is no error.
func Ask(ctx context.Context, conn *nats.Conn, prefix string) (View, error) {
	var v View
	err := observe.Ask(ctx, conn, busclient.StatusSubject(prefix, busclient.AllNodes), observe.GatherTime, func(answer []byte) time.Duration {
		var s replica.Status
		if json.Unmarshal(answer, &s) != nil || s.ID == "" {
			return 0 // not a node's answer
		}
		if v.add(s); len(v.Members()) > 0 && len(v.missing()) == 0 {
			return observe.GraceTime
		}
		return 0
	})
	if err != nil {
		return View{}, err
	}
	return v.sorted(), nil
}

// add takes a node's answer; a second one of the same id is the later. Whoever may answer on the bus does not fill the memory.
func (v *View) add(s replica.Status) {
	if known := v.Node(s.ID); known != nil {
		*known = s
	} else if len(v.Nodes) < observe.NodesMax {
		v.Nodes = append(v.Nodes, s)
	}
}

// sorted is the answers in order, with the members that are missing.
func (v View) sorted() View {
	if v.Nodes == nil {
		v.Nodes = []replica.Status{}
	}
	slices.SortFunc(v.Nodes, func(a, b replica.Status) int { return strings.Compare(a.ID, b.ID) })
	v.Unreachable = v.missing()
	return v
}

// Configuration is the latest that one of the nodes knows; nil: there is none yet.
func (v View) Configuration() (latest *replica.Configuration) {
	for i := range v.Nodes {
		if conf := v.Nodes[i].Configuration; conf != nil && (latest == nil || conf.Index > latest.Index) {
			latest = conf
		}
	}
	return latest
}

// Members are the ids of all members, learners too. Without a configuration they are those that nodes were given for the first boot.
func (v View) Members() (list []string) {
	add := func(id string) {
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	if conf := v.Configuration(); conf != nil {
		for _, m := range slices.Concat(conf.Voters, conf.Outgoing, conf.Learners) {
			add(m.ID)
		}
		return list
	}
	for i := range v.Nodes {
		if !v.Nodes[i].Joining {
			for _, id := range v.Nodes[i].Members {
				add(id)
			}
		}
	}
	return list
}

// Replaced reports whether another data folder is the member of a node's id, so that this one cannot be let in again beside it.
func (v View) Replaced(n *replica.Status) bool {
	conf := v.Configuration()
	return conf != nil && slices.ContainsFunc(slices.Concat(conf.Voters, conf.Outgoing, conf.Learners), func(m replica.Member) bool {
		return m.ID == n.ID && m.Instance != n.Instance
	})
}

// missing lists the members that did not answer.
func (v View) missing() []string {
	absent := []string{}
	for _, id := range v.Members() {
		if v.Node(id) == nil {
			absent = append(absent, id)
		}
	}
	slices.Sort(absent)
	return absent
}

// Node finds a node that answered.
func (v View) Node(id string) *replica.Status {
	for i := range v.Nodes {
		if v.Nodes[i].ID == id {
			return &v.Nodes[i]
		}
	}
	return nil
}

// quorums are the sets of voters of each of which a majority is needed: two during a change of several voters.
func (v View) quorums() (sets [][]string) {
	conf := v.Configuration()
	if conf == nil {
		return [][]string{v.Members()}
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
func (v View) quorum(fulfils func(n *replica.Status) bool) bool {
	for _, voters := range v.quorums() {
		count := 0
		for _, id := range voters {
			if n := v.Node(id); n != nil && fulfils(n) {
				count++
			}
		}
		if count <= len(voters)/2 {
			return false
		}
	}
	return true
}

// HasQuorum reports whether a quorum answers.
func (v View) HasQuorum() bool { return v.quorum(func(*replica.Status) bool { return true }) }

// CanElect reports whether a quorum answers and may vote: who has lost entries of its log may not until a leader has given them again.
func (v View) CanElect() bool {
	return v.quorum(func(n *replica.Status) bool { return n.Disk.Damaged == 0 })
}

// Leader returns the node that leads and serves, nil when there is none: a quorum follows it in its term. That tells it from a
// deposed one that has not noticed yet.
func (v View) Leader() *replica.Status {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		follows := func(o *replica.Status) bool { return o.Leader == n.ID && o.Term == n.Term }
		if n.Role == "leader" && n.Ready && v.quorum(follows) {
			return n
		}
	}
	return nil
}
