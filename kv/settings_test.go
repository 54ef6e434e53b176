package kv

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Markers end by themselves, so who asks for them lets entries do so; and ids may be remembered for as long as entries live.
func TestTimesThatBelongTogether(t *testing.T) {
	r := newLeader(t, nil)
	r.expect(`{"bucket":"app","cluster_revision":2}`, "bucket.update.app", `{"marker_ttl":"1s","ttl":"1h","duplicate_window":"1h"}`)
	require.Contains(t, string(r.ask("bucket.info.app", "").Data), `"ttl":"1h0m0s","allow_ttl":true,"marker_ttl":"1s","duplicate_window":"1h0m0s"`)
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":3}`, "kv.put.app.k", "v", headerTTL, "5s")
}

// Metadata is one setting: what is given takes its place, and what is not logged changes nothing that anybody reads (C1, C5, I13).
func TestMetadataIsReplacedAsAWhole(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("bucket.add.meta", `{"metadata":{"a":"1"}}`)
	told := func(want string) {
		t.Helper()
		require.Contains(t, string(r.ask("bucket.info.meta", "").Data), want)
	}
	r.expectError(BadRequest, "bucket.update.meta", `{"history":65,"metadata":{"b":"2"}}`)
	told(`"metadata":{"a":"1"},`)
	r.ask("bucket.update.meta", `{"ttl":"1h"}`)
	told(`"ttl":"1h0m0s","metadata":{"a":"1"},`)
	r.ask("bucket.update.meta", `{"metadata":{"b":"2"}}`)
	told(`"ttl":"1h0m0s","metadata":{"b":"2"},`)
	r.ask("bucket.update.meta", `{"metadata":null}`)
	told(`"ttl":"1h0m0s","created"`)
}

// What only KV clients set stays when somebody changes another setting by the native API.
func TestAChangeLeavesWhatOnlyKVClientsSet(t *testing.T) { // C5
	r := newRig(t, nil)
	r.lead()
	require.Contains(t, string(r.js(api+"STREAM.CREATE.KV_app", `{"name":"KV_app","subjects":["$KV.app.>"],"max_msgs_per_subject":5,"discard":"new","deny_delete":true,`+
		`"allow_rollup_hdrs":true,"allow_direct":true,"storage":"memory","max_msg_size":100,"republish":{"src":">","dest":"copy.>","headers_only":true}}`).Data), `"did_create":true`)
	config := func() (c map[string]any) {
		var shown struct{ Config map[string]any }
		require.NoError(t, json.Unmarshal(r.js(api+"STREAM.INFO.KV_app", "").Data, &shown))
		return shown.Config
	}
	want := config()
	require.Equal(t, "memory", want["storage"])
	require.EqualValues(t, 100, want["max_msg_size"])
	require.NotEmpty(t, want["republish"])
	r.expect(`{"bucket":"app","cluster_revision":2}`, "bucket.update.app", `{"description":"d"}`)
	want["description"] = "d"
	require.Equal(t, want, config())
}

// Of two who change a bucket at the same time one hears so: what the other has set is not set back (C5).
func TestAChangeIsNotUndoneByAnotherAtTheSameTime(t *testing.T) {
	r := newLeader(t, nil)
	r.node.set(func(n *solo) { n.hold = true })
	both := []*nats.Subscription{r.sendHeld("bucket.update.app", `{"history":5}`), r.sendHeld("bucket.update.app", `{"ttl":"1h"}`)}
	r.node.step() // both see the bucket as it is
	r.awaitHeld()
	r.awaitHeld()
	r.node.release()
	told := string(r.answered(both[0]).Data) + string(r.answered(both[1]).Data)
	require.Contains(t, told, `"err_code":30019`)
	require.Contains(t, told, `"cluster_revision":2`)
}

// Many who change a bucket's metadata, and many who look, meet at what the store holds.
func TestMetadataIsChangedByManyAtOnce(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("bucket.add.meta", `{"metadata":{"a":"1"}}`)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 50 {
				_, _ = r.request("bucket.update.meta", fmt.Sprintf(`{"metadata":{"k%d":"%d"}}`, i, n)) // others may forestall it
				_, _ = r.request("bucket.info.meta", "")
				_, _ = r.request("bucket.update.meta", fmt.Sprintf(`{"history":65,"metadata":{"k%d":"%d"}}`, i, n))
			}
		})
	}
	all.Wait()
	require.NotContains(t, string(r.ask("bucket.info.meta", "").Data), `"a":"1"`)
}
