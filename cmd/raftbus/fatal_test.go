package main

import (
	"context"
	"os"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// nodeWhoseStoreFails is a program of the scripts: a node on a disk that does not sync the list of the store's files, after which the store's engine must
// not go on (D5).
func nodeWhoseStoreFails() {
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, "MANIFEST") {
			return syscall.EIO
		}
		return nil
	}))
	logger, lines := newLogger(os.Stderr, new(logLevel))
	defer lines.Close()
	nodes, err := startAll(context.Background(), []replica.Options{{ID: "n1", Members: []string{"n1"}, Dir: os.Args[1], FS: fs, Logger: logger}})
	if err == nil {
		err = nodes.stop()
	}
	os.Exit(10 + report(os.Stderr, err)) // it was not ended
}
