package busclient

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// One call at a time: the latency of the path there and back, by the lane and by NATS's client, which TLS users have.
func BenchmarkHeartbeatSequential(b *testing.B) {
	b.Run("lane", func(b *testing.B) { heartbeats(b, func(*peerOptions) {}) })
	b.Run("client", func(b *testing.B) { heartbeats(b, func(o *peerOptions) { o.shutLane = true }) })
}

func heartbeats(b *testing.B, change func(*peerOptions)) {
	n1, n2 := pair(b, startNATS(b).URL(), change)
	n2.echo()
	c := n1.to("n2")
	done := make(chan error, 1)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, c.Heartbeat(1, &rpc.HeartbeatCommand{}, func(r rpc.Reply[*rpc.HeartbeatReturn]) { done <- r.Err }))
		require.NoError(b, <-done)
	}
}

// Many calls in flight: the throughput of one link. An op is one AppendLog with its return.
func BenchmarkAppendLogPipelined(b *testing.B) {
	for _, size := range []int{256, 16 << 10} {
		for _, window := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("bytes=%d/window=%d", size, window), func(b *testing.B) { pipeline(b, size, window, func(*peerOptions) {}) })
			b.Run(fmt.Sprintf("client/bytes=%d/window=%d", size, window), func(b *testing.B) {
				pipeline(b, size, window, func(o *peerOptions) { o.shutLane = true })
			})
		}
	}
}

func pipeline(b *testing.B, size, window int, change func(*peerOptions)) {
	n1, n2 := pair(b, startNATS(b).URL(), change)
	n2.echo()
	c := n1.to("n2")
	cmd := &rpc.AppendLogCommand{Prev: rpc.EntryID{Term: 1, Index: 1}}
	cmd.Entries = []rpc.Entry{{Index: 2, Term: 1, Kind: rpc.EntryCommand, Data: make([]byte, size)}}
	free := make(chan error, window)
	for range window {
		free <- nil
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, <-free)
		require.NoError(b, c.AppendLog(1, cmd, func(r rpc.Reply[*rpc.AppendLogReturn]) { free <- r.Err }))
	}
	for range window {
		require.NoError(b, <-free)
	}
}
