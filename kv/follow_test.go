package kv

import (
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Whose answers wait until the subscriptions have followed what became of the buckets.

// prompted is a node that a lane can prompt; what is proposed is done at once all the same.
type prompted struct{ *solo }

func (prompted) Gather()        {}
func (prompted) Prompt(bool)    {}
func (prompted) Settled(func()) {}

// directLane is a connection as a lane that takes all answers at once.
type directLane struct{ *nats.Conn }

func (l directLane) SubscribeMsgs(subject string, h func(*nats.Msg)) (*nats.Subscription, error) {
	return l.Subscribe(subject, h)
}
func (directLane) OnDelivered(func(bool)) {}
func (directLane) Direct() bool           { return true }
func (l directLane) PublishMsg(subject, _ string, _, data []byte) error {
	return l.Publish(subject, data)
}
func (directLane) Cork()   {}
func (directLane) Uncork() {}

// What has changed since the buckets were read counts more than what was read.
func TestABucketThatGoesWhileTheyAreListedIsGone(t *testing.T) {
	var b buckets
	b.forget()
	b.change(bucketChange{name: "app"})
	b.add([]bucketChange{{name: "app", is: true}, {name: "other", is: true}})
	require.False(t, b.has("app"))
	require.True(t, b.has("other"))
}

// A node that was elected subscribes to each bucket's own subject, of which there may be ten thousands. No write waits for that. Whoever
// makes a bucket does, since clients may put to its own subject once they hear that it is there.
func TestOnlyWhoMakesABucketWaitsForSubscriptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"answers queued": nil,
		"answers direct": func(o *Options) { o.Lane, o.Node = directLane{o.Conn}, prompted{o.Node.(*solo)} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			r.lead()
			r.expect(`{"bucket":"app","cluster_revision":1}`, "bucket.add.app", "")
			r.service.listenMu.Lock() // as by who subscribes to many
			unlock := sync.OnceFunc(r.service.listenMu.Unlock)
			defer unlock()
			r.service.buckets.change(bucketChange{name: "another", is: true})
			put := r.send("kv.put.app.k", "v")
			_, err := put.NextMsg(5 * time.Second)
			require.NoError(t, err)
			made := r.send("bucket.add.more", "")
			require.Eventually(t, func() bool { _, err := r.store.Bucket("more"); return err == nil }, 5*time.Second, time.Millisecond)
			r.silentSoFar(made)
			unlock()
			_, err = made.NextMsg(5 * time.Second)
			require.NoError(t, err)
			require.True(t, r.hears("more"), "heard that it is there before anybody listens to it")
		})
	}
}
