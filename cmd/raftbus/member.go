package main

// The member commands: who belongs to the cluster, and changes of that. Package members pursues them; here is what is printed.

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
	"github.com/raftbus/raftbus/raft/config"
)

const memberHelp = `Show who belongs to the cluster, and change it while it runs.

A new member begins as a learner: it gets the log, or a snapshot, and counts for nothing. The
leader makes it a voter by itself once it has caught up. One change is made at a time; all
that one command names is one change. The commands can be repeated: what is done already is
not done again.`

const memberExamples = `  raftbus member list
  raftbus node --id n4 --join --dir /var/lib/raftbus --auth-dir auth/nodes/n4   # on the new machine; then, anywhere:
  raftbus member add n4
  raftbus member add n4 n5                             # one change
  raftbus member remove n2
  raftbus member replace n3                            # its folder was lost: the same id with the new folder
  raftbus member replace n3 n6                         # another node in its place`

const addHelp = `Let nodes into the cluster. Start them first, with 'raftbus node --join': each says which data
folder it has, and that folder is what is let in. The command waits until they are voters, and
says how far they are; after Ctrl-C or the time of --wait the change goes on all the same.

The exit code is 4 when one of them is a member already with another data folder, 5 when one is
not on the bus, 6 when one is silent or the time is over, 8 when the cluster refuses.`

const removeHelp = `Let nodes leave the cluster; all of them are one change. The leader may be among them: it hands
over first, if one that stays can take over. Stop what was removed. Its data folder stays as it is:
'raftbus member add' lets it in again, so delete it if it is not to come back.

The exit code is 3 when one is no member, and 8 when the cluster would lose its quorum, because
too few of those that would be left answer. Nothing is done then. Given again, the command waits
until the change under way is through, and ends with 3 if they have left with it.`

const replaceHelp = `Replace a member whose disk or machine was lost, in one operation.

With one ID: its data folder is gone, and it was started again with an empty one, under the
same id, with --join or as before. The new folder takes the place of the old one in one change;
it begins as a learner, and is a voter once it has caught up.

With ID and NEW: another node takes its place, started with --join. When the old one does not
answer, one change removes it and lets NEW in; when it does, NEW becomes a voter first, and
the old one leaves then. In a cluster of 15, the most there may be, one change does both.`

// awaitsLeader is in the help of commands that outlast an election.
const awaitsLeader = "\n\nWhile nobody leads it waits 20s for a leader, whatever --timeout is."

func newMember(lookup lookupEnv) *cobra.Command {
	cmd := group("member", "Show and change the members of a cluster", memberHelp, memberExamples)
	cmd.AddCommand(memberList(lookup), memberAdd(lookup), memberRemove(lookup), memberReplace(lookup))
	return cmd
}

func memberList(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the members, as the leader knows them", Aliases: []string{"ls"}, Args: noArgs}
	asJSON := cmd.Flags().Bool("json", false, `print {"leader":...,"index":...,"members":[...]}`)
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, _ []string) error {
		m, err := a.Members(cmd.Context(), a.Timeout)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(m)
		}
		return printMembers(cmd.OutOrStdout(), a.Prefix, &m)
	})
}

func printMembers(w io.Writer, prefix string, m *admin.Members) error {
	fmt.Fprintf(w, "%s: %s, configuration %d, %s\n\n", prefix, leads(m), m.Index, changeOf(m))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tROLE\tSTATE\tMATCH\tLAG\tINSTANCE")
	for _, o := range m.Members {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\n", o.ID, o.Role, o.State, o.Match, o.Lag, o.Instance)
	}
	return table.Flush()
}

// changeOf says what is under way.
func changeOf(m *admin.Members) string {
	switch {
	case m.Transfer != "":
		return "leadership goes to " + m.Transfer
	case m.Joint:
		return "a change of several voters under way"
	case !m.Committed:
		return "a change under way"
	}
	return "no change under way"
}

// waiting are the flags of commands that wait for what they began.
type waiting struct {
	time   *time.Duration
	noWait *bool
}

// waitDefault is long enough for some gigabytes.
const waitDefault = 5 * time.Minute

func waitFlag(cmd *cobra.Command, until string) *time.Duration {
	wait := cmd.Flags().Duration("wait", waitDefault, "`DURATION` to wait "+until+"; 0: as long as it takes")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *wait < 0 {
			return usagef("--wait %v: give a duration above zero, or 0 for as long as it takes", *wait)
		}
		return nil
	}
	return wait
}

func waitFlags(cmd *cobra.Command, until string) waiting {
	return waiting{waitFlag(cmd, until), cmd.Flags().Bool("no-wait", false, "end once the change is made, and do not wait "+until)}
}

func (w waiting) of(cmd *cobra.Command) members.Waiting {
	return members.Waiting{For: *w.time, NoWait: *w.noWait, Tell: func(awaited string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "raftbus: waiting for %s\n", awaited)
	}}
}

func memberAdd(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "add ID [ID...]", Short: "Let nodes in that were started with --join", Long: addHelp + awaitsLeader, Args: someIDs(config.MaxMembers), ValidArgsFunction: completeNodes(lookup)}
	instance := cmd.Flags().String("instance", "", "`HEX` instance of the node's data folder, instead of asking the node; with one ID")
	wait := waitFlags(cmd, "until they are voters")
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, ids []string) error {
		m, err := a.Add(cmd.Context(), ids, *instance, wait.of(cmd))
		if err != nil {
			return err
		}
		return sayJoined(cmd.OutOrStdout(), &m, ids)
	})
}

// sayJoined tells what became of those that were to come.
func sayJoined(w io.Writer, m *admin.Members, ids []string) error {
	for _, id := range ids {
		text := "is a voter"
		if o, _ := m.Member(id); o.Role != admin.RoleVoter {
			text = "is a learner, and becomes a voter once it has caught up"
		}
		fmt.Fprintf(w, "%s %s\n", id, text)
	}
	return sayVoters(w, m)
}

func sayVoters(w io.Writer, m *admin.Members) error {
	var voters []string
	for _, o := range m.Members {
		if o.Role == admin.RoleVoter {
			voters = append(voters, o.ID)
		}
	}
	_, err := fmt.Fprintf(w, "voters: %s\n", strings.Join(voters, ", "))
	return err
}

func memberRemove(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "remove ID [ID...]", Short: "Let members leave", Long: removeHelp + awaitsLeader, Aliases: []string{"rm"}, Args: someIDs(config.MaxMembers), ValidArgsFunction: completeNodes(lookup)}
	wait := waitFlags(cmd, "until the change is through")
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, ids []string) error {
		m, err := a.Remove(cmd.Context(), ids, wait.of(cmd))
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "removed: %s\n", strings.Join(ids, ", "))
		return sayVoters(cmd.OutOrStdout(), &m)
	})
}

func memberReplace(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "replace ID [NEW]", Short: "Replace a member whose disk or machine was lost", Long: replaceHelp + awaitsLeader, Args: someIDs(2), ValidArgsFunction: completeNodes(lookup)}
	instance := cmd.Flags().String("instance", "", "`HEX` instance of the new data folder, instead of asking the node")
	wait := waitFlags(cmd, "until the new one is a voter")
	return administered(cmd, lookup, func(cmd *cobra.Command, a *members.Administrator, ids []string) error {
		old, comes := ids[0], ids[len(ids)-1]
		m, err := a.Replace(cmd.Context(), old, comes, *instance, wait.of(cmd))
		if err != nil {
			return err
		}
		if _, still := m.Member(old); still && old != comes {
			fmt.Fprintf(cmd.OutOrStdout(), "%s stays until then: give the same command again\n", old)
		}
		return sayJoined(cmd.OutOrStdout(), &m, []string{comes})
	})
}

// someIDs wants one id or more, each once.
func someIDs(most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) > most {
			return usagef("%d ids: give 1 to %d: see '%s --help'", len(args), most, cmd.CommandPath())
		}
		for i, id := range args {
			if !config.ValidToken(id) {
				return usagef("node id %q: use 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", id)
			}
			for _, other := range args[:i] {
				if other == id && cmd.Name() != "replace" {
					return usagef("%s is named twice", id)
				}
			}
		}
		return nil
	}
}
