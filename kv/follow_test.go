package kv

// Whose answers wait until the subscriptions have followed what became of the buckets.

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// prompted is a node that a lane can prompt; what is proposed is done at once all the same.
type prompted struct{ *solo }

func (prompted) Gather()                 {}
func (prompted) Prompt(bool)             {}
func (p prompted) Settled(told func())   { p.settled = told }
func (p prompted) Confirmed(told func()) { p.confirmed = told }

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
	b.add([]bucketChange{{name: "app", is: true}, {name: "other", is: true}}, 0)
	require.False(t, b.has("app"))
	require.True(t, b.has("other"))
}

// What was read of a state that another took the place of meanwhile does not count.
func TestAListOfAStateThatIsReplacedIsMadeAnew(t *testing.T) {
	var b buckets
	b.forget()
	_, of := b.wantsList()
	b.change(bucketChange{name: "changed", is: true})
	b.relist()
	b.add([]bucketChange{{name: "app", is: true}}, of)
	require.False(t, b.has("app"))
	wanted, of := b.wantsList()
	require.True(t, wanted)
	b.add([]bucketChange{{name: "other", is: true}}, of)
	require.True(t, b.has("other"))
	require.False(t, b.has("changed"))
	require.ElementsMatch(t, []string{"changed", "changed", "other"}, b.changes())
}

// A node may lead while it installs a snapshot (L8): it then listens to the buckets that there are, and to those that are gone no more.
func TestALeaderWhoseStateIsReplacedListensToItsBuckets(t *testing.T) {
	r := newRig(t, nil)
	applied := func(s *store.Store, commands ...command.Command) {
		var made []rpc.Entry
		for i, c := range commands {
			made = append(made, rpc.Entry{Index: rpc.Index(i + 1), Term: 1, Kind: rpc.EntryCommand, Time: 1, Data: c.Encode()})
		}
		_, err := s.Apply(made)
		require.NoError(t, err)
	}
	bucket := func(name string) command.Command { return command.Command{AddBucket: &command.AddBucket{Name: name}} }
	gone := command.Command{RemoveBucket: &command.RemoveBucket{Name: "old"}}
	applied(r.store, bucket("old"), bucket("kept"))
	r.lead()
	require.Eventually(t, func() bool { return r.hears("old") && r.hears("kept") }, 5*time.Second, time.Millisecond)

	ahead, err := store.Open(store.Options{Engine: memengine.New(), ManualFlush: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, ahead.Close()) }()
	applied(ahead, bucket("old"), bucket("kept"), gone, bucket("new"))
	view, err := ahead.Snapshot()
	require.NoError(t, err)
	var snapshot bytes.Buffer
	_, err = view.WriteTo(&snapshot)
	require.NoError(t, err)
	require.NoError(t, view.Close())
	require.NoError(t, r.store.Restore(&snapshot))
	require.Eventually(t, func() bool { return r.hears("new") && !r.hears("old") }, 5*time.Second, time.Millisecond)
	require.True(t, r.hears("kept"))
}

// Q12: a leader that listens to nobody, as the service of an account that is refused, or one that stops, collects nothing of what becomes of buckets.
func TestWhoListensToNobodyKeepsNoChanges(t *testing.T) {
	for name, silence := range map[string]func(*rig){
		"withheld from the first": func(r *rig) { r.service.Withhold(true); r.node.lead(true) },
		"withheld later":          func(r *rig) { r.lead(); r.service.Withhold(true); r.awaitListening(false) },
		"deposed":                 func(r *rig) { r.lead(); r.stepDown(); r.service.Withhold(true); r.node.lead(true) },
		"stops":                   func(r *rig) { r.lead(); r.service.stopListening() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			silence(r)
			for _, c := range []command.Command{
				{AddBucket: &command.AddBucket{Name: "app"}}, {RemoveBucket: &command.RemoveBucket{Name: "app"}}, {AddBucket: &command.AddBucket{Name: "app"}},
			} {
				require.NoError(t, r.node.Propose(c.Encode(), func(any, rpc.EntryID) {}))
			}
			b := &r.service.buckets
			b.putBack([]string{"app"}) // as by who was following
			b.mu.Lock()
			require.Empty(t, b.since)
			require.Empty(t, b.todo)
			b.mu.Unlock()
			r.service.Withhold(false)
			r.service.Resume()
			require.Eventually(t, func() bool { return r.hears("app") }, 5*time.Second, time.Millisecond)
		})
	}
}

// L9: a node that was elected finds all buckets, however many there are; but one that is being imported is still another's.
func TestALeaderListensToAllBucketsThatThereAre(t *testing.T) {
	t.Parallel()
	const buckets, imported = 2_001, 1_000
	r := newRig(t, nil)
	var made []rpc.Entry
	for i := range buckets {
		add := command.Command{AddBucket: &command.AddBucket{Name: fmt.Sprintf("b%04d", i), Importing: i == imported}}
		made = append(made, rpc.Entry{Index: rpc.Index(i + 1), Term: 1, Kind: rpc.EntryCommand, Time: 1, Data: add.Encode()})
	}
	_, err := r.store.Apply(made)
	require.NoError(t, err)
	r.lead()
	last := fmt.Sprintf("b%04d", buckets-1)
	require.Eventually(t, func() bool { return r.hears(last) }, 30*time.Second, time.Millisecond)
	for i := range made {
		name := fmt.Sprintf("b%04d", i)
		require.Equal(t, i != imported, r.hears(name), name)
	}
	require.NoError(t, r.service.conn.Flush())
	require.Contains(t, string(r.js("$KV."+last+".k", "v").Data), `"seq":1`)
}

// observed is a lane that tells when it is about to be subscribed to.
type observed struct {
	directLane
	subscribes func(subject string)
}

func (l observed) SubscribeMsgs(subject string, h func(*nats.Msg)) (*nats.Subscription, error) {
	l.subscribes(subject)
	return l.directLane.SubscribeMsgs(subject, h)
}

// A put to a bucket that is not known waits for a look, and the next one, once it is known, does not: so a leader knows all buckets before anybody is
// heard, or what a client sends just after an election, without waiting, would be done in another order (C1).
func TestALeaderKnowsAllBucketsBeforeItHearsAnybody(t *testing.T) {
	lane, knew := observed{}, make(chan bool, 100)
	r := newRig(t, func(o *Options) {
		lane.directLane, o.Node = directLane{o.Conn}, prompted{o.Node.(*solo)}
		lane.subscribes = func(string) { knew <- false }
		o.Lane = &lane
	})
	add := command.Command{AddBucket: &command.AddBucket{Name: "app"}}
	_, err := r.store.Apply([]rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Time: 1, Data: add.Encode()}})
	require.NoError(t, err)
	lane.subscribes = func(string) { knew <- r.service.buckets.has("app") }
	for range 2 {
		r.lead()
		require.NotEmpty(t, knew)
		for len(knew) > 0 {
			require.True(t, <-knew)
		}
		r.stepDown()
	}
}

// A purge of a KV client, a roll-up, is logged as it comes: if it waited for a look, a put that the client sends after it, without waiting, would be done before
// it, and be gone (C1). Only a bucket that takes none is looked at, and a leader knows which do, whether it lists them or they are made meanwhile.
func TestARollUpDoesNotWaitForALook(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	config := func(bucket, more string) string {
		return `{"name":"KV_` + bucket + `","subjects":["$KV.` + bucket + `.>"],"max_msgs_per_subject":1,"discard":"new","allow_rollup_hdrs":` + more + `}`
	}
	r.js(api+"STREAM.CREATE.KV_app", config("app", "true"))
	r.js(api+"STREAM.CREATE.KV_kept", config("kept", "false"))
	for range 2 {
		require.Eventually(t, func() bool { return r.service.buckets.has("app") && r.service.buckets.has("kept") }, 10*time.Second, time.Millisecond)
		r.node.set(func(n *solo) { n.readBusy = node.ErrBusy })
		require.Contains(t, string(r.js("$KV.app.k", "", "Nats-Rollup", "sub").Data), `"seq":`)
		r.node.set(func(n *solo) { n.readBusy = nil })
		requireJSError(t, 10111, r.js("$KV.kept.k", "", "Nats-Rollup", "sub"))
		r.stepDown()
		r.lead()
	}
}

// stepped is a lane on which to subscribe to a bucket's own subject takes until the test says so.
type stepped struct {
	directLane
	begun chan string
	goOn  chan struct{}
}

func (l stepped) SubscribeMsgs(subject string, h func(*nats.Msg)) (*nats.Subscription, error) {
	if strings.HasPrefix(subject, "$KV.") {
		l.begun <- subject
		<-l.goOn
	}
	return l.directLane.SubscribeMsgs(subject, h)
}

// newStepped is a leader of some buckets, which is at the first of their own subjects.
func newStepped(t *testing.T, buckets int, change func(*Options)) (*rig, stepped) {
	lane := stepped{begun: make(chan string, buckets), goOn: make(chan struct{})}
	r := newRig(t, func(o *Options) {
		lane.directLane, o.Node = directLane{o.Conn}, prompted{o.Node.(*solo)}
		o.Lane, o.lookEvery = lane, time.Millisecond
		change(o)
	})
	var made []rpc.Entry
	for i := range buckets {
		add := command.Command{AddBucket: &command.AddBucket{Name: fmt.Sprint("b", i)}}
		made = append(made, rpc.Entry{Index: rpc.Index(i + 1), Term: 1, Kind: rpc.EntryCommand, Time: 1, Data: add.Encode()})
	}
	_, err := r.store.Apply(made)
	require.NoError(t, err)
	r.node.lead(true)
	<-lane.begun
	require.NoError(t, r.service.conn.Flush())
	return r, lane
}

// Who is deposed while it begins to listen to many buckets stops with that: it would swallow what clients put, which another is asked (L2).
func TestWhoIsDeposedListensToNoMoreBuckets(t *testing.T) {
	r, lane := newStepped(t, 20, func(o *Options) { o.followFor = time.Hour })
	defer close(lane.goOn)
	r.node.lead(false)
	lane.goOn <- struct{}{}
	r.awaitListening(false)
	require.Empty(t, lane.begun)
}

// L9: what is overdue is answered while a leader begins to listen to many buckets, and all are heard in the end.
func TestOverdueRequestsAreAnsweredWhileBucketsAreFollowed(t *testing.T) {
	const buckets = 20
	r, lane := newStepped(t, buckets, func(o *Options) { o.Timeout = time.Millisecond })
	goOn := sync.OnceFunc(func() { close(lane.goOn) })
	defer goOn()
	r.node.set(func(n *solo) { n.hold = true })
	put := r.sendHeld("kv.put.b0.k", "v")
	<-time.After(100 * time.Millisecond) // then it is overdue, and has been followed for long enough at a time
	lane.goOn <- struct{}{}
	_, err := put.NextMsg(5 * time.Second)
	require.NoError(t, err, "it waits for all of them")
	goOn()
	for i := range buckets {
		require.Eventually(t, func() bool { return r.hears(fmt.Sprint("b", i)) }, 5*time.Second, time.Millisecond)
	}
	r.node.release()
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

// F12: a canary is where nobody asks, else each node would take what clients ask of the leader.
func TestNobodyAsksACanary(t *testing.T) {
	r := newRig(t, nil)
	canaries, doors := r.service.Canaries(), r.service.doors()
	require.Len(t, canaries, len(doors))
	for i, canary := range canaries {
		require.Equal(t, strings.TrimSuffix(doors[i].subject, ">"), strings.TrimSuffix(canary, "_"))
		require.NotContains(t, canary, ">")
	}
}

// Who hears that a bucket is gone finds no responders, though the keeper has unsubscribed before and NATS may not know it yet.
func TestNATSKnowsOfABucketThatIsGoneBeforeItsClientDoes(t *testing.T) {
	r := newLeader(t, nil)
	require.NotContains(t, string(r.ask("bucket.add.left", "").Data), `"error"`)
	for name, leave := range map[string]func(){
		"the keeper":         func() { r.service.buckets.change(bucketChange{name: "left"}); r.service.follow() },
		"who stops":          r.service.stopListening,
		"who leads no more":  r.stepDown, // the keeper of one that leads would listen again
		"nobody, until then": func() { r.service.buckets.change(bucketChange{name: "left"}) },
	} {
		told := r.service.toldLeft.Load()
		leave()
		r.service.followed("left")
		require.Greater(t, r.service.toldLeft.Load(), told, name)
		require.True(t, r.knowsWhatIsLeft(), name)
		require.False(t, r.hears("left"), name)
		r.service.buckets.change(bucketChange{name: "left", is: true})
		r.node.lead(true)
		r.service.Resume()
		require.Eventually(t, func() bool { return r.hears("left") }, 5*time.Second, time.Millisecond, name)
		r.awaitListening(true) // NATS too knows of it
	}
	r.service.buckets.change(bucketChange{name: "left"})
	r.service.followOne("left") // or the keeper has by now
	require.False(t, r.knowsWhatIsLeft())
	require.NotContains(t, string(r.ask("bucket.rm.left", "").Data), `"error"`)
	require.True(t, r.knowsWhatIsLeft())
}

func (r *rig) knowsWhatIsLeft() bool {
	r.service.listenMu.Lock()
	defer r.service.listenMu.Unlock()
	return r.service.left == r.service.toldLeft.Load()
}

// Who only asks for a bucket that another has just made, or removed, finds at its own subject what they were told.
func TestNATSKnowsOfABucketBeforeWhoAsksForIt(t *testing.T) {
	r := newLeader(t, nil)
	require.NotContains(t, string(r.ask("bucket.add.asked", "").Data), `"error"`)
	for _, request := range []string{"", `{"subjects_filter":">"}`} {
		r.service.buckets.change(bucketChange{name: "asked"}) // and the keeper has not come to it
		require.NotContains(t, string(r.js("$JS.raftbus.API.STREAM.INFO.KV_asked", request).Data), `"error"`)
		require.False(t, r.hears("asked"))
		require.True(t, r.knowsWhatIsLeft())
		r.service.buckets.change(bucketChange{name: "asked", is: true})
		require.NotContains(t, string(r.js("$JS.raftbus.API.STREAM.INFO.KV_asked", request).Data), `"error"`)
		require.True(t, r.hears("asked"))
	}
}
