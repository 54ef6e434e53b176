// Command raftbus runs and watches a raftbus cluster. This package reads flags and environment, wires the rooms
// together, prints, and turns outcomes into exit codes. It decides nothing about data or consensus.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run executes the command line. The first SIGINT or SIGTERM asks for a clean end; a second one kills, because from
// then on signals do what they always did.
func run() int {
	root := newRoot(os.LookupEnv)
	beginCalm(root, os.Args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	cmd, err := root.ExecuteContextC(ctx)
	if path := cmd.CommandPath(); path == "raftbus node" || path == "raftbus dev" {
		return reportInTime(os.Stderr, err)
	}
	return report(os.Stderr, err)
}
