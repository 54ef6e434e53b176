package kv

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhoAsksForATrace(t *testing.T) {
	const ids = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
	for parent, want := range map[string]bool{
		ids + "01": true, ids + "03": true, ids + "ff": true, ids + "01-later": true,
		ids + "00": false, ids + "02": false, ids + "0": false, ids: false, "": false, "01": false, "nonsense": false, ids[:52] + "x01": false,
	} {
		require.Equal(t, want, sampled(parent), parent)
	}
}

// A traced request tells when it came how far, in order; by the way that it came, and also when it is refused by the state.
func TestTraceOfARequest(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traces := make(chan Trace, 10)
	r := newRig(t, func(o *Options) { o.Trace = func(t Trace) { traces <- t } })
	r.lead()
	r.ask("bucket.add.app", "")
	r.ask("kv.put.app.color", "blue", headerTraceParent, parent)
	put := <-traces
	require.Equal(t, []any{parent, "kv", "put"}, []any{put.Parent, put.Door, put.Operation})
	require.Equal(t, r.store.Applied().Index, put.Entry)
	require.False(t, put.Proposed.Before(put.Arrived))
	require.False(t, put.Applied.Before(put.Proposed))
	require.False(t, put.Answered.Before(put.Applied))
	require.Zero(t, put.Confirmed)
	r.expectError(KeyNotFound, "kv.get.app.none", "", headerTraceParent, parent)
	get := <-traces
	require.Equal(t, "get", get.Operation)
	r.js("$KV.app.color", "blue", headerTraceParent, parent)
	put = <-traces
	require.Equal(t, []string{"jetstream", "write"}, []string{put.Door, put.Operation})
	r.js(api+"STREAM.INFO.KV_app", "", headerTraceParent, parent)
	require.Equal(t, "read", (<-traces).Operation)
	require.Zero(t, get.Proposed)
	require.False(t, get.Confirmed.Before(get.Arrived))
	require.False(t, get.Answered.Before(get.Confirmed))
	r.ask("kv.get.app.color", "")
	r.ask("kv.get.app.color", "", headerTraceParent, parent[:len(parent)-2]+"00")
	r.await(func(f Figures) bool { return f.Doors[0].Reads.Count() == 3 })
	require.Empty(t, traces)
}
