package main

// The health command: one node, asked over NATS; the answer is the exit code. Made for containers.

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

const healthHelp = `Ask one node over NATS whether it serves. The exit code is 0 when the node answers and knows
a leader that it can serve with, 5 when it, or NATS, is not there, 6 when it does not answer in
time, and 7 when it answers and knows no leader, is no member, is reached by no client, or
another cluster uses its prefix.

What an operator should look at although the node serves is told on stderr, as warnings. A node
without a leader is alive: restarting it cures nothing. Look at its peers.`

const healthExamples = `  raftbus health --id n1
  HEALTHCHECK CMD ["/raftbus", "health"]       # in a container, with RAFTBUS_ID, RAFTBUS_NATS and RAFTBUS_AUTH_DIR set`

func newHealth(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "Check that one node serves (exit code)",
		Long:    healthHelp,
		Example: healthExamples,
		Args:    noArgs,
	}
	id := cmd.Flags().String("id", "", "`NAME` of the node")
	_ = cmd.RegisterFlagCompletionFunc("id", completeNodes(lookup)) // it exists
	prefix := prefixFlag(cmd.Flags())
	authDir := cmd.Flags().String("auth-dir", "", "`FOLDER` with the node's credentials, as 'raftbus auth init' made it")
	check := func() error {
		if !config.ValidToken(*id) {
			return usagef("node id %q: name the node to check with --id or RAFTBUS_ID", *id)
		}
		return checkPrefix(*prefix)
	}
	return resolved(cmd, lookup, check, func(cmd *cobra.Command, target natsopt.Target, _ []string) error {
		if *authDir != "" {
			folder, err := auth.Open(*authDir)
			if err != nil {
				return usagef("%w", err)
			}
			target.Options = append(slices.Concat(target.Options, folder.Clients), nats.CustomInboxPrefix(busclient.NodeInbox(*prefix, rpc.NodeID(*id))))
		}
		return health(cmd, target, *prefix, *id)
	})
}

func health(cmd *cobra.Command, target natsopt.Target, prefix, id string) error {
	conn, err := connect(target, "health")
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), target.Timeout)
	defer cancel()
	s, err := members.NewAdministrator(conn, prefix, target.Timeout).Status(ctx, id)
	if err != nil {
		return unsent(err)
	}
	h := s.Health()
	if !h.Ready {
		return failf(exitNoLeader, "%s", strings.Join(h.Reasons, "; "))
	}
	for _, warning := range h.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "raftbus: warning: %s\n", warning)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is healthy: %s, leader %s, term %d\n", id, s.Role, s.Leader, s.Term)
	return err
}
