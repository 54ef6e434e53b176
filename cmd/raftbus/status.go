package main

// The status command: asks all nodes over NATS and prints what they say, for people or for scripts.

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/cluster"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/node"
)

const statusHelp = `Ask all nodes of a cluster for their status, and print it.

The nodes are asked over NATS on <prefix>.node._all.status; members that do not answer
within a second are shown as such, and so are nodes that wait to be added, or were removed.
LAG is how many entries of the leader's log a member is not known to hold. The exit code is 0
when a quorum answers and a leader serves, 5 when NATS cannot be reached or no node answers,
7 when no leader serves with a quorum.`

const statusExamples = `  raftbus status
  raftbus status --context prod --prefix orders
  raftbus status --json | jq '.nodes[] | select(.role == "leader").id'`

func newStatus(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the nodes of a cluster",
		Long:    statusHelp,
		Example: statusExamples,
		Args:    noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, `print {"nodes":[...],"unreachable":[...]}`)
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, _ []string) error {
		found, err := cluster.Ask(cmd.Context(), a.Conn, a.Prefix)
		if err != nil {
			return err
		}
		return printStatus(cmd.OutOrStdout(), a, found, *asJSON)
	})
}

// printStatus prints the status of all nodes, and says by its error whether they serve.
func printStatus(w io.Writer, a *members.Administrator, c cluster.View, asJSON bool) (err error) {
	if asJSON {
		err = json.NewEncoder(w).Encode(c)
	} else if len(c.Nodes) > 0 {
		err = printCluster(w, a.Prefix, c)
	}
	if err != nil {
		return err
	}
	return unserved(c, a.Prefix, a.Conn)
}

// unserved says what keeps the cluster from serving, as far as the answers show: nil when a leader serves with a quorum.
func unserved(c cluster.View, prefix string, conn *nats.Conn) error {
	all := len(c.Members())
	answer := all - len(c.Unreachable)
	switch {
	case len(c.Nodes) == 0:
		return failf(exitUnavailable, "no node answers on %s at %s: start the nodes, or check --prefix, the NATS account and what this user may publish", busclient.StatusSubject(prefix, busclient.AllNodes), conn.ConnectedUrlRedacted())
	case all == 0:
		return failf(exitNoLeader, "no member answers, only nodes that wait to be added: start the members")
	case !c.HasQuorum():
		return failf(exitNoLeader, "%d of %d nodes answer, which is no quorum: start the others", answer, all)
	case c.Leader() != nil && !c.Leader().Health().Ready:
		return failf(exitNoLeader, "%s leads, and serves nobody: %s", c.Leader().ID, strings.Join(c.Leader().Health().Reasons, "; "))
	case c.Leader() == nil:
		return failf(exitNoLeader, "%d of %d nodes answer, but a quorum follows no leader: see whom they wait for, and their logs", answer, all)
	}
	return nil
}

// printCluster prints a headline, one line for each node, and a remark for each thing an operator should know.
func printCluster(w io.Writer, prefix string, c cluster.View) error {
	all := len(c.Members())
	fmt.Fprintf(w, "%s: %s, %d of %d nodes answer\n\n", prefix, headline(c), all-len(c.Unreachable), all)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tROLE\tTERM\tCOMMIT\tAPPLIED\tLOG\tLAG\tLINKS")
	for _, n := range c.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", n.ID, n.Role, n.Term, n.Commit, n.Applied, logRange(n), lag(c, n.ID), links(n))
	}
	for _, id := range c.Unreachable {
		fmt.Fprintf(table, "%s\tno answer\n", id)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	remarks := slices.Concat(memberRemarks(c), nodeRemarks(c))
	if len(remarks) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(remarks, "\n"))
	return err
}

// lag is how many entries of the leader's log a member is not known to hold, as the leader sees it.
func lag(c cluster.View, id string) string {
	leader := c.Leader()
	if leader == nil {
		return "-"
	}
	if leader.ID == id {
		return "0"
	}
	for _, p := range leader.Peers {
		if p.ID == id {
			return fmt.Sprint(leader.LogLast - min(p.Match, leader.LogLast))
		}
	}
	return "-"
}

func headline(c cluster.View) string {
	if leader := c.Leader(); leader != nil {
		return fmt.Sprintf("%s leads in term %d", leader.ID, leader.Term)
	}
	return "no leader"
}

func logRange(n replica.Status) string {
	if n.LogLast < n.LogFirst {
		return "empty"
	}
	return fmt.Sprintf("%d-%d", n.LogFirst, n.LogLast)
}

func links(n replica.Status) string {
	var parts []string
	for _, l := range n.Links {
		if l.State == "connected" {
			parts = append(parts, fmt.Sprintf("%s %.1fms", l.Peer, l.RTTms))
		} else {
			parts = append(parts, l.Peer+" "+l.State)
		}
	}
	return strings.Join(parts, ", ")
}

// memberRemarks are about who belongs to the cluster, and who does not.
func memberRemarks(c cluster.View) (remarks []string) {
	say := func(format string, args ...any) { remarks = append(remarks, fmt.Sprintf(format, args...)) }
	if conf := c.Configuration(); conf != nil {
		if !conf.Committed || len(conf.Outgoing) > 0 {
			say("the members are being changed (configuration %d)", conf.Index)
		}
		for _, m := range conf.Learners {
			say("%s is a learner: it becomes a voter by itself once it has caught up", m.ID)
		}
	}
	if leader := c.Leader(); leader != nil {
		for _, p := range leader.Peers {
			if p.State == "snapshot" {
				say("%s is far behind, and gets a snapshot", p.ID)
			}
		}
	}
	for _, n := range c.Nodes {
		switch {
		case n.Joining:
			say("%s waits to be added: raftbus member add %s", n.ID, n.ID)
		case n.Role == "removed" && c.Replaced(&n):
			say("%s was replaced, another data folder is the member of that id: stop it and delete its data folder", n.ID)
		case n.Role == "removed":
			say("%s is no member any more: stop it and delete its data folder, or let it in again with 'raftbus member add %s'", n.ID, n.ID)
		}
	}
	return remarks
}

// nodeRemarks are about what keeps a node from its work.
func nodeRemarks(c cluster.View) (remarks []string) {
	say := func(format string, args ...any) { remarks = append(remarks, fmt.Sprintf(format, args...)) }
	for _, n := range c.Nodes {
		switch {
		case n.Disk.Files:
			say("%s: too many files are open there: it takes no more writes, reads go on", n.ID)
		case n.Disk.Full:
			say("%s: its disk is full: it takes no more writes, reads go on", n.ID)
		}
		if n.Disk.Slow {
			say("%s: its disk is slow: a write and sync took half a second or more lately, or has not ended", n.ID)
		}
		if n.Disk.Damaged > 0 {
			say("%s: its disk has lost %d entries of its log: it has no vote until a leader has given them again", n.ID, n.Disk.Damaged)
		}
		for _, p := range n.Peers {
			if p.Snapshot != nil {
				say("%s is sent a snapshot by %s: it has stored %d MiB of it", p.ID, n.ID, p.Snapshot.Stored>>20)
			}
		}
		if n.Rival != "" {
			say("%s leads and serves nobody: %s", n.ID, n.Rival)
		}
		switch awaited := strings.Join(n.WaitingFor, ", "); {
		case awaited != "" && n.FirstBoot == node.FirstBootSealing:
			say("%s waits for %s to hold the table of the members (the first boot needs all members)", n.ID, awaited)
		case awaited != "":
			say("%s waits for %s (the first boot needs all members)", n.ID, awaited)
		}
		for _, peer := range slices.Sorted(maps.Keys(n.RefusedBy)) {
			say("%s is refused by %s: %s", n.ID, peer, n.RefusedBy[peer])
		}
		for _, l := range n.Links {
			if l.Refusal != "" && n.RefusedBy[l.Peer] == "" && n.Role != "removed" {
				say("%s to %s: %s", n.ID, l.Peer, l.Refusal)
			}
		}
	}
	return remarks
}
