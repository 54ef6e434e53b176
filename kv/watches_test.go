package kv

// What a native watch is in the log: who serves it is told there.

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// crowded are hosts that have as many consumers as may be.
type crowded struct {
	nobody
	err error
}

func (c crowded) Choose(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "", 0, c.err }

func TestOneWatchTooManyIsToldSo(t *testing.T) {
	for _, err := range []error{watch.ErrTooMany, watch.ErrTooLarge} {
		r := newLeader(t, func(o *Options) { o.Hosts = crowded{err: err} })
		r.expectError(TooManyWatches, "kv.watch.app", `{"deliver":"x"}`)
	}
}

// logged is a node that keeps what was proposed last.
type logged struct {
	*solo
	last []byte
}

func (n *logged) Propose(data []byte, done func(any, rpc.EntryID)) error {
	n.last = data
	return n.solo.Propose(data, done)
}

// A name that is taken, by chance, is another watch's: that is not changed.
func TestAWatchTakesNobodysPlace(t *testing.T) {
	var n *logged
	r := newLeader(t, func(o *Options) {
		n = &logged{solo: o.Node.(*solo)}
		o.Node, o.Hosts = n, make(asked, 1)
	})
	r.watched(`{"deliver":"x"}`)
	c, err := command.Decode(n.last)
	require.NoError(t, err)
	require.Equal(t, command.AddOnly, c.AddConsumer.Mode)
	require.Len(t, c.AddConsumer.Name, 26, "of 5 bits each: whoever guesses it may end the watch")
}

// watched asks for a watch, and returns its record. Its host would answer.
func (r *rig) watched(body string) store.Consumer {
	r.Helper()
	sub := r.send("kv.watch.app", body)
	r.handled()
	r.silent(sub)
	names, err := r.store.ConsumerNames("app", "", 10)
	require.NoError(r, err)
	require.Len(r, names.Names, 1)
	c, err := r.store.Consumer("app", names.Names[0])
	require.NoError(r, err)
	require.Equal(r, sub.Subject, c.Answer)
	return c
}

// What is asked for is what its host serves.
func TestAWatchIsLoggedAsAskedFor(t *testing.T) {
	for body, want := range map[string]delivery.Native{
		`{"deliver":"x"}`: {Policy: watch.DeliverLastPerSubject, Heartbeat: 5 * time.Second},
		`{"deliver":"x","first":"newest","heartbeat":"1m"}`:                                     {Policy: watch.DeliverLastPerSubject, Heartbeat: time.Minute},
		`{"deliver":"x","first":"history","flow_control":true}`:                                 {Policy: watch.DeliverAll, FlowControl: true, Heartbeat: 5 * time.Second},
		`{"deliver":"x","first":"nothing","no_values":true,"keys":["a.*"],"heartbeat":"100ms"}`: {Policy: watch.DeliverNew, NoValues: true, Keys: []string{"a.*"}, Heartbeat: 100 * time.Millisecond},
		`{"deliver":"x","from":7}`:                                                              {Policy: watch.DeliverByStartSequence, From: 7, Heartbeat: 5 * time.Second},
	} {
		r := newLeader(t, func(o *Options) { o.Hosts = make(asked, 1) })
		config, err := want.Config()
		require.NoError(t, err)
		require.Equal(t, string(config), string(r.watched(body).Config), body)
	}
}

// Nodes keep what a watch asks for as the log has it, where a character may take six: that is bounded, and not the request alone.
func TestAWatchThatIsLargeAsItIsKeptIsRefused(t *testing.T) { // Q12
	r := newLeader(t, func(o *Options) { o.Hosts = make(asked, 1) })
	of := func(key string, n int) string { return `{"deliver":"x","keys":["` + strings.Repeat(key, n) + `"]}` }
	r.expectError(BadRequest, "kv.watch.app", of("<", 32<<10))
	r.watched(of("a", 63<<10))
}

// Q7: a watch is of its account: a client of another that learns its name cannot end it.
func TestAWatchIsEndedInItsAccount(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Hosts = make(asked, 1) })
	r.lead()
	r.ask("bucket.add.app", "")
	other := r.account("team-a")
	other.service.hosts = r.service.hosts // nothing is asked yet
	for one, another := range map[*rig]*rig{r: other, other: r} {
		recorded := one.watched(`{"deliver":"x"}`).Name
		name, account := watch.Parted(recorded)
		require.Equal(t, one.service.protocol.Account, account)
		unwatch, err := json.Marshal(unwatchRequest{name})
		require.NoError(t, err)
		another.expectError(NoWatch, "kv.unwatch.app", string(unwatch))
		another.expectError(NoWatch, "kv.unwatch.app", `{"watch":"`+recorded+`"}`) // nor by a name that says whose it is
		one.expect(`{"bucket":"app","watch":"`+name+`"}`, "kv.unwatch.app", string(unwatch))
		one.expectError(NoWatch, "kv.unwatch.app", string(unwatch))
	}
}
