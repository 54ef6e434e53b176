package main

// The root command: what all commands share.

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

const rootHelp = `raftbus is a strongly consistent key-value store, replicated with Raft, whose only network is NATS.

A node listens on no port: it dials NATS, and its name is its address. Talk to the
cluster with the nats CLI, or with any NATS client.`

const rootExamples = `  raftbus dev                                  # NATS and three nodes in this process, durable
  nats req raftbus.bucket.add.app ''           # in another terminal
  nats req raftbus.kv.put.app.color blue
  nats req raftbus.kv.get.app.color ''

  raftbus node --id n1 --members n1,n2,n3 --dir /var/lib/raftbus --nats nats://bus:4222
  raftbus status --nats nats://bus:4222`

// lookupEnv reads one variable of the environment, as os.LookupEnv does.
type lookupEnv = func(name string) (string, bool)

// newRoot builds the command tree anew: nothing is kept between two executions.
func newRoot(lookup lookupEnv) *cobra.Command {
	root := &cobra.Command{
		Use:           "raftbus",
		Short:         "A strongly consistent key-value store on NATS",
		Long:          rootHelp,
		Example:       rootExamples,
		SilenceErrors: true, // main prints them, in one form
		SilenceUsage:  true,
		// How many letters a mistyped command may differ by, for a suggestion.
		SuggestionsMinimumDistance: 2,
		Args:                       noSuchCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fillFromEnv(cmd.Flags(), lookup)
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w: see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(newDev(), newNode(lookup), newStatus(lookup), newHealth(lookup), newVersion())
	root.SetUsageFunc(usage)
	return root
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("no command %q: did you mean '%s'?", args[0], strings.Join(near, "' or '"))
	}
	return usagef("no command %q: see 'raftbus --help'", args[0])
}

// noArgs refuses arguments: all of raftbus' commands take flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("unexpected argument %q: see '%s --help'", args[0], cmd.CommandPath())
}

// prefixFlag adds --prefix, which names the cluster on the bus.
func prefixFlag(flags *pflag.FlagSet) *string {
	return flags.String("prefix", defaultPrefix, "`TOKEN` that all subjects of the cluster begin with")
}

// resolve reads the NATS flags; what is wrong with them is wrong usage.
func resolve(flags *natsopt.Flags, lookup lookupEnv) (natsopt.Target, error) {
	target, err := flags.Resolve(lookup)
	if err != nil {
		return natsopt.Target{}, usagef("%w", err)
	}
	return target, nil
}
