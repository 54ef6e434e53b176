package kv

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/node"
)

// await waits until the figures are so: an answer is counted when it has left.
func (r *rig) await(so func(Figures) bool) {
	r.Helper()
	require.Eventually(r, func() bool { return so(r.service.Figures()) }, 5*time.Second, time.Millisecond, "%+v", r.service.Figures())
}

// Each request is counted once, by the way that it came, as what it was and what it was told.
func TestFiguresCountWhatWasAnswered(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", "")
	r.ask("kv.put.app.color", "blue")
	r.ask("kv.get.app.color", "")
	r.expectError(KeyExists, "kv.create.app.color", "red")
	r.expectError(KeyNotFound, "kv.get.app.none", "")
	r.expectError(BadKey, "kv.get.app.a!", "")
	_, err := r.client.Request("$JS.raftbus.API.STREAM.INFO.KV_app", nil, 5*time.Second)
	require.NoError(t, err)
	require.NoError(t, r.client.PublishMsg(&nats.Msg{Subject: "raftbus.kv.put.app.silent", Data: []byte("nobody waits")}))
	r.await(func(f Figures) bool {
		kv, bucket, js := f.Doors[0], f.Doors[1], f.Doors[2]
		return kv.Door == "kv" && kv.Writes.Count() == 3 && kv.Reads.Count() == 2 && kv.Writes.Sum > 0 &&
			bucket.Writes.Count() == 1 && bucket.Reads.Count() == 0 && js.Reads.Count() == 1 && f.InFlight == 0 && f.Bytes == 0
	})
	f := r.service.Figures()
	require.Equal(t, map[ErrorKind]uint64{KeyExists: 1, KeyNotFound: 1, BadKey: 1}, f.Doors[0].Errors, "what is no request takes no time, but is an error")
	require.Zero(t, f.Unanswered)
}

// What waits shows while it waits; what is told 'busy', and what is given up in silence, is counted as that.
func TestFiguresOfWhatIsNotDone(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", "")
	r.node.set(func(n *solo) { n.hold = true })
	require.NoError(t, r.client.PublishRequest("raftbus.kv.put.app.color", "nobody", []byte("blue")))
	<-r.node.heldMax
	r.await(func(f Figures) bool { return f.InFlight == 1 && f.Bytes > 0 })
	r.node.release()
	r.await(func(f Figures) bool { return f.InFlight == 0 })
	r.node.set(func(n *solo) { n.refusal = node.ErrBusy })
	r.expectError(Busy, "kv.put.app.color", "red")
	r.node.set(func(n *solo) { n.refusal = node.ErrNotLeader })
	require.NoError(t, r.client.PublishRequest("raftbus.kv.put.app.color", "nobody", []byte("red")))
	r.await(func(f Figures) bool { return f.Unanswered == 1 })
	require.Equal(t, map[ErrorKind]uint64{Busy: 1}, r.service.Figures().Doors[0].Errors)
}

// Who hears 'busy' in JetStream's terms has heard 'busy', and several services' figures are one sum.
func TestFiguresCountTheBusyOfJetStream(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	r.node.set(func(n *solo) { n.refusal = node.ErrBusy })
	requireJSError(t, 10008, r.js("$KV.app.color", "red"))
	f := r.service.Figures()
	require.Equal(t, map[ErrorKind]uint64{Busy: 1}, f.Doors[2].Errors)
	require.Equal(t, "jetstream", f.Doors[2].Door)
	f.Unanswered, f.Unrepublished = 3, 5
	both := f.And(f)
	requests, busy := f.Told()
	allRequests, allBusy := both.Told()
	require.Equal(t, []uint64{2 * requests, 2, 6, 10}, []uint64{allRequests, allBusy, both.Unanswered, both.Unrepublished})
	require.EqualValues(t, 1, busy)
	require.Equal(t, map[ErrorKind]uint64{Busy: 1}, f.Doors[2].Errors, "it is not changed")
}
