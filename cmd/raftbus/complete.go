package main

// Live names for the shell's completion. It asks the cluster, for a short time, and says nothing when that fails: the line being typed
// is no place for errors.

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/cluster"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

const (
	// completeTime bounds how long whoever pressed the key waits.
	completeTime = time.Second
	// completeMax is how many names are offered.
	completeMax = 200
)

type completion = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

// completeBuckets offers buckets as the first argument, and nothing after it.
func completeBuckets(lookup lookupEnv) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return liveNames(cmd, lookup, "", begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeKeys offers buckets as the first argument, and keys of that bucket after it; a value is anything.
func completeKeys(lookup lookupEnv) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return liveNames(cmd, lookup, "", begun), cobra.ShellCompDirectiveNoFileComp
		case len(args) == 1 || cmd.Name() == "watch":
			return liveNames(cmd, lookup, args[0], begun), cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// liveNames asks for names of a bucket's keys, or of buckets.
func liveNames(cmd *cobra.Command, lookup lookupEnv, bucket, begun string) (names []string) {
	askForCompletion(cmd, lookup, func(ctx context.Context, c *native.Client) {
		names, _, _ = c.Names(ctx, native.Page{Bucket: bucket, Prefix: begun, Limit: completeMax})
	})
	return names
}

// askForCompletion connects as the command would that is being typed. Cobra has read its flags and nothing else.
func askForCompletion(cmd *cobra.Command, lookup lookupEnv, ask func(ctx context.Context, c *native.Client)) {
	if fill(cmd, lookup) != nil {
		return
	}
	prefix := cmd.Flags().Lookup("prefix").Value.String()
	target, err := natsopt.Of(cmd.Flags()).Resolve(lookup)
	if err != nil || checkPrefix(prefix) != nil {
		return
	}
	target.Timeout = completeTime / 2
	conn, err := connect(target, "completion")
	if err != nil {
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completeTime/2)
	defer cancel()
	ask(ctx, native.New(conn, prefix, completeTime/2))
}

// completeNodes offers the nodes of the cluster that are not named yet.
func completeNodes(lookup lookupEnv) completion {
	return func(cmd *cobra.Command, args []string, begun string) (ids []string, _ cobra.ShellCompDirective) {
		askForCompletion(cmd, lookup, func(ctx context.Context, c *native.Client) {
			found, err := cluster.Ask(ctx, c.Conn(), cmd.Flags().Lookup("prefix").Value.String())
			if err != nil {
				return
			}
			for _, n := range found.Nodes {
				if strings.HasPrefix(n.ID, begun) {
					ids = append(ids, n.ID)
				}
			}
		})
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
