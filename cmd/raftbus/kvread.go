package main

// Commands that read keys.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv"
)

const getHelp = `Print the value of a key, with its revision and time; with --raw the bytes of the value and nothing
else. Without --raw what is not printable is quoted. The exit code is 3 if the key has none.

--revision prints what the key had then, if its history still has it. --level local asks the
leader for what it has without a quorum's word: faster, and possibly behind; --json tells by how much.`

func kvGet(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "get BUCKET KEY", Short: "Print the value of a key", Long: getHelp, Args: takesKey(2), ValidArgsFunction: completeKeys(lookup)}
	raw := cmd.Flags().BoolP("raw", "r", false, "print the bytes of the value, and nothing else")
	asJSON := cmd.Flags().Bool("json", false, "print JSON, with value, or value_base64 if it is no UTF-8")
	revision := cmd.Flags().Uint64("revision", 0, "`NUMBER` of the revision to print; 0: the newest")
	level := cmd.Flags().String("level", "linearizable", "`LEVEL` of the read: linearizable, or local: what the leader has, which may be behind")
	_ = cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions([]string{"linearizable", "local"}, cobra.ShellCompDirectiveNoFileComp)) // it exists
	cmd.PreRunE = func(*cobra.Command, []string) error { return oneOf("level", *level, "linearizable", "local") }
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, args []string) error {
		e, err := entryAt(cmd, c, args[0], args[1], *level == "local", *revision)
		if err != nil {
			return err
		}
		w := stdout(cmd)
		switch value := e.Value(); {
		case *raw:
			_, err = w.Write(value)
		case *asJSON:
			err = json.NewEncoder(w).Encode(e)
		default:
			_, err = fmt.Fprintf(w, "%s %s, revision %d, %s, %d bytes\n\n%s\n", e.Bucket, e.Key, e.Revision, e.Time, len(value), shown(value))
		}
		return err
	})
}

// entryAt reads a key, as it is or as it was. The newest is asked for first: it comes as it is.
func entryAt(cmd *cobra.Command, c *native.Client, bucket, key string, local bool, revision uint64) (native.Entry, error) {
	e, err := c.Get(cmd.Context(), bucket, key, local)
	switch {
	case revision == 0:
		return e, err
	case err == nil && e.Revision == revision:
		e.Operation = "put" // as of one that is not the newest any more
		return e, nil
	}
	entries, _, err := c.History(cmd.Context(), bucket, key, revision-1, 1)
	if tooLarge(err) {
		entries, err = watchedHistory(cmd.Context(), c, bucket, key)
		entries = slices.DeleteFunc(entries, func(e native.Entry) bool { return e.Revision != revision })
	}
	switch {
	case err != nil:
		return e, err
	case len(entries) == 0 || entries[0].Revision != revision:
		return e, failf(exitNotFound, "%s has no revision %d, or it is not kept any more: see 'raftbus kv history %s %s'", key, revision, bucket, key)
	case entries[0].Operation != "put":
		return e, failf(exitNotFound, "%s was deleted by revision %d (%s): see 'raftbus kv history %s %s'", key, revision, entries[0].Operation, bucket, key)
	}
	return entries[0], nil
}

// pageOf is how many names or entries are asked for at a time.
const pageOf = 1000

func kvList(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls [BUCKET]", Short: "List the keys of a bucket, or the buckets", Aliases: []string{"list", "keys"}, Args: takes(0, 1), ValidArgsFunction: completeBuckets(lookup),
		Long: "Print the names of keys that have a value, in order, one on a line; without BUCKET those of the buckets.\nWith their values: 'raftbus kv watch BUCKET --current'.",
	}
	names := namesFlags(cmd)
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, args []string) error {
		return names.print(cmd, c, strings.Join(args, ""))
	})
}

// nameFlags are what lists of names have in common.
type nameFlags struct {
	prefix string
	limit  int
	asJSON bool
}

func namesFlags(cmd *cobra.Command) *nameFlags {
	f := &nameFlags{}
	cmd.Flags().StringVar(&f.prefix, "begins", "", "`TEXT` that the names begin with")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "`NUMBER` of names to print; 0: all")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print each name as a JSON string on a line")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if f.limit < 0 {
			return usagef("--limit %d: give a number above zero, or 0 for all", f.limit)
		}
		return nil
	}
	return f
}

func (f *nameFlags) print(cmd *cobra.Command, c *native.Client, bucket string) error {
	left, w := f.limit, stdout(cmd)
	p := native.Page{Bucket: bucket, Prefix: f.prefix, Limit: pageOf}
	for {
		if f.limit > 0 {
			p.Limit = min(left, pageOf)
		}
		names, next, err := c.Names(cmd.Context(), p)
		if err != nil {
			return err
		}
		if err := f.lines(w, names); err != nil {
			return err
		}
		p.After, left = next, left-len(names)
		if next == "" || f.limit > 0 && left <= 0 {
			return nil
		}
	}
}

func (f *nameFlags) lines(w io.Writer, names []string) error {
	if f.asJSON {
		return printLines(w, names)
	}
	for _, name := range names {
		if _, err := fmt.Fprintln(w, shownName(name)); err != nil {
			return err
		}
	}
	return nil
}

func kvHistory(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use: "history BUCKET KEY", Short: "Show what a key had", Args: takesKey(2), ValidArgsFunction: completeKeys(lookup),
		Long: "Show the entries of a key that the bucket keeps (see 'raftbus bucket add --history'), the oldest first. Deletes\nand purges are entries too. With --json one object on each line.",
	}
	asJSON := cmd.Flags().Bool("json", false, "print each entry as JSON on a line")
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, args []string) error {
		entries, err := wholeHistory(cmd.Context(), c, args[0], args[1])
		if err != nil {
			return err
		}
		if *asJSON {
			return printLines(stdout(cmd), entries)
		}
		table := tabwriter.NewWriter(stdout(cmd), 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "REVISION\tOPERATION\tTIME\tBYTES\tVALUE")
		for _, e := range entries {
			value := e.Value()
			fmt.Fprintf(table, "%d\t%s\t%s\t%d\t%s\n", e.Revision, e.Operation, e.Time, len(value), short(value))
		}
		return table.Flush()
	})
}

// wholeHistory reads all entries of a key: 64 at most, page by page, since a page holds what fits in a message.
func wholeHistory(ctx context.Context, c *native.Client, bucket, key string) (all []native.Entry, err error) {
	for after := uint64(0); ; {
		page, next, err := c.History(ctx, bucket, key, after, 64)
		switch {
		case tooLarge(err):
			return watchedHistory(ctx, c, bucket, key)
		case err != nil:
			return nil, err
		}
		all = append(all, page...)
		if next == 0 {
			return all, nil
		}
		after = next
	}
}

// tooLarge reports whether an answer was to hold a value that has no room in it as JSON.
func tooLarge(err error) bool {
	var f *native.Failure
	return errors.As(err, &f) && f.OfKind(kv.TooLarge)
}

// watchedHistory is a whole history by a watch, which sends each value as it is. One that is broken off and cannot go on where it was is asked for anew.
func watchedHistory(ctx context.Context, c *native.Client, bucket, key string) (all []native.Entry, err error) {
	for range historyTries {
		torn := false
		all = nil
		err = c.Watch(ctx, native.Watch{
			Bucket: bucket, Keys: []string{key}, First: "history", Current: true, Missed: func() { torn = true },
			Event: func(e native.Entry) error {
				if torn {
					return errTorn
				}
				all = append(all, e)
				return nil
			},
		})
		if !torn {
			return all, err
		}
	}
	return nil, errTorn
}

// historyTries bounds how often a history is asked for that does not come as a whole.
const historyTries = 5

// errTorn: a history did not come as a whole.
var errTorn = &native.Failure{ErrCode: kv.Unavailable.ErrCode, Description: "the history did not come as a whole: ask again"}

func printLines[T any](w io.Writer, list []T) error {
	out := json.NewEncoder(w)
	for _, one := range list {
		if err := out.Encode(one); err != nil {
			return err
		}
	}
	return nil
}

// shortMax is how many characters of a value a table shows.
const shortMax = 60

// cell is a value on one line of a table.
func cell(value []byte) string {
	text := shown(value)
	if strings.ContainsAny(text, "\n\t") {
		text = fmt.Sprintf("%q", value)
	}
	return text
}

// short is the beginning of a value on one line of a table.
func short(value []byte) string {
	text := cell(value)
	if runes := []rune(text); len(runes) > shortMax {
		return string(runes[:shortMax]) + "…"
	}
	return text
}

// shownName is a name as a terminal may have it. JetStream clients write keys that are subjects and no more: with quotes, and control characters.
func shownName(name string) string { return shown([]byte(name)) }

// printable reports whether a terminal may have a text as it is: control characters could move what is on it.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(c rune) bool { return c != '\n' && c != '\t' && !unicode.IsPrint(c) })
}
