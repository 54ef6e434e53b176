package main

// The watch command.

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

const watchHelp = `Print each change of a bucket's keys, in order, until Ctrl-C. KEYS are patterns as NATS has them:
'color', 'a.*', 'a.>'; none: all keys.

What is there comes first: each key's newest entry, or with --first history all that is kept, or
with --first nothing only what is to come. When the node that serves the watch dies the watch
goes on elsewhere, after the last event printed, so nothing is missed and nothing comes twice;
if that is not kept any more, or the bucket was made anew, stderr says so, and what is there
now follows. If no node can serve it, a watch that has begun waits; one that has not begun, or
has --current, ends with an error.

The exit code is 8 when no node can serve watches (NATS has no leafnodes port), or --from is not kept any more.`

func kvWatch(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "watch BUCKET [KEYS...]", Short: "Print changes as they come", Long: watchHelp, Args: takes(1, 257), ValidArgsFunction: completeKeys(lookup)}
	w := native.Watch{}
	flags := cmd.Flags()
	flags.StringVar(&w.First, "first", "newest", "`WHAT` comes first: newest, history or nothing")
	flags.Uint64Var(&w.From, "from", 0, "`REVISION` to begin with, 1 or more, in place of --first")
	flags.BoolVar(&w.NoValues, "no-values", false, "without the values")
	flags.BoolVar(&w.Current, "current", false, "end when all that is there has come")
	asJSON := flags.Bool("json", false, "print each event as JSON on a line")
	_ = cmd.RegisterFlagCompletionFunc("first", cobra.FixedCompletions([]string{"newest", "history", "nothing"}, cobra.ShellCompDirectiveNoFileComp)) // it exists
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		return cmp.Or(checkStart(flags, &w), checkPatterns(args[1:]))
	}
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, args []string) error {
		w.Bucket, w.Keys = args[0], args[1:]
		out := stdout(cmd)
		lines := json.NewEncoder(out)
		w.Event = func(e native.Entry) error {
			if *asJSON {
				return lines.Encode(e)
			}
			_, err := fmt.Fprintln(out, eventLine(&e, w.NoValues))
			return err
		}
		w.Missed = func() {
			fmt.Fprintf(cmd.ErrOrStderr(), "raftbus: events may be missing here, they are not kept any more, or the bucket was made anew: what is there now follows\n")
		}
		w.Waits = func(err error) {
			if err == nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "raftbus: the watch goes on")
				return
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "raftbus: nobody serves the watch now (%v): it goes on as soon as somebody does, Ctrl-C ends it\n", err)
		}
		err := c.Watch(cmd.Context(), w)
		if cmd.Context().Err() != nil && !w.Current {
			return nil // Ctrl-C is how a watch ends, and no end of what is there
		}
		return err
	})
}

// checkStart refuses what is no beginning, or two of them.
func checkStart(flags *pflag.FlagSet, w *native.Watch) error {
	switch from := flags.Changed("from"); {
	case from && flags.Changed("first"):
		return usagef("--from and --first: give one of them")
	case from && w.From == 0:
		return usagef("--from 0: revisions begin with 1; all that is kept comes with --first history")
	}
	return oneOf("first", w.First, "newest", "history", "nothing")
}

// checkPatterns refuses what NATS would take for the name of one key that nobody can write: the watch would wait for ever.
func checkPatterns(keys []string) error {
	for _, key := range keys {
		tokens := strings.Split(key, ".")
		for i, token := range tokens {
			switch {
			case token == "":
				return usagef("keys %q: there is nothing before, after or between two dots", key)
			case strings.Contains(token, "*") && token != "*":
				return usagef("keys %q: * stands for a whole token, as in 'a.*': keys that begin alike are listed by 'raftbus kv ls --begins'", key)
			case strings.Contains(token, ">") && (token != ">" || i < len(tokens)-1):
				return usagef("keys %q: > stands for all tokens that follow, and is the last, as in 'a.>'", key)
			}
		}
	}
	return nil
}

func eventLine(e *native.Entry, noValues bool) string {
	line := fmt.Sprintf("%s %s %s, revision %d", e.Time, e.Operation, shownName(e.Key), e.Revision)
	if e.Operation == "put" && !noValues {
		line += ": " + short(e.Value())
	}
	return line
}
