package main

// The root command: what all commands share.

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

const rootHelp = `raftbus is a strongly consistent key-value store, replicated with Raft, whose only network is NATS.

A node listens on no port: it dials NATS, and its name is its address. Talk to the
cluster with these commands, with the nats CLI, or with any NATS client.`

const rootExamples = `  raftbus dev                                  # NATS and three nodes in this process, durable
  raftbus bucket add app                       # in another terminal
  raftbus kv put app color blue
  raftbus kv get app color
  nats req raftbus.kv.put.app.color green      # the same, by any NATS client

  raftbus auth init --nodes n1,n2,n3 --url nats://bus:4222       # into ./auth
  nats-server -c auth/nats/server.conf
  raftbus node --id n1 --members n1,n2,n3 --dir data/n1 --nats nats://bus:4222 --auth-dir auth/nodes/n1
  raftbus status --context auth/users/admin.json
  raftbus top --context auth/users/admin.json
  raftbus member add n4 --context auth/users/admin.json          # a node that was started with --join`

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
		Version:       thisBuild().String(),
		// How many letters a mistyped command may differ by, for a suggestion.
		SuggestionsMinimumDistance: 2,
		Args:                       noSuchCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return fill(cmd, lookup)
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "print the version of this binary, as 'raftbus version' does") // before cobra makes one that has a letter too
	root.PersistentFlags().String("config", "", "configuration `FILE` (see 'raftbus config --help')")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) && strings.HasSuffix(cmd.Use, "[VALUE]") {
			err = fmt.Errorf("%w; a value that begins with - comes after --", err)
		}
		return usagef("%w: see '%s --help'", flagError(err), cmd.CommandPath())
	})
	root.AddCommand(newDev(), newNode(lookup), newConfig(lookup), newStatus(lookup), newTop(lookup), newDoctor(lookup), newHealth(lookup), newKV(lookup), newBucket(lookup), newMember(lookup), newLeader(lookup), newUpgrade(lookup),
		newAuth(), newBackup(lookup), newRestore(), newRecover(), newLog(), newImport(lookup), newBench(lookup), newVersion())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args, completion.RunE = noSuchCommand, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	root.SetUsageFunc(usage)
	return root
}

// group is a command that only has others under it.
func group(use, short, long, example string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if path := calledSo(cmd, args[0]); path != "" {
		return usagef("no command %q: did you mean '%s'?", args[0], path)
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("no command %q: did you mean '%s'?", args[0], strings.Join(near, "' or '"))
	}
	return usagef("no command %q: see '%s --help'", args[0], cmd.CommandPath())
}

// elsewhere is where a command is looked for that its group has not. What the nats CLI has in one group is in two here.
var elsewhere = map[string][]string{"raftbus": {"kv", "bucket", "member", "leader", "upgrade", "auth", "log"}, "kv": {"bucket"}, "bucket": {"kv"}}

// calledSo is the command of that name in another group; empty: there is none.
func calledSo(group *cobra.Command, name string) string {
	for _, other := range elsewhere[group.Name()] {
		if cmd, rest, err := group.Root().Find([]string{other, name}); err == nil && len(rest) == 0 {
			return cmd.CommandPath()
		}
	}
	return ""
}

// noArgs refuses arguments: most of raftbus' commands take flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("unexpected argument %q: see '%s --help'", args[0], cmd.CommandPath())
}

// prefixFlag adds --prefix, which names the cluster on the bus.
func prefixFlag(flags *pflag.FlagSet) *string {
	prefix := new(string)
	prefixVar(flags, prefix)
	return prefix
}

func prefixVar(flags *pflag.FlagSet, prefix *string) {
	flags.StringVar(prefix, "prefix", defaultPrefix, "`TOKEN` that all subjects of the cluster begin with")
}

// domainVar adds --js-domain.
func domainVar(flags *pflag.FlagSet, domain *string) {
	flags.StringVar(domain, "js-domain", "", "`TOKEN` that KV clients name as the JetStream domain; empty: the prefix")
}

// httpFlag adds --http, where a node shows what it does.
func httpFlag(flags *pflag.FlagSet) *string {
	return flags.String("http", "", "`ADDRESS` to serve a web page, /metrics, /healthz, /livez, /readyz and /stats on, such as 127.0.0.1:8080; without a host it is loopback; default: none, since a node needs no port")
}

// tracesFlag adds --traces, where traces go.
func tracesFlag(flags *pflag.FlagSet) *string {
	return flags.String("traces", "", "`URL` of an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318: requests that carry a sampled traceparent are traced; default: none")
}

// checkTraces refuses what is no URL.
func checkTraces(address string) error {
	if u, err := url.Parse(address); address != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return usagef("--traces %q: give it as http://127.0.0.1:4318", natsopt.WithoutUser(address))
	}
	return nil
}

// checkHTTP refuses what is no address.
func checkHTTP(address string) error {
	if _, _, err := net.SplitHostPort(address); address != "" && err != nil {
		return usagef("--http %q: give it as 127.0.0.1:8080", address)
	}
	return nil
}
