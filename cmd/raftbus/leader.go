package main

// The leader commands: who leads, and somebody else shall.

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
)

const leaderHelp = `Show who leads the cluster, or hand leadership to another node.`

const leaderExamples = `  raftbus leader
  raftbus leader show --json
  raftbus leader transfer
  raftbus leader transfer --to n2`

const transferHelp = `Hand leadership to another voter: that which holds most of the log, or the one named.

The leader stops listening to clients, finishes what it has, lets its successor catch up, and
tells it to campaign at once. Clients that ask again lose nothing. Nothing is done when the
one named leads already. The exit code is 8, with the reason, when it cannot take over.`

func newLeader(lookup lookupEnv) *cobra.Command {
	cmd := leaderShow(lookup, &cobra.Command{
		Use:     "leader",
		Short:   "Show the leader, or hand leadership over",
		Long:    leaderHelp,
		Example: leaderExamples,
		Args:    noSuchCommand,
	})
	cmd.AddCommand(leaderShow(lookup, &cobra.Command{Use: "show", Short: "Show who leads", Aliases: []string{"info"}, Args: noArgs}), newTransfer(lookup))
	return cmd
}

// leaderView is what `raftbus leader --json` prints.
type leaderView struct {
	Leader   string `json:"leader"`
	Term     uint64 `json:"term"`
	Transfer string `json:"transfer,omitempty"` // to whom it is handing over
}

func leaderShow(lookup lookupEnv, cmd *cobra.Command) *cobra.Command {
	asJSON := cmd.Flags().Bool("json", false, `print {"leader":"n1","term":4}`)
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, _ []string) error {
		m, err := a.Members(cmd.Context(), a.Timeout)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(leaderView{m.Leader, m.Term, m.Transfer})
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), leads(&m))
		return err
	})
}

func leads(m *admin.Members) string { return fmt.Sprintf("%s leads in term %d", m.Leader, m.Term) }

func newTransfer(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transfer [--to ID]",
		Short: "Hand leadership to another voter",
		Long:  transferHelp + awaitsLeader,
		Args:  noArgs,
	}
	to := cmd.Flags().String("to", "", "`ID` of the voter to lead; not given: the one that holds most of the log")
	_ = cmd.RegisterFlagCompletionFunc("to", completeNodes(lookup)) // it exists
	wait := waiting{waitFlag(cmd, "until another leads"), new(bool)}
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, _ []string) error {
		m, err := a.Transfer(cmd.Context(), *to, wait.of(cmd))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), leads(&m))
		return err
	})
}
