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

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

const statusHelp = `Ask all nodes of a cluster for their status, and print it.

The nodes are asked over NATS on <prefix>.node._all.status; members that do not answer
within a second are shown as such. The exit code is 0 when a quorum answers and a leader
serves, 5 when NATS cannot be reached or no node answers, 7 when no leader serves with a
quorum.`

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
	prefix := prefixFlag(cmd.Flags())
	natsFlags := natsopt.Register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkPrefix(*prefix); err != nil {
			return err
		}
		target, err := resolve(natsFlags, lookup)
		if err != nil {
			return err
		}
		return status(cmd, target, *prefix, *asJSON)
	}
	return cmd
}

func status(cmd *cobra.Command, target natsopt.Target, prefix string, asJSON bool) error {
	conn, err := connect(target, "status")
	if err != nil {
		return err
	}
	defer conn.Close()
	found, err := askAll(cmd.Context(), conn, prefix)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(found)
	} else if len(found.Nodes) > 0 {
		err = printCluster(cmd.OutOrStdout(), prefix, found)
	}
	if err != nil {
		return err
	}
	return found.err(prefix)
}

// printCluster prints a headline, one line for each member, and a remark for each thing an operator should know.
func printCluster(w io.Writer, prefix string, c cluster) error {
	fmt.Fprintf(w, "%s: %s, %d of %d nodes answer\n\n", prefix, headline(c), len(c.Nodes), c.size())
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tROLE\tTERM\tCOMMIT\tAPPLIED\tLOG\tLINKS")
	for _, n := range c.Nodes {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", n.ID, n.Role, n.Term, n.Commit, n.Applied, logRange(n), links(n))
	}
	for _, id := range c.Unreachable {
		fmt.Fprintf(table, "%s\tno answer\n", id)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return printRemarks(w, c)
}

func headline(c cluster) string {
	if leader := c.leader(); leader != nil {
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

func printRemarks(w io.Writer, c cluster) error {
	var remarks []string
	for _, n := range c.Nodes {
		if len(n.WaitingFor) > 0 {
			remarks = append(remarks, fmt.Sprintf("%s waits for %s (the first boot needs all members)", n.ID, strings.Join(n.WaitingFor, ", ")))
		}
		for _, peer := range slices.Sorted(maps.Keys(n.RefusedBy)) {
			remarks = append(remarks, fmt.Sprintf("%s is refused by %s: %s", n.ID, peer, n.RefusedBy[peer]))
		}
		for _, l := range n.Links {
			if l.Refusal != "" && n.RefusedBy[l.Peer] == "" {
				remarks = append(remarks, fmt.Sprintf("%s to %s: %s", n.ID, l.Peer, l.Refusal))
			}
		}
	}
	if len(remarks) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(remarks, "\n"))
	return err
}
