package main

// The upgrade commands: how far an upgrade has come, and its end, from which on there is no way back.

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/cluster"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
)

const upgradeHelp = `Show how far an upgrade has come, and finish it.

Nodes are upgraded one at a time, while clients work. What the newer release can do that the
older cannot is refused ('not open yet') until the upgrade is finished; until then each node
can go back to the older release. The feature level says how much is in use: to finish an
upgrade raises it to the newest that all members know.

A new cluster whose members all run one release has nothing to finish. A restored or recovered
cluster keeps the feature level of the old one.`

const upgradeExamples = `  raftbus upgrade status
  raftbus upgrade finish`

const upgradeStatusHelp = `Show the feature level that the cluster uses, the newest that each member's release knows, and
whether the upgrade can be finished now. It changes nothing. The exit code is 7 when no
quorum of the members answers.`

const upgradeFinishHelp = `Raise the feature level of the cluster to the newest that its members know, so that all their
release can do may be used.

From then on no member can go back to a release that does not know that level: such a release says so,
and does not start. It is refused, with exit code 8 and the name of the member, when one does
not answer or runs an older release than another. It can be repeated.`

func newUpgrade(lookup lookupEnv) *cobra.Command {
	cmd := group("upgrade", "Show how far an upgrade has come, and finish it", upgradeHelp, upgradeExamples)
	cmd.AddCommand(upgradeStatus(lookup), upgradeFinish(lookup))
	return cmd
}

func upgradeStatus(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Show what each member's release knows", Long: upgradeStatusHelp, Args: noArgs}
	asJSON := cmd.Flags().Bool("json", false, `print {"open":2,"newest":3,"finish":true,"members":[...]}`)
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, _ []string) error {
		found, err := cluster.Ask(cmd.Context(), a.Conn, a.Prefix)
		if err != nil {
			return err
		}
		if len(found.Members()) == 0 {
			return unserved(found, a.Prefix, a.Conn)
		}
		v := found.Upgrade()
		if *asJSON {
			err = json.NewEncoder(cmd.OutOrStdout()).Encode(v)
		} else {
			err = printUpgrade(cmd.OutOrStdout(), a.Prefix, &v)
		}
		if err == nil && !found.HasQuorum() {
			return unserved(found, a.Prefix, a.Conn)
		}
		return err
	})
}

func printUpgrade(w io.Writer, prefix string, v *cluster.Upgrade) error {
	fmt.Fprintf(w, "%s: feature level %d in use; newest level known by a member: %d\n\n", prefix, v.Open, v.Newest)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tKNOWS")
	var silent []string
	for _, m := range v.Members {
		if m.Knows == 0 {
			silent = append(silent, m.ID)
			fmt.Fprintf(table, "%s\tno answer\n", m.ID)
		} else {
			fmt.Fprintf(table, "%s\t%d\n", m.ID, m.Knows)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	says := "nothing to finish"
	switch {
	case v.Finish:
		says = "it can be finished, and then no member can go back to an older release: raftbus upgrade finish"
	case v.Reason != "":
		says = "it cannot be finished yet: " + v.Reason
	case len(silent) > 0:
		says = "whether there is something to finish is not known: no answer from " + strings.Join(silent, ", ")
	}
	_, err := fmt.Fprintf(w, "\n%s\n", says)
	return err
}

func upgradeFinish(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "finish", Short: "Raise the feature level to what all members know: there is no way back", Long: upgradeFinishHelp + awaitsLeader, Args: noArgs}
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, _ []string) error {
		raised, err := a.Raise(cmd.Context(), members.AloneMax)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "feature level %d in use: no member can go back to a release that does not know it\n", raised.Open)
		return err
	})
}
