package main

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

// nodeWhoseStoreFails is a program of the scripts: a node on a disk that syncs nothing of the store's any more once a file of that name is made, after which
// the store's engine must not go on (D5): node-whose-store-fails FOLDER NAME
func nodeWhoseStoreFails() {
	fs := failingStore(os.Args[2])
	logger, lines := newLogger(os.Stderr, new(logLevel))
	defer lines.Close()
	nodes, err := startAll(context.Background(), []replica.Options{{ID: "n1", Members: []string{"n1"}, Dir: os.Args[1], FS: fs, Logger: logger}}, stopTime)
	if err == nil {
		err = nodes.stop()
	}
	os.Exit(10 + report(os.Stderr, err)) // it was not ended
}

// commandWhoseStoreFails is a command on such a disk: command-whose-store-fails NAME ARGS
func commandWhoseStoreFails() {
	vfs.Default = failingStore(os.Args[1])
	os.Args = append(os.Args[:1], os.Args[2:]...)
	main()
}

func failingStore(name string) vfs.FS {
	var failing atomic.Bool
	return errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.Contains(op.Path, name) {
			failing.Store(true)
		}
		if failing.Load() && op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, "state-") {
			return syscall.EIO
		}
		return nil
	}))
}
