package main

// The manual pages, made of what --help says.

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

var manDir = flag.String("man", "", "where TestManPages leaves the manual pages; empty: nowhere")

// Each command has a page with its description, its flags and its examples. The release script takes them from here, so that the binary
// holds nothing that only makes them. The pages' date is SOURCE_DATE_EPOCH.
func TestManPages(t *testing.T) {
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	root := newRoot(os.LookupEnv)
	root.DisableAutoGenTag = true
	date := time.Now()
	header := &doc.GenManHeader{Section: "1", Source: "raftbus", Manual: "raftbus", Date: &date}
	if os.Getenv("SOURCE_DATE_EPOCH") != "" {
		header.Date = nil
	}
	require.NoError(t, doc.GenManTree(root, header, dir))
	eachCommand(root, func(c *cobra.Command) {
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		require.NoError(t, err)
		require.Contains(t, string(page), ".SH SYNOPSIS", c.CommandPath())
		c.NonInheritedFlags().VisitAll(requireFlagIn(t, string(page), c))
	})
}

func eachCommand(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			eachCommand(sub, f)
		}
	}
}

func requireFlagIn(t *testing.T, page string, c *cobra.Command) func(*pflag.Flag) {
	return func(f *pflag.Flag) {
		if !f.Hidden {
			require.Contains(t, page, "--"+f.Name, c.CommandPath())
		}
	}
}
