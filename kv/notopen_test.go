package kv

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// What the cluster is not open to is refused, and no client's request opens it, however often it is made: what it says is who can. Once it
// is open it is done (F28).
func TestNoClientOpensWhatIsNew(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.expect(`{"bucket":"app","cluster_revision":1}`, "bucket.add.app", "")
	for range 2 {
		for _, subject := range []string{"bucket.update.app", "bucket.add.other"} {
			r.expectError(NotOpen, subject, `{"read_only":true}`)
			require.Contains(t, string(r.ask(subject, `{"read_only":true}`).Data), "`raftbus upgrade finish`")
		}
	}
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":2}`, "kv.put.app.k", "v")
	require.EqualValues(t, command.Base, r.store.Open())

	raise := command.Command{Raise: &command.Raise{Version: command.Version}}
	require.NoError(t, r.node.Propose(raise.Encode(), func(any, rpc.EntryID) {}))
	r.expect(`{"bucket":"app","cluster_revision":3}`, "bucket.update.app", `{"read_only":true}`)
	r.expectError(ReadOnly, "kv.put.app.k", "w")
	requireJSError(t, 10109, r.js("$KV.app.k", "w"))
	requireJSError(t, 10109, r.js(api+"STREAM.PURGE.KV_app", ""))
	stream := r.js(api+"STREAM.INFO.KV_app", "")
	var info struct{ Config json.RawMessage }
	require.NoError(t, json.Unmarshal(stream.Data, &info))
	require.NotContains(t, string(r.js(api+"STREAM.UPDATE.KV_app", string(info.Config)).Data), `"error"`)
	r.expectError(ReadOnly, "kv.put.app.k", "w") // KV clients do not know of it, and do not end it
	r.expect(`{"bucket":"other","cluster_revision":5}`, "bucket.add.other", `{"read_only":true}`)
	r.expect(`{"bucket":"app","cluster_revision":6}`, "bucket.update.app", `{"read_only":false}`)
	r.expect(`{"bucket":"app","key":"k","revision":2,"cluster_revision":7}`, "kv.put.app.k", "w")
}
