package main

// The member commands: who belongs to the cluster, and changes of that. They work out what is to be asked for; the leader decides.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
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
the old one leaves then.`

func newMember(lookup lookupEnv) *cobra.Command {
	cmd := group("member", "Show and change the members of a cluster", memberHelp, memberExamples)
	cmd.AddCommand(memberList(lookup), memberAdd(lookup), memberRemove(lookup), memberReplace(lookup))
	return cmd
}

func memberList(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the members, as the leader knows them", Aliases: []string{"ls"}, Args: noArgs}
	asJSON := cmd.Flags().Bool("json", false, `print {"leader":...,"index":...,"members":[...]}`)
	return administered(cmd, lookup, func(cmd *cobra.Command, a *administrator, _ []string) error {
		m, err := a.members(cmd.Context(), a.timeout)
		if err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(m)
		}
		return printMembers(cmd.OutOrStdout(), a.prefix, &m)
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

func waitFlag(flags *pflag.FlagSet, until string) *time.Duration {
	return flags.Duration("wait", waitDefault, "`DURATION` to wait "+until+"; 0: as long as it takes")
}

func waitFlags(flags *pflag.FlagSet, until string) waiting {
	return waiting{waitFlag(flags, until), flags.Bool("no-wait", false, "end once the change is made, and do not wait "+until)}
}

// reach pursues a goal, and returns the members then.
func (w waiting) reach(cmd *cobra.Command, a *administrator, g goal) (admin.Members, error) {
	p := &pursuit{admin: a, goal: g, noWait: *w.noWait, progress: cmd.ErrOrStderr()}
	return p.run(cmd.Context(), *w.time)
}

func memberAdd(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "add ID [ID...]", Short: "Let nodes in that were started with --join", Long: addHelp, Args: someIDs(1, config.MaxMembers), ValidArgsFunction: completeNodes(lookup)}
	instance := cmd.Flags().String("instance", "", "`HEX` instance of the node's data folder, instead of asking the node; with one ID")
	wait := waitFlags(cmd.Flags(), "until they are voters")
	return administered(cmd, lookup, func(cmd *cobra.Command, a *administrator, ids []string) error {
		g := &membersGoal{}
		m, err := a.members(cmd.Context(), aloneMax)
		if err != nil {
			return err
		}
		if g.want, err = a.newMembers(cmd.Context(), &m, ids, *instance); err != nil {
			return err
		}
		if m, err = wait.reach(cmd, a, g); err != nil {
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
	_, err := fmt.Fprintf(w, "voters: %s\n", voters(m))
	return err
}

func memberRemove(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "remove ID [ID...]", Short: "Let members leave", Long: removeHelp, Aliases: []string{"rm"}, Args: someIDs(1, config.MaxMembers), ValidArgsFunction: completeNodes(lookup)}
	wait := waitFlags(cmd.Flags(), "until the change is through")
	return administered(cmd, lookup, func(cmd *cobra.Command, a *administrator, ids []string) error {
		m, err := a.members(cmd.Context(), aloneMax)
		absent := func(id string) bool { _, there := m.Member(id); return !there }
		if err == nil && !m.Settled() && slices.ContainsFunc(ids, absent) { // they leave with the change under way, perhaps, and come back if it comes to nothing
			m, err = wait.reach(cmd, a, &membersGoal{})
		}
		if err != nil {
			return err
		}
		g := &membersGoal{}
		for _, id := range ids {
			o, err := member(&m, id)
			if err != nil {
				return err
			}
			g.gone = append(g.gone, admin.NewMember{ID: id, Instance: o.Instance})
		}
		if m, err = wait.reach(cmd, a, g); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "removed: %s\n", strings.Join(ids, ", "))
		return sayVoters(cmd.OutOrStdout(), &m)
	})
}

// member finds a member that was named.
func member(m *admin.Members, id string) (admin.Member, error) {
	o, ok := m.Member(id)
	if !ok {
		return o, failf(exitNotFound, "%s is no member, so nothing was done: the members are %s", id, strings.Join(ids(m.Members), ", "))
	}
	return o, nil
}

func memberReplace(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "replace ID [NEW]", Short: "Replace a member whose disk or machine was lost", Long: replaceHelp, Args: someIDs(1, 2), ValidArgsFunction: completeNodes(lookup)}
	instance := cmd.Flags().String("instance", "", "`HEX` instance of the new data folder, instead of asking the node")
	wait := waitFlags(cmd.Flags(), "until the new one is a voter")
	return administered(cmd, lookup, func(cmd *cobra.Command, a *administrator, ids []string) error {
		m, err := a.members(cmd.Context(), aloneMax)
		if err != nil {
			return err
		}
		g, err := a.replacement(cmd.Context(), &m, ids, *instance)
		if err != nil {
			return err
		}
		if m, err = wait.reach(cmd, a, g); err != nil {
			return err
		}
		if _, still := m.Member(ids[0]); still && len(ids) == 2 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s stays until then: give the same command again\n", ids[0])
		}
		return sayJoined(cmd.OutOrStdout(), &m, ids[len(ids)-1:])
	})
}

// replacement works out what replacing a member means.
func (a *administrator) replacement(ctx context.Context, m *admin.Members, ids []string, instance string) (*membersGoal, error) {
	old, comes := ids[0], ids[len(ids)-1]
	have, isMember := m.Member(old)
	if _, done := m.Member(comes); !isMember && !done {
		_, err := member(m, old)
		return nil, err
	}
	want, err := a.newMembers(ctx, m, []string{comes}, instance)
	g := &membersGoal{want: want}
	switch {
	case err != nil || !isMember: // who is to go is gone: only the new one may have to be waited for
		return g, err
	case old != comes:
		g.gone = []admin.NewMember{{ID: old, Instance: have.Instance}}
		g.after = a.lives(ctx, have)
	case want[0].Instance != have.Instance:
		g.over = map[string]string{old: have.Instance}
	}
	return g, nil
}

// lives reports whether a member answers, under the instance that the cluster knows: the leader, or this client.
func (a *administrator) lives(ctx context.Context, m admin.Member) bool {
	if m.State != "unreachable" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	s, err := askOne(ctx, a.asker, a.prefix, m.ID)
	return err == nil && s.Instance == m.Instance
}

// newMembers finds out the instances of nodes that are to be let in: from themselves, unless it is given.
func (a *administrator) newMembers(ctx context.Context, m *admin.Members, ids []string, instance string) ([]admin.NewMember, error) {
	if instance != "" {
		if len(ids) > 1 {
			return nil, usagef("--instance is of one node: add the others by another command")
		}
		if _, err := admin.ParseInstance(instance); err != nil {
			return nil, usagef("--%w", err)
		}
		return []admin.NewMember{{ID: ids[0], Instance: strings.ToLower(instance)}}, nil
	}
	var list []admin.NewMember
	for _, id := range ids {
		found, err := a.newMember(ctx, m, id)
		if err != nil {
			return nil, err
		}
		list = append(list, found)
	}
	return list, nil
}

func (a *administrator) newMember(ctx context.Context, m *admin.Members, id string) (admin.NewMember, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	s, err := askOne(ctx, a.asker, a.prefix, id)
	switch {
	case errors.Is(err, errAbsent):
		return admin.NewMember{}, failf(exitUnavailable, "%s %w (prefix %s): start it with 'raftbus node --id %s --join' first, or give the instance of its data folder with --instance", id, errAbsent, a.prefix, id)
	case err != nil:
		return admin.NewMember{}, err
	case s.Cluster != "" && s.Cluster != m.Cluster:
		return admin.NewMember{}, failf(exitConflict, "%s belongs to another cluster (%s, this one is %s): start it with an empty data folder and --join", id, s.Cluster, m.Cluster)
	}
	return admin.NewMember{ID: id, Instance: s.Instance}, nil
}

// someIDs wants from min to max ids, each once.
func someIDs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("%d ids: give %d to %d: see '%s --help'", len(args), least, most, cmd.CommandPath())
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
