package main

// The bucket commands.

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

const bucketHelp = `Make, list, change and remove buckets. A bucket is a named map of keys, with settings of its own.`

const bucketExamples = `  raftbus bucket add app
  raftbus bucket add sessions --ttl 1h --history 5 --max-bytes 1GiB --description "who is logged in"
  raftbus bucket update sessions --ttl 2h       # what is not given stays
  raftbus bucket update sessions --read-only    # and --read-only=false to have it take writes again
  raftbus bucket info sessions --json
  raftbus bucket rm sessions --force`

func newBucket(lookup lookupEnv) *cobra.Command {
	cmd := group("bucket", "Make, list, change and remove buckets", bucketHelp, bucketExamples)
	cmd.AddCommand(bucketSet(lookup, "add", "Make a bucket", "Make a bucket. The exit code is 4 if there is one of that name, whatever its settings."),
		bucketSet(lookup, "update", "Change settings of a bucket", "Change the settings that are given, and leave the others."),
		bucketList(lookup), bucketInfo(lookup), bucketRemove(lookup))
	return cmd
}

// settingsFlags are the flags of a bucket's settings; what they are called in a request is the same with _.
func settingsFlags(flags *pflag.FlagSet) {
	flags.Uint64("history", 1, "`NUMBER` of entries kept for each key, 1 to 64")
	flags.Duration("ttl", 0, "`DURATION` after which values end; 0s: never")
	flags.Bool("allow-ttl", false, "let single writes have a --ttl of their own")
	flags.Duration("marker-ttl", 0, "`DURATION` that marks of ended values are kept; above 0s it implies --allow-ttl")
	flags.Duration("duplicate-window", 0, "`DURATION` for which message ids are remembered; 0s: 2m, or the ttl if that is less")
	flags.Var(new(byteSize), "max-value-size", "`BYTES` a value may have, such as 64KiB; 0: what the bus takes")
	flags.Var(new(byteSize), "max-bytes", "`BYTES` the bucket may have in all, such as 1GiB; 0: no limit")
	flags.Bool("read-only", false, "let nobody write until it is set to false; refused on a cluster of an older release until 'raftbus upgrade finish'")
	flags.String("description", "", "`TEXT` for people")
	flags.StringToString("metadata", nil, "`KEY=VALUE` pairs for programs")
}

// settingsOf are the settings that were given, as a request has them.
func settingsOf(flags *pflag.FlagSet) map[string]any {
	given := map[string]any{}
	flags.Visit(func(flag *pflag.Flag) {
		name := strings.ReplaceAll(flag.Name, "-", "_")
		switch flag.Name {
		case "history":
			given[name], _ = flags.GetUint64(flag.Name) // the flag is of that type
		case "ttl", "marker-ttl", "duplicate-window":
			d, _ := flags.GetDuration(flag.Name)
			given[name] = d.String()
		case "allow-ttl", "read-only":
			given[name], _ = flags.GetBool(flag.Name)
		case "max-value-size", "max-bytes":
			given[name] = uint64(*flag.Value.(*byteSize))
		case "description":
			given[name] = flag.Value.String()
		case "metadata":
			given[name], _ = flags.GetStringToString(flag.Name)
		}
	})
	return given
}

func bucketSet(lookup lookupEnv, op, short, long string) *cobra.Command {
	cmd := &cobra.Command{Use: op + " BUCKET", Short: short, Long: long, Args: takes(1, 1)}
	settings := op == "update"
	if settings {
		cmd.Aliases, cmd.ValidArgsFunction = []string{"edit"}, completeBuckets(lookup)
	}
	settingsFlags(cmd.Flags())
	if settings {
		cmd.Flags().Lookup("history").DefValue = "0" // what is not given stays: the help shows no default
	}
	asJSON := cmd.Flags().Bool("json", false, `print {"bucket":"app","cluster_revision":1}`)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if settings && len(settingsOf(cmd.Flags())) == 0 {
			return usagef("no setting is given: see '%s --help'", cmd.CommandPath())
		}
		return nil
	}
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, args []string) error {
		done, err := c.Bucket(cmd.Context(), op, args[0], settingsOf(cmd.Flags()))
		if err != nil {
			return err
		}
		return sayBucket(cmd.OutOrStdout(), done, *asJSON, map[string]string{"add": "made", "update": "changed"}[op])
	})
}

func sayBucket(w io.Writer, done native.Written, asJSON bool, what string) error {
	if asJSON {
		return json.NewEncoder(w).Encode(done)
	}
	_, err := fmt.Fprintf(w, "bucket %s is %s\n", done.Bucket, what)
	return err
}

func bucketList(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List the buckets", Long: "Print the names of the buckets, in order, one on a line.", Aliases: []string{"list"}, Args: noArgs}
	names := namesFlags(cmd)
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, _ []string) error { return names.print(cmd, c, "") })
}

func bucketInfo(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use: "info BUCKET", Short: "Show a bucket's settings and size", Long: "Show what a bucket is: its settings, how many keys and values it has, and how many bytes.",
		Aliases: []string{"show"}, Args: takes(1, 1), ValidArgsFunction: completeBuckets(lookup),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON, with exact numbers")
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, args []string) error {
		info, err := c.Info(cmd.Context(), args[0])
		switch {
		case err != nil:
			return err
		case *asJSON:
			return json.NewEncoder(cmd.OutOrStdout()).Encode(info)
		}
		return printInfo(cmd.OutOrStdout(), &info)
	})
}

func printInfo(w io.Writer, i *native.Info) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value any, given bool) {
		if given {
			fmt.Fprintf(table, "%s\t%v\n", name, value)
		}
	}
	row("bucket", i.Bucket, true)
	row("description", short([]byte(i.Description)), i.Description != "")
	row("keys", i.Keys, true)
	row("values", i.Values, true)
	row("bytes", byteSize(i.Bytes), true)
	row("revision", i.Revision, true)
	row("created", i.Created, true)
	row("history", i.History, true)
	row("ttl", i.TTL, i.TTL != "")
	row("allow ttl", i.AllowTTL, i.AllowTTL)
	row("marker ttl", i.MarkerTTL, i.MarkerTTL != "")
	row("duplicate window", i.Window().Round(time.Millisecond), true)
	row("max value size", byteSize(i.MaxValueSize), i.MaxValueSize > 0)
	row("max bytes", byteSize(i.MaxBytes), i.MaxBytes > 0)
	row("metadata", cell(fmt.Append(nil, i.Metadata)), len(i.Metadata) > 0)
	row("read only", i.ReadOnly, i.ReadOnly)
	row("being imported", "read only until 'raftbus import' has ended", i.Importing)
	return table.Flush()
}

func bucketRemove(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm BUCKET", Short: "Remove a bucket with all that is in it", Aliases: []string{"del", "delete", "remove"}, Args: takes(1, 1), ValidArgsFunction: completeBuckets(lookup),
		Long: "Remove a bucket, with all keys and their history, for good. On a terminal it asks first; elsewhere it needs --force.",
	}
	force := cmd.Flags().BoolP("force", "f", false, "without asking")
	asJSON := cmd.Flags().Bool("json", false, `print {"bucket":"app","cluster_revision":1}`)
	return asked(cmd, lookup, func(cmd *cobra.Command, c *native.Client, args []string) error {
		info, err := c.Info(cmd.Context(), args[0]) // so that a wrong name is said before the question
		if err != nil {
			return err
		}
		if !*force && !confirmed(cmd, fmt.Sprintf("Remove bucket %s with its %d keys?", args[0], info.Keys)) {
			return failf(exitRefused, "bucket %s is not removed: confirm it on a terminal, or give --force", args[0])
		}
		done, err := c.Bucket(cmd.Context(), "rm", args[0], nil)
		if err != nil {
			return err
		}
		return sayBucket(cmd.OutOrStdout(), done, *asJSON, "removed")
	})
}
