package kv

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Q12, Q7: an account that floods hears 'busy', and one that is served beside it has all that it may have.
func TestAnAccountTakesNothingOfAnothers(t *testing.T) {
	r := newLeader(t, func(o *Options) { o.RequestsMax, o.ClientPercent = 8, 100 })
	other := r.account("team-a")
	r.node.set(func(n *solo) { n.hold = true })
	var held []*nats.Subscription
	for range 8 {
		held = append(held, other.sendHeld("kv.put.app.a", "v"))
	}
	refused := other.sendHeld("kv.put.app.a", "v")
	for range 8 {
		held = append(held, r.sendHeld("kv.put.app.a", "v"))
	}
	r.node.release()
	for _, sub := range held {
		require.Contains(t, string(r.answered(sub).Data), `"revision"`)
	}
	requireError(t, Busy, r.answered(refused))
}

// account serves an account beside the first on the rig's node: on a bus of its own, as which an account is to its clients.
func (r *rig) account(name string) *rig {
	r.Helper()
	bus := newBus(r.T)
	conn, err := nats.Connect(bus.ClientURL(), nats.SkipSubjectValidation())
	require.NoError(r, err)
	client, err := nats.Connect(bus.ClientURL())
	require.NoError(r, err)
	service, err := New(Options{
		Conn: conn, Prefix: "raftbus", NodeID: "n1", Node: r.node, Store: r.store, RoundTrip: near, Account: name, OtherAccounts: []*nats.Conn{r.service.conn}, RequestsMax: 8, ClientPercent: 100, waits: waits{lookEvery: time.Hour, probeWait: time.Minute},
	})
	require.NoError(r, err)
	r.Cleanup(func() {
		service.Close()
		client.Close()
		conn.Close()
		bus.Shutdown()
		bus.WaitForShutdown()
	})
	other := &rig{T: r.T, node: r.node, store: r.store, service: service, bus: bus, client: client}
	service.leadership(true) // the node leads already
	other.awaitListening(true)
	return other
}

// A bucket's own subject is listened to in all accounts: none is made while a JetStream of any has its stream.
func TestNoBucketTakesAStreamOfAnotherAccount(t *testing.T) {
	r := newLeader(t, nil)
	other := r.account("team-a")
	_, err := r.client.Subscribe("$JS.API.STREAM.INFO.KV_theirs", func(m *nats.Msg) { _ = m.Respond([]byte(`{"config":{"name":"KV_theirs"}}`)) })
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	other.expectError(StreamTaken, "bucket.add.theirs", "")
	require.NotContains(t, string(other.ask("bucket.add.ours", "").Data), "error")
}

// toldConfig is a bucket's that publishes again.
func toldConfig(to string) string {
	return `{"name":"KV_told","subjects":["$KV.told.>"],"max_msgs_per_subject":1,"discard":"new","republish":{"src":"$KV.told.*","dest":"` + to + `"}}`
}

// Q1: what is published again is published in the first account, so no client of another has a bucket do so, nor elsewhere than it does.
func TestAFurtherAccountHasNothingPublishedAgain(t *testing.T) {
	r := newLeader(t, nil)
	other := r.account("team-a")
	requireJSError(t, 10052, other.js(api+"STREAM.CREATE.KV_told", toldConfig("news.$1")))
	other.expectError(BadRequest, "bucket.import_begin.told", toldConfig("news.$1"))
	require.Contains(t, string(r.js(api+"STREAM.CREATE.KV_told", toldConfig("news.$1")).Data), `"did_create":true`)
	made := string(other.js(api+"STREAM.CREATE.KV_told", toldConfig("news.$1")).Data)
	require.NotContains(t, made, "error", "an application makes its bucket each time that it starts")
	require.Contains(t, made, `"dest":"news.$1"`)
	requireJSError(t, 10052, other.js(api+"STREAM.CREATE.KV_told", toldConfig("other.$1")))
	requireJSError(t, 10052, other.js(api+"STREAM.UPDATE.KV_told", toldConfig("other.$1")))
	require.NotContains(t, string(other.js(api+"STREAM.UPDATE.KV_told", toldConfig("news.$1")).Data), "error", "it stays as it is")
	require.NotContains(t, string(r.js(api+"STREAM.DELETE.KV_told", "").Data), "error")
	require.NotContains(t, string(r.ask("bucket.import_begin.told", toldConfig("news.$1")).Data), "error")
	requireJSError(t, 10008, other.js(api+"STREAM.CREATE.KV_told", toldConfig("news.$1")))
}

// What a node does once, only the service of its first account does.
func TestWhatIsDoneOnceTheFirstAccountDoes(t *testing.T) {
	r := newLeader(t, nil)
	other := r.account("team-a")
	heard := map[*rig]*nats.Subscription{}
	for _, one := range []*rig{r, other} {
		sub, err := one.client.SubscribeSync("news.>")
		require.NoError(t, err)
		require.NoError(t, one.client.Flush())
		heard[one] = sub
	}
	require.Contains(t, string(r.js(api+"STREAM.CREATE.KV_told", toldConfig("news.$1")).Data), `"did_create":true`)
	other.ask("kv.put.told.k", "v")
	m, err := heard[r].NextMsg(5 * time.Second)
	require.NoError(t, err)
	require.Equal(t, "news.k", m.Subject)
	require.Zero(t, other.service.republishing.bytes.Load(), "nothing waits")
	require.NoError(t, other.service.conn.Flush())
	require.NoError(t, other.client.Flush())
	pending, _, err := heard[other].Pending()
	require.NoError(t, err)
	require.Zero(t, pending)
}

// A bucket's own subject is listened to in all accounts as soon as it is made, whoever made it: here their keepers do not look for other reasons.
func TestABucketIsListenedToInAllAccountsAtOnce(t *testing.T) {
	r := newLeader(t, nil)
	other := r.account("team-a")
	for i := range 20 {
		bucket := fmt.Sprintf("b%d", i)
		require.NotContains(t, string(r.ask("bucket.add."+bucket, "").Data), `"error"`)
		require.Eventually(t, func() bool { return other.hears(bucket) }, 5*time.Second, time.Millisecond)
	}
}

func (r *rig) hears(bucket string) bool {
	r.service.listenMu.Lock()
	defer r.service.listenMu.Unlock()
	_, hears := r.service.bare[bucket]
	return hears
}

// What is silent where a JetStream might answer, in however many accounts, delays a bucket once.
func TestSilenceInSeveralAccountsIsWaitedForOnce(t *testing.T) {
	r := newLeader(t, nil)
	_, err := r.client.SubscribeSync("$JS.API.STREAM.INFO.>")
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	conn := r.service.conn
	r.service.probed = slices.Repeat([]*nats.Conn{conn}, 20) // nothing is probed yet
	began := time.Now()
	require.NotContains(t, string(r.ask("bucket.add.slow", "").Data), `"error"`)
	require.Less(t, time.Since(began), 10*probeWait)
}
