package delivery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestAConsumerIsServed(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.put("app", "a", "one")
	r.line.listen("deliver.c")
	r.solo.consumer("app", "c")
	require.Contains(t, r.line.await(t, "answer.c", 1)[0], `"num_pending":1`)
	r.solo.put("app", "a", "two")
	require.Equal(t, []string{"1 one", "2 two"}, r.line.await(t, "deliver.c", 2))
	require.Equal(t, 1, r.Status().Consumers)
	require.Equal(t, 1, r.line.watched())
	r.solo.do(command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: "app", Name: "c"}})
	require.Eventually(t, func() bool { return r.Status().Consumers == 0 }, patience, time.Millisecond)
	require.Zero(t, r.line.watched(), "whether somebody listens there is no longer of interest")
	r.Close()
	require.True(t, r.line.ended)
}

func TestOnlyOwnConsumersAreServed(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	for _, other := range []command.AddConsumer{{Host: "n2", Boot: 7}, {Host: "n1", Boot: 6}} {
		other.Bucket, other.Name, other.Config, other.Deliver = "app", fmt.Sprint("other", other.Boot), []byte(`{}`), "deliver.other"
		r.solo.do(command.Command{AddConsumer: &other})
	}
	r.solo.consumer("app", "mine")
	r.line.await(t, "answer.mine", 1)
	require.Eventually(t, func() bool { return r.Status().Consumers == 1 }, patience, time.Millisecond) // it is counted after it was answered
}

func TestWhatWasForgottenIsTakenFromTheStore(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.consumer("app", "c")
	r.line.listen("deliver.c")
	r.line.await(t, "answer.c", 1)
	r.inbox.again(taken{})
	for i := range 20 {
		r.solo.put("app", "a", fmt.Sprint(i))
		if i%5 == 0 {
			r.inbox.again(taken{}) // what was applied before is forgotten
		}
	}
	list := r.line.await(t, "deliver.c", 20)
	for i, text := range list {
		require.Equal(t, fmt.Sprintf("%d %d", i+1, i), text)
	}
	require.Len(t, r.line.got("answer.c"), 1)
}

func TestASnapshotInPlaceOfTheStateLosesNothing(t *testing.T) {
	r := newRig(t)
	other := newSolo(t)
	for _, n := range []*solo{r.solo, other} {
		n.bucket("app")
		n.consumer("app", "c")
	}
	r.line.listen("deliver.c")
	r.solo.put("app", "a", "1")
	r.line.await(t, "deliver.c", 1)
	for i := range 5 {
		other.put("app", "a", fmt.Sprint(i+1))
	}
	snapshot, err := other.store.Snapshot()
	require.NoError(t, err)
	var bytes strings.Builder
	_, err = snapshot.WriteTo(&bytes)
	require.NoError(t, err)
	require.NoError(t, snapshot.Close())
	require.NoError(t, r.solo.store.Restore(strings.NewReader(bytes.String())))
	r.solo.put("app", "a", "6")
	require.Equal(t, []string{"1 1", "2 2", "3 3", "4 4", "5 5", "6 6"}, r.line.await(t, "deliver.c", 6))
}

// What a watcher gets has the headers that a get has: of the native API's deletes their operation, of a marker of expiry none (its reason says it).
func TestDeliveriesHaveTheHeadersThatGetsHave(t *testing.T) {
	const marker = "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1s\r\nNats-Rollup: sub\r\n\r\n"
	for _, c := range []struct {
		op           command.Op
		header, want string
	}{
		{command.Put, "", ""},
		{command.Put, "NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\n\r\n"},
		{command.Delete, "", "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"},
		{command.Delete, "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n", "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"},
		{command.Purge, "", "NATS/1.0\r\nKV-Operation: PURGE\r\nNats-Rollup: sub\r\n\r\n"},
		{command.Purge, marker, marker},
	} {
		require.Equal(t, c.want, string(entry(&store.Entry{Op: c.op, Header: []byte(c.header)}, 0).Header))
	}
	removed := entry(&store.Entry{Op: command.Purge, Header: []byte(strings.Replace(marker, "MaxAge", "Remove", 1))}, 0)
	require.Equal(t, "delete", removed.Operation, "a native watch says what nats.go reads from the header")
}

// Who changes a consumer is answered, also if it was moved long after it was made; of a move that late nobody waits to hear.
func TestAChangeOfAConsumerThatWasMovedIsAnswered(t *testing.T) {
	moved := &store.Consumer{
		Bucket: "app", Name: "c", Config: []byte(`{"deliver_policy":"all"}`), Deliver: "deliver.c", Generation: 2, MovedAt: int64(time.Hour), Answer: "answer.c",
	}
	answer := func(kind store.EventKind) string {
		list := Changes(&store.Batch{Events: []store.Event{{Kind: kind, Consumer: moved}}}, slog.New(slog.DiscardHandler))
		return list[0].(watch.Placed).Record.Answer
	}
	require.Equal(t, "answer.c", answer(store.ConsumerAdded))
	require.Empty(t, answer(store.ConsumerMoved))
	moved.Added, moved.Changed = 5, 9
	made := Changes(&store.Batch{Events: []store.Event{{Kind: store.ConsumerAdded, Consumer: moved}}}, slog.New(slog.DiscardHandler))[0].(watch.Placed).Record
	require.Equal(t, [2]uint64{5, 9}, [2]uint64{made.Created, made.Changed}, "by which a host sees that it is another configuration")
}

func TestAFullConnectionIsWaitedFor(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.consumer("app", "c")
	r.line.listen("deliver.c")
	r.line.await(t, "answer.c", 1)
	r.line.setRoom(0)
	for i := range 10 {
		r.solo.put("app", "a", fmt.Sprint(i))
	}
	require.Empty(t, r.line.got("deliver.c"))
	r.line.setRoom(-1)
	require.Len(t, r.line.await(t, "deliver.c", 10), 10)
}

// Where max_payload was lowered nothing is refused on its way: the hub knows what the connection carries, and leaves out the rest.
func TestWhatIsLargerThanAMessageIsLeftOut(t *testing.T) { // W2
	r := newRig(t)
	r.solo.bucket("app")
	r.line.listen("deliver.c")
	r.solo.put("app", "a", "1")
	r.solo.put("app", "b", strings.Repeat("x", 2_000))
	r.solo.put("app", "c", "3")
	r.line.mu.Lock()
	r.line.most = 1_000
	r.line.mu.Unlock()
	r.solo.consumer("app", "c")
	require.Equal(t, []string{"1 1", "3 3"}, r.line.await(t, "deliver.c", 2))
	require.Contains(t, r.line.got("answer.c")[0], `"num_pending":2`)
	r.solo.put("app", "b", strings.Repeat("x", 2_000))
	r.solo.put("app", "b", "5")
	require.Equal(t, "5 5", r.line.await(t, "deliver.c", 3)[2])
	require.Eventually(t, func() bool { return r.Status().LeftOut == 2 }, patience, time.Millisecond)
}

// An answer repeats the configuration, which may be long: it waits until there is room for all of it, and is not lost.
func TestALongAnswerWaitsForRoom(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.line.setRoom(20_000)
	var filters []string
	for i := range 2_000 {
		filters = append(filters, fmt.Sprintf(`"$KV.app.%05d"`, i))
	}
	r.solo.do(command.Command{AddConsumer: &command.AddConsumer{
		Bucket: "app", Name: "c", Host: "n1", Boot: 7, Deliver: "deliver.c", Answer: "answer.c",
		Config: []byte(`{"deliver_policy":"all","idle_heartbeat":5000000000,"filter_subjects":[` + strings.Join(filters, ",") + `]}`),
	}})
	require.Eventually(t, func() bool { return r.Status().Consumers == 1 }, patience, time.Millisecond)
	r.line.setRoom(100_000)
	require.Contains(t, r.line.await(t, "answer.c", 1)[0], "$KV.app.01999")
}

func TestALostConnectionIsTold(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.consumer("app", "c")
	r.line.listen("deliver.c")
	r.solo.put("app", "a", "1")
	r.line.await(t, "deliver.c", 1)
	r.line.calls.Status(false)
	r.solo.put("app", "a", "2")
	r.line.calls.Status(true)
	require.Equal(t, []string{"1 1", "1 1", "2 2"}, r.line.await(t, "deliver.c", 3))
}

// After a NATS server was started anew watchers hear nothing before the leader has been heard over it too: who is told that messages may be
// missing asks at once for another consumer, and tries again ten seconds later if nobody listens (nats.go). If no leader comes they are told
// all the same.
func TestALostConnectionIsToldOnceTheLeaderIsHeard(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.consumer("app", "c")
	r.line.listen("deliver.c")
	r.solo.put("app", "a", "1")
	r.line.await(t, "deliver.c", 1)
	r.far.Store(true)
	for _, comes := range []bool{true, false} {
		before, began := len(r.line.got("deliver.c")), time.Now()
		r.line.calls.Status(false)
		r.line.calls.Status(true)
		if comes { // the time is not what ends it
			r.reunion.mu.Lock()
			r.reunion.since = began.Add(time.Hour)
			r.reunion.mu.Unlock()
		}
		r.hears(t, "n3")
		require.True(t, !comes || r.waits(), "it does not lead")
		r.hears(t, "n2", true)
		require.True(t, !comes || r.waits(), "it was elected, and does not listen yet")
		if comes {
			r.hears(t, "n2")
			require.False(t, r.waits())
		}
		r.line.await(t, "deliver.c", before+1)
		require.True(t, comes || time.Since(began) >= reuniteWithin)
	}
}

// hears has the service hear an announcement.
func (r *rig) hears(t *testing.T, node string, deaf ...bool) {
	body, err := json.Marshal(message{Announcement: &watch.Announcement{Node: node, Boot: 1, Able: true, Applied: 1, Deaf: len(deaf) > 0}})
	require.NoError(t, err)
	r.heard(&nats.Msg{Subject: Subject("raftbus", allNodes, node), Data: body})
}

// What is longer than nodes write is not read, whatever it says.
func TestALongMessageIsNotLookedAt(t *testing.T) { // Q11
	r := newRig(t)
	body, err := json.Marshal(message{Announcement: &watch.Announcement{Node: "n2", Boot: 1, Able: true, Applied: 1}}) // a release that pulls nothing
	require.NoError(t, err)
	for _, bytes := range []int{messageBytesMax + 1, messageBytesMax} {
		r.heard(&nats.Msg{Subject: Subject("raftbus", allNodes, "n2"), Data: append(body, strings.Repeat(" ", bytes-len(body))...)})
		r.place(func(p *watch.Placer) { require.Equal(t, bytes > messageBytesMax, p.Pulls("n2"), bytes) })
	}
}

func (r *rig) waits() bool {
	r.reunion.mu.Lock()
	defer r.reunion.mu.Unlock()
	return !r.reunion.since.IsZero()
}

func TestWithoutALeafConnectionNothingIsServed(t *testing.T) {
	r := newRig(t, true)
	_, _, err := r.Choose(watch.Wanted{})
	require.ErrorIs(t, err, watch.ErrNoHost)
	r.solo.bucket("app")
	r.solo.consumer("app", "c")
	r.solo.put("app", "a", "1")
	require.Eventually(t, func() bool { return r.Status().Consumers == 1 }, patience, time.Millisecond, "it is known, and waits for another host")
}

// tell speaks as another node.
func (r *rig) tells(t *testing.T, a watch.Announcement) {
	body, err := json.Marshal(message{Announcement: &a})
	require.NoError(t, err)
	require.NoError(t, r.nc.Publish(Subject("raftbus", allNodes, a.Node), body))
}

func TestALeaderGivesConsumersToOthersAndRemovesIdleOnes(t *testing.T) {
	r := newRig(t)
	require.Eventually(t, func() bool { _, _, err := r.Choose(watch.Wanted{}); return err == nil }, patience, time.Millisecond)
	r.solo.bucket("app")
	r.solo.do(command.Command{AddConsumer: &command.AddConsumer{
		Bucket: "app", Name: "orphan", Host: "n2", Boot: 1, Deliver: "deliver.orphan", Answer: "answer.orphan",
		Config: []byte(`{"deliver_policy":"all","idle_heartbeat":5000000000,"inactive_threshold":3600000000000}`),
	}})
	r.solo.lead(true)
	require.Eventually(t, func() bool {
		c, err := r.solo.store.Consumer("app", "orphan")
		require.NoError(t, err)
		return c.Host == "n1" && c.Boot == 7 && c.Generation == 2
	}, patience, time.Millisecond)
	r.line.await(t, "answer.orphan", 1)
	r.solo.consumer("app", "idle") // nobody listens
	require.Eventually(t, func() bool {
		_, err := r.solo.store.Consumer("app", "idle")
		return err == store.NoConsumer
	}, patience, time.Millisecond)
	_, err := r.solo.store.Consumer("app", "orphan")
	require.NoError(t, err)
}

func TestWhatIsNotLoggedIsProposedAgain(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.consumer("app", "idle")
	r.line.await(t, "answer.idle", 1)
	r.solo.mu.Lock()
	r.solo.down = true
	r.solo.mu.Unlock()
	r.solo.lead(true)
	require.Eventually(t, func() bool { return len(*r.idle.Load()) > 0 }, patience, time.Millisecond)
	r.solo.mu.Lock()
	r.solo.down = false
	r.solo.mu.Unlock()
	require.Eventually(t, func() bool { _, err := r.solo.store.Consumer("app", "idle"); return err == store.NoConsumer }, patience, time.Millisecond)
}

// Whose clients go soon after each other are all told of, though nothing else happens then, and no more once somebody listens again.
func TestAllWhoAreIdleAreTold(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	for i := range 3 {
		r.solo.do(command.Command{AddConsumer: &command.AddConsumer{
			Bucket: "app", Name: fmt.Sprint(i), Host: "n1", Boot: 7, Deliver: fmt.Sprint("deliver.", i),
			Config: fmt.Appendf(nil, `{"deliver_policy":"all","inactive_threshold":%d}`, 300*time.Millisecond+time.Duration(i)*watch.AnnounceEvery/4),
		}})
	}
	require.Eventually(t, func() bool { return len(*r.idle.Load()) == 3 }, patience, time.Millisecond)
	for i := range 3 {
		r.line.listen(fmt.Sprint("deliver.", i))
	}
	require.Eventually(t, func() bool { return len(*r.idle.Load()) == 0 }, patience, time.Millisecond)
}

func TestTheHostIsAsked(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.consumer("app", "c")
	r.line.await(t, "answer.c", 1)
	c, err := r.solo.store.Consumer("app", "c")
	require.NoError(t, err)
	r.Ask(c, false, "info")
	require.Contains(t, r.line.await(t, "info", 1)[0], "consumer_info_response")

	asked, err := r.nc.SubscribeSync(Subject("raftbus", "n2", "n1"))
	require.NoError(t, err)
	require.NoError(t, r.nc.Flush())
	c.Host = "n2"
	r.Ask(c, true, "info")
	m, err := asked.NextMsg(patience)
	require.NoError(t, err)
	var told message
	require.NoError(t, json.Unmarshal(m.Data, &told))
	require.Equal(t, &watch.Asked{Ref: watch.Ref{Incarnation: c.Incarnation, Name: "c"}, Index: 2, Reply: "info", Made: true}, told.Ask)

	r.place(func(p *watch.Placer) { p.Hear(r.now(), watch.Announcement{Node: "n2", Boot: 1, Leaving: true}) })
	require.False(t, r.Ask(c, false, "info"), "it is lost")

	told.Ask.Index, told.Ask.Reply = 3, "later" // is not applied yet
	body, err := json.Marshal(told)
	require.NoError(t, err)
	require.NoError(t, r.nc.Publish(Subject("raftbus", "n1", "n2"), body))
	require.NoError(t, r.nc.Publish(Subject("raftbus", "n1", "n2"), []byte("nonsense")))
	require.NoError(t, r.nc.Publish(Subject("raftbus", "n1", "n2"), make([]byte, messageBytesMax+1)))
	require.NoError(t, r.nc.Flush())
	require.Eventually(t, func() bool { r.inbox.mu.Lock(); defer r.inbox.mu.Unlock(); return r.inbox.eager }, patience, time.Millisecond)
	require.Empty(t, r.line.got("later"))
	r.solo.bucket("other") // which is of no interest, but an entry
	require.Contains(t, r.line.await(t, "later", 1)[0], "consumer_create_response")
}

// All nodes hear who pulls: the host, which serves it, and who may be the next.
func TestAPullIsServedByItsHostAndToldToAll(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.put("app", "k", "v")
	pulled := func(name string) store.Consumer {
		r.solo.do(command.Command{AddConsumer: &command.AddConsumer{
			Bucket: "app", Name: name, Host: "n1", Boot: 7, Deliver: watch.PullDeliver, Config: []byte(`{"deliver_policy":"all","inactive_threshold":60000000000}`),
		}})
		c, err := r.solo.store.Consumer("app", name)
		require.NoError(t, err)
		return c
	}
	c := pulled("c")
	r.line.listen("in.box")
	all, err := r.nc.SubscribeSync(Subject("raftbus", allNodes, "n1"))
	require.NoError(t, err)
	require.NoError(t, r.nc.Flush())
	require.True(t, r.Pull(c, watch.Pulled{Reply: "in.box", Waiting: 9}))
	require.Equal(t, []string{"1 v"}, r.line.await(t, "in.box", 1))
	want := watch.Pulled{Ref: watch.Ref{Incarnation: c.Incarnation, Name: "c"}, Host: "n1", Index: 3, Reply: "in.box", Waiting: 9}
	for told := (message{}); told.Pull == nil; {
		m, err := all.NextMsg(patience)
		require.NoError(t, err)
		told = message{}
		require.NoError(t, json.Unmarshal(m.Data, &told))
		if told.Pull != nil {
			require.Equal(t, want, *told.Pull)
		}
	}
	d := pulled("d")
	want.Ref.Name, want.Index = "d", 4
	for _, from := range []string{"n1", "n2"} { // what it says itself it has heard
		body, err := json.Marshal(message{Pull: &want})
		require.NoError(t, err)
		require.NoError(t, r.nc.Publish(Subject("raftbus", allNodes, from), body))
	}
	require.Equal(t, []string{"1 v", "1 v"}, r.line.await(t, "in.box", 2))
	r.solo.put("app", "l", "w")
	require.True(t, r.Pull(c, watch.Pulled{Reply: "in.box", Waiting: 9}))
	require.Equal(t, []string{"1 v", "1 v", "2 w"}, r.line.await(t, "in.box", 3))
	r.tells(t, watch.Announcement{Node: "n2", Boot: 3, Able: true})
	require.Eventually(t, func() bool { return r.Status().Hosts == 2 }, patience, time.Millisecond)
	d.Host = "n2"
	require.False(t, r.Pull(d, watch.Pulled{Reply: "in.box"}), "a release that does not know pulls")
	for range 4 {
		host, _, err := r.Choose(watch.Wanted{Pull: true})
		require.NoError(t, err)
		require.Equal(t, rpc.NodeID("n1"), host)
	}
}

func TestNodesAnnounceThemselves(t *testing.T) {
	r := newRig(t)
	sub, err := r.nc.SubscribeSync(Subject("raftbus", allNodes, "n1"))
	require.NoError(t, err)
	told := func() watch.Announcement {
		m, err := sub.NextMsg(patience)
		require.NoError(t, err)
		var got message
		require.NoError(t, json.Unmarshal(m.Data, &got))
		return *got.Announcement
	}
	require.Eventually(t, func() bool { return told().Able }, patience, time.Millisecond)
	require.Equal(t, watch.Announcement{Node: "n1", Instance: rpc.InstanceID{}.String(), Boot: 7, Able: true, Pulls: true, Idle: []watch.Idle{}}, told())
	r.deaf.Store(true)
	require.Eventually(t, func() bool { return told().Deaf }, patience, time.Millisecond)
	forged, err := json.Marshal(message{Announcement: &watch.Announcement{Node: "n4", Boot: 3, Able: true}})
	require.NoError(t, err)
	require.NoError(t, r.nc.Publish(Subject("raftbus", allNodes, "n2"), forged))
	another := watch.Announcement{Node: "n2", Boot: 3, Able: true}
	require.Eventually(t, func() bool { r.tells(t, another); return r.Status().Hosts == 2 }, patience, time.Millisecond)
	r.Leave()
	require.Eventually(t, func() bool { return told().Leaving }, patience, time.Millisecond)
	var host rpc.NodeID
	var boot rpc.BootEpoch
	require.Eventually(t, func() bool { // by now it may have been heard too long ago
		r.tells(t, another)
		host, boot, err = r.Choose(watch.Wanted{})
		return err == nil
	}, patience, time.Millisecond)
	require.Equal(t, rpc.NodeID("n2"), host)
	require.Equal(t, rpc.BootEpoch(3), boot)
}

// While the store cannot be read nothing is lost of what else happens, and as much may wait as before.
func TestWhatWaitsOutlivesAStoreThatCannotBeRead(t *testing.T) {
	s, err := store.Open(store.Options{Engine: memengine.New(), ManualFlush: true})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	v := &server{Service: &Service{o: Options{Store: s, Logger: slog.New(slog.DiscardHandler)}, inbox: newInbox()}, learned: []watch.Event{watch.Interest{Subject: "first"}}}
	require.True(t, v.inbox.add(watch.Processed{Subject: "asked"}))
	for range 2 {
		_, err = v.events()
		require.ErrorIs(t, err, store.ErrClosed)
	}
	v.inbox.turned(watch.LeafUp{})
	require.Equal(t, []watch.Event{watch.Interest{Subject: "first"}}, v.learned)
	require.Equal(t, 1, v.inbox.others)
	require.Equal(t, []item{{event: watch.Processed{Subject: "asked"}}, {event: watch.LeafUp{}}}, v.inbox.take().items)
}

// What the consumers that were taken from the store include already, and the follower tells only after that, is not done again: one that was
// removed and made anew since would end.
func TestWhatIsToldAfterItWasTakenFromTheStoreIsNotDoneAgain(t *testing.T) {
	n := newSolo(t)
	n.bucket("app")
	n.consumer("app", "c")
	var late []store.Batch
	n.store.Follow(func(b store.Batch) { late = append(late, b) })
	n.do(command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: "app", Name: "c"}})
	n.consumer("app", "c")
	v := &server{Service: &Service{o: Options{Store: n.store, Logger: slog.New(slog.DiscardHandler)}, inbox: newInbox(), placer: watch.NewPlacer("n1")}}
	step := func() []watch.Event {
		events, err := v.events()
		require.NoError(t, err)
		return events
	}
	require.EqualValues(t, 4, step()[0].(watch.Reset).Index)
	for i, b := range late {
		v.inbox.applied(b, v.mine)
		require.Equal(t, []watch.Event{watch.Applied{Index: uint64(i + 3)}}, step())
		require.Equal(t, 1, v.placer.Consumers())
	}
	n.do(command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: "app", Name: "c"}})
	v.inbox.applied(late[2], v.mine)
	require.Len(t, step(), 2)
	require.Zero(t, v.placer.Consumers())
}

func TestTheInboxIsBounded(t *testing.T) {
	b := newInbox()
	b.take()
	mine := func(*store.Consumer) bool { return true }
	big := store.Batch{At: 1, Events: []store.Event{{Kind: store.Stored, Incarnation: 5, Entry: store.Entry{Value: make([]byte, appliedBytesMax/10)}}}}
	for range 100 {
		big.At++
		b.applied(big, mine)
		require.LessOrEqual(t, b.bytes, appliedBytesMax)
	}
	require.True(t, b.take().stale)
	for range othersMax {
		require.True(t, b.add(watch.LeafUp{}))
	}
	require.False(t, b.add(watch.LeafUp{}))
	b.take()
	require.True(t, b.add(watch.LeafUp{}))
	b.take()
	require.True(t, b.want(map[uint64]bool{6: true}, false, 0))
	big.At++
	b.applied(big, mine)
	got := b.take()
	require.Empty(t, got.items, "nobody watches that bucket")
	require.Equal(t, big.At, got.at)
	b.applied(store.Batch{At: big.At, Events: []store.Event{{Kind: store.ConsumerAdded, Incarnation: 5, Consumer: &store.Consumer{}}}}, mine)
	require.False(t, b.want(map[uint64]bool{6: true}, false, 0), "the server has not seen that consumer yet")
	b.applied(big, mine)
	require.Len(t, b.take().items, 2, "from the consumer on it is watched")
	for range 20 {
		b.applied(big, mine)
		require.False(t, b.take().stale, "what was taken takes no place any more")
	}
}

// Who waits for an index that was applied while the server looked at what came before is not forgotten until something else happens.
func TestWhatIsAppliedMeanwhileWakesWhoWaitsForIt(t *testing.T) {
	for applied, rings := range map[rpc.Index]bool{100: false, 101: true} {
		b := newInbox()
		b.applied(store.Batch{At: 100}, nil)
		at := b.take().at
		for len(b.bell) > 0 {
			<-b.bell
		}
		b.applied(store.Batch{At: applied}, nil) // of no interest yet
		require.Empty(t, b.bell)
		b.want(nil, true, at)
		require.Equal(t, rings, len(b.bell) == 1)
	}
}

// Who subscribes and unsubscribes in a flood takes one place in the inbox, not one each time (Q12), and what is heard after the
// connection came anew does not go before that: the hub forgets with it what it was told.
func TestOfEachSubjectWaitsWhatWasHeardLast(t *testing.T) {
	b := newInbox()
	for i := range 1_000 {
		b.hear(watch.Interest{Subject: "flood", Listened: i%2 == 0})
		b.hear(watch.Interest{Subject: "steady", Listened: true})
	}
	b.turned(watch.LeafDown{})
	b.turned(watch.LeafUp{})
	b.hear(watch.Interest{Subject: "flood", Listened: true})
	require.Equal(t, []watch.Event{
		watch.Interest{Subject: "flood"}, watch.Interest{Subject: "steady", Listened: true},
		watch.LeafDown{}, watch.LeafUp{}, watch.Interest{Subject: "flood", Listened: true},
	}, told(b.take().items))
	b.hear(watch.Interest{Subject: "flood"})
	taken := b.take()
	require.Equal(t, []watch.Event{watch.Interest{Subject: "flood"}}, told(taken.items), "what was taken is not changed any more")
	b.hear(watch.Interest{Subject: "flood", Listened: true})
	b.again(taken) // of a store that cannot be read
	b.hear(watch.Interest{Subject: "steady"})
	b.turned(watch.LeafUp{})
	b.again(b.take())
	b.hear(watch.Interest{Subject: "steady", Listened: true})
	require.Equal(t, []watch.Event{
		watch.Interest{Subject: "flood", Listened: true, Away: true}, watch.Interest{Subject: "steady"}, watch.LeafUp{}, watch.Interest{Subject: "steady", Listened: true},
	}, told(b.take().items))
}

func told(items []item) (list []watch.Event) {
	for _, i := range items {
		list = append(list, i.told())
	}
	return list
}

// Who asks for everything there is, on a subject that the connection refuses, does not fill the log.
func TestMessagesThatAreNotSentAreToldOfNowAndThen(t *testing.T) {
	var log bytes.Buffer
	logger, n := slog.New(slog.NewTextHandler(&log, nil)), notSent{}
	for range 1_000 {
		n.tell(logger, "a", errors.New("refused"))
	}
	require.Equal(t, 1, strings.Count(log.String(), "was not sent"))
	n.told = n.told.Add(-tellEvery)
	n.tell(logger, "a", errors.New("refused"))
	require.Contains(t, log.String(), "so_far=1001")
}
