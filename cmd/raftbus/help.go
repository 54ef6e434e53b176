package main

// The text that --help ends with: usage, examples, flags by what they are about, and what all commands have in common.

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

const environmentHelp = `Environment:
  Each flag can be set by a variable: --log-level by RAFTBUS_LOG_LEVEL, and so on; but --dir
  of dev by RAFTBUS_DEV_DIR, and of auth init by RAFTBUS_AUTH_INIT_DIR: RAFTBUS_DIR is a
  node's data folder. The NATS flags also take the variables of the nats CLI (NATS_URL,
  NATS_CREDS, ...) and its contexts. Flags win over RAFTBUS_*, those over NATS_*, those over
  the file that --config names (see 'raftbus config --help'), and that over the context.`

// usage prints a command's help but for its description, which cobra prints before.
func usage(cmd *cobra.Command) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "Usage:\n  %s\n", cmd.UseLine())
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		printCommands(w, cmd)
	}
	own, ofNATS := splitFlags(cmd.LocalFlags())
	printFlags(w, "Flags", own)
	printFlags(w, "NATS flags, as the nats CLI has them", ofNATS)
	if !cmd.HasParent() {
		fmt.Fprintf(w, "\n%s\n\n%s\n", environmentHelp, exitCodesHelp)
		return nil
	}
	_, err := fmt.Fprintf(w, "\nSee 'raftbus --help' for the environment variables, the configuration file and the exit codes.\n")
	return err
}

func printCommands(w io.Writer, cmd *cobra.Command) {
	fmt.Fprintf(w, "\nCommands:\n")
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			fmt.Fprintf(w, "  %-12s %s\n", sub.Name(), sub.Short)
		}
	}
}

func printFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\n%s:\n%s\n", title, strings.TrimRight(flags.FlagUsages(), "\n"))
	}
}

// splitFlags parts the flags about NATS, which are many and known to who uses NATS, from the command's own.
func splitFlags(all *pflag.FlagSet) (own, ofNATS *pflag.FlagSet) {
	own, ofNATS = pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	all.VisitAll(func(flag *pflag.Flag) {
		if _, ok := flag.Annotations[natsopt.Annotation]; ok {
			ofNATS.AddFlag(flag)
		} else {
			own.AddFlag(flag)
		}
	})
	return own, ofNATS
}
