package main

import (
	"context"
	"io"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Whether a bucket is there whose making a signal broke off nobody knows (C5): it is said which to look for.
func TestASignalLeavesTheBucketOfABenchmarkInDoubt(t *testing.T) {
	conn := onBus(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := conn.Subscribe("raftbus.bucket.add.raftbus-bench", func(*nats.Msg) { cancel() })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	err = execute(t, ctx, io.Discard, "bench", "put", "--api", "native", "--timeout", "1m", "--nats", conn.ConnectedUrl())
	require.Equal(t, exitTimeout, exitCode(err), err)
	require.Contains(t, oneLine(err), "interrupted: bucket raftbus-bench may have been made: look with 'raftbus bucket info raftbus-bench'")
}
