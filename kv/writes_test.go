package kv

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/node"
)

// C4: a purge is done once, and who sends it again hears what it was answered, also if the purge's own entry has ended since.
func TestAPurgeSentAgainIsAnsweredAsThen(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", `{"allow_ttl":true}`)
	r.ask("kv.put.app.k", "v")
	purge := []string{headerMsgID, "id", headerTTL, "1s"}
	r.expect(`{"bucket":"app","key":"k","revision":2,"cluster_revision":3}`, "kv.purge.app.k", "", purge...)
	require.Eventually(t, func() bool { // the log's time goes on with each entry
		r.ask("kv.put.app.other", "v")
		history, err := r.request("kv.history.app.k", "")
		return err == nil && history.Header.Get(headerErrorCode) == "404"
	}, 5*time.Second, 10*time.Millisecond)
	r.expect(`{"bucket":"app","key":"k","revision":2,"cluster_revision":3,"duplicate":true}`, "kv.purge.app.k", "", purge...)
	r.expectError(KeyNotFound, "kv.purge.app.k", "", headerMsgID, "another")
	r.expectError(KeyNotFound, "kv.purge.app.k", "")
	r.expectError(NoBucket, "kv.purge.none.k", "", purge...)
}

// C4, C5: of a write that was done it is not said that it is refused, because of what has become of the leader since.
func TestAWriteSentAgainToAFullLeaderIsAnsweredAsThen(t *testing.T) {
	r := newLeader(t, nil)
	put := []string{headerMsgID, "id"}
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":2}`, "kv.put.app.k", "v", put...)
	r.node.set(func(n *solo) { n.refusal = node.ErrFull })
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":2,"duplicate":true}`, "kv.put.app.k", "v", put...)
	require.Contains(t, string(r.js("$KV.app.k", "v", put...).Data), `"seq":1,"duplicate":true`)
	r.expectError(Full, "kv.put.app.k", "v", headerMsgID, "another")
	r.expectError(Full, "kv.put.none.k", "v", put...)
	r.expectError(Full, "kv.put.app.k", "v")
	r.settled()

	r.node.set(func(n *solo) { n.hold = true })
	another := r.sendHeld("kv.put.app.k", "v", headerMsgID, "another")
	r.node.lead(false)
	r.node.lead(true)
	r.node.release()
	r.silent(another) // another led meanwhile, and may have carried out a copy (K25)
	r.node.set(func(n *solo) { n.readBusy = node.ErrNotLeader })
	r.silent(r.send("kv.put.app.k", "v", headerMsgID, "another"))
}

// C4, C5: nor because of what the bus carries now.
func TestAWriteSentAgainThatIsTooLargeNowIsAnsweredAsThen(t *testing.T) {
	r := newReturning(t, nil)
	large, put := strings.Repeat("v", 20_000), []string{headerMsgID, "id"}
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":2}`, "kv.put.app.k", large, put...)
	r.stopNATS()
	r.startNATS(func(o *server.Options) { o.MaxPayload = 24_000 })
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":2,"duplicate":true}`, "kv.put.app.k", large, put...)
	require.Contains(t, string(r.js("$KV.app.k", large, put...).Data), `"seq":1,"duplicate":true`)
	r.expectError(TooLarge, "kv.put.app.k", large, headerMsgID, "another")
	requireJSError(t, 10054, r.js("$KV.app.k", large, headerMsgID, "another"))
	r.expectError(TooLarge, "kv.put.app.k", large)
	requireJSError(t, 10054, r.js("$KV.app.k", large))

	for _, send := range []func() *nats.Subscription{
		func() *nats.Subscription { return r.sendHeld("kv.put.app.k", large) },
		func() *nats.Subscription {
			put := r.sendJS("$KV.app.k", large)
			r.awaitHeld()
			return put
		},
	} {
		r.node.set(func(n *solo) { n.hold = true })
		refused := send()
		r.node.lead(false)
		r.node.lead(true)
		r.node.release()
		r.silent(refused) // another heard that the bus carries more, maybe (K25)
	}
}

// After the last revision that a number can be there is none: the count does not begin anew.
func TestNothingComesAfterTheLastRevision(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("kv.put.app.k", "v")
	r.expect(`{"bucket":"app","key":"k","entries":[]}`, "kv.history.app.k", `{"after":18446744073709551615}`)
	r.expect(`{"bucket":"app","entries":[]}`, "bucket.import_sums.app", `{"after":18446744073709551615}`)
}
