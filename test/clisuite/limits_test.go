package clisuite

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

var large = flag.Bool("limits", false, "also a hundred thousand keys, and the times that large values, histories and lists take")

// timed tells how long something takes, as often as that is asked for.
func timed(t testing.TB, what string, times int, do func()) {
	began := time.Now()
	for range times {
		do()
	}
	t.Logf("%s: %v", what, (time.Since(began) / time.Duration(times)).Round(100*time.Microsecond))
}

// Values of 1 MiB need a NATS server that carries 8 KiB more; then they are like any others.
func TestValuesOfOneMiB(t *testing.T) {
	needCLI(t)
	server := natstest.Run(t, embedded.Options{MaxPayload: 1<<20 + 8<<10, LeafPort: embedded.Random})
	startNodes(t, true, server)
	p := at(t, "", server.URL())
	p.give(t, "kv add app --history 64")
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	require.Zero(t, p.run(t, string(value), "kv", "put", "app", "k").code)
	require.Equal(t, string(value), p.run(t, "", "kv", "get", "app", "k", "--raw").out)
	require.Contains(t, p.run(t, string(value)+"x", "kv", "put", "app", "k").err, "message size exceeds maximum allowed")
	p.client(t, func(ctx context.Context, js jetstream.JetStream) {
		kv, err := js.KeyValue(ctx, "app")
		require.NoError(t, err)
		timed(t, "a put of 1 MiB", 70, func() {
			_, err := kv.Put(ctx, "k", value)
			require.NoError(t, err)
		})
		timed(t, "a get of 1 MiB", 20, func() {
			e, err := kv.Get(ctx, "k")
			require.NoError(t, err)
			require.Len(t, e.Value(), len(value))
		})
		timed(t, "a history of 64 values of 1 MiB", 3, func() {
			list, err := kv.History(ctx, "k")
			require.NoError(t, err)
			require.Len(t, list, 64)
			for _, e := range list {
				require.Equal(t, value, e.Value())
			}
		})
	})
}

func TestManyKeys(t *testing.T) {
	needCLI(t)
	if !*large {
		t.Skip("takes a minute: give -limits")
	}
	const count = 100_000
	p := dev(t)
	p.give(t, "kv add app", "kv add deep --history 64")
	began := time.Now()
	p.fill(t, "app", count, bytes.Repeat([]byte("v"), 100))
	t.Logf("%d puts of 100 B by one client: %v", count, time.Since(began).Round(time.Millisecond))
	timed(t, "`nats kv ls` of 100,000 keys", 3, func() {
		is := p.run(t, "", "kv", "ls", "app")
		require.Zero(t, is.code, is.err)
		require.Equal(t, count, strings.Count(is.out, "\n"))
		require.True(t, strings.HasPrefix(is.out, "k000000\nk000001\n"), is.out[:100])
	})
	timed(t, "`nats kv info` beside them", 3, func() { p.give(t, "kv info app") })
	timed(t, "`nats kv get` beside them", 3, func() { p.give(t, "kv get app k050000") })
	p.client(t, func(ctx context.Context, js jetstream.JetStream) {
		kv, err := js.KeyValue(ctx, "app")
		require.NoError(t, err)
		timed(t, "the keys by nats.go", 3, func() {
			keys, err := kv.Keys(ctx)
			require.NoError(t, err)
			require.Len(t, keys, count)
		})
		for i := range 70 {
			_, err := js.Publish(ctx, "$KV.deep.k", fmt.Append(nil, i))
			require.NoError(t, err)
		}
	})
	timed(t, "`nats kv history` of 64 entries", 3, func() {
		require.Equal(t, 64, strings.Count(p.run(t, "", "kv", "history", "deep", "k").out, "PUT"))
	})
}
