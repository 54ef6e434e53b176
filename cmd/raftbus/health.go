package main

// The health command: one node, asked over NATS; the answer is the exit code. Made for containers.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/config"
)

const healthHelp = `Ask one node over NATS whether it serves. The exit code is 0 when the node answers and knows
a leader that it can serve with, 5 when it does not answer, 6 when it does not answer in
time, and 7 when it answers and knows no leader.

A node without a leader is alive: restarting it cures nothing. Look at its peers.`

const healthExamples = `  raftbus health --id n1
  HEALTHCHECK CMD ["/raftbus", "health"]       # in a container, with RAFTBUS_ID and RAFTBUS_NATS set`

func newHealth(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "Check that one node serves (exit code)",
		Long:    healthHelp,
		Example: healthExamples,
		Args:    noArgs,
	}
	id := cmd.Flags().String("id", "", "`NAME` of the node")
	prefix := prefixFlag(cmd.Flags())
	natsFlags := natsopt.Register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !config.ValidToken(*id) {
			return usagef("node id %q: name the node to check with --id or RAFTBUS_ID", *id)
		}
		if err := checkPrefix(*prefix); err != nil {
			return err
		}
		target, err := resolve(natsFlags, lookup)
		if err != nil {
			return err
		}
		return health(cmd, target, *prefix, *id)
	}
	return cmd
}

func health(cmd *cobra.Command, target natsopt.Target, prefix, id string) error {
	conn, err := connect(target, "health")
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), target.Timeout)
	defer cancel()
	s, err := askOne(ctx, conn, prefix, id)
	if err != nil {
		return err
	}
	if !s.Ready {
		return failf(exitNoLeader, "%s knows no leader%s: look at its peers with 'raftbus status'", id, because(s))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is healthy: %s, leader %s, term %d\n", id, s.Role, s.Leader, s.Term)
	return err
}

// askOne asks one node for its status.
func askOne(ctx context.Context, conn *nats.Conn, prefix, id string) (replica.Status, error) {
	var s replica.Status
	answer, err := conn.RequestWithContext(ctx, busclient.StatusSubject(prefix, id), nil)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return s, failf(exitUnavailable, "%s is not on the bus (prefix %s): start it, or check --id and --prefix", id, prefix)
	case errors.Is(err, context.DeadlineExceeded):
		return s, failf(exitTimeout, "%s did not answer in time: it may be overloaded or paused: look at its log", id)
	case err != nil:
		return s, err
	}
	if err := json.Unmarshal(answer.Data, &s); err != nil || s.ID != id {
		return s, failf(exitError, "what answered on %s is not node %s: check --prefix", busclient.StatusSubject(prefix, id), id)
	}
	return s, nil
}

// because tells what the node itself gives as the reason that it cannot serve.
func because(s replica.Status) string {
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
