package delivery

// What a service and its hub are told, and hold.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// The services of several accounts hold no more for their consumers than one alone would (Q12).
func TestWhatSeveralServicesHoldIsShared(t *testing.T) {
	o := newRig(t, true).o
	o.Parts = 4
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	require.Equal(t, watch.DefaultLimits().Part(4), s.limits)
}

// A removal names the configuration that it was decided for once all members judge by that (F28).
func TestARemovalNamesAConfigurationOnceThatIsOpen(t *testing.T) {
	idle := watch.Idle{Ref: watch.Ref{Incarnation: 1, Name: "c"}, Created: 5, Changed: 6}
	for open, want := range map[uint64]rpc.Index{2: 0, 3: 6} {
		list := Commands(watch.Proposals{Removals: []watch.Removal{{Idle: idle, Bucket: "app"}}}, open)
		require.Equal(t, command.RemoveConsumer{Bucket: "app", Name: "c", Added: 5, Changed: want}, *list[0].RemoveConsumer)
	}
}

// A leader whose disk is full proposes the same ten times a second.
func TestThatConsumersAreGivenToOthersIsSaidOnceTheyAre(t *testing.T) {
	var log bytes.Buffer
	n := newSolo(t)
	n.bucket("app")
	n.consumer("app", "c")
	s := &Service{o: Options{Store: n.store, Proposer: n, Logger: slog.New(slog.NewTextHandler(&log, nil))}, began: time.Now(), placer: watch.NewPlacer("n1")}
	reset, err := Load(n.store, "n1", 7, s.o.Logger)
	require.NoError(t, err)
	s.placer.Reset(reset.Records)
	s.placer.Hear(s.now(), watch.Announcement{Node: "n1", Boot: 8, Able: true})
	s.placer.Lead(true)
	n.down = true
	for range 3 {
		s.propose()
	}
	require.Empty(t, log.String())
	n.down = false
	for range 3 {
		s.propose()
	}
	require.Equal(t, 1, strings.Count(log.String(), "are given to others"))
}

// A service that does not begin leaves nothing on the connection, which is its owner's.
func TestAServiceThatDoesNotBeginHearsNothing(t *testing.T) {
	r := newRig(t, true)
	before, o := r.nc.NumSubscriptions(), r.o
	o.Dial = func(Callbacks) (Leaf, error) { return nil, errors.New("no leaf") }
	_, err := New(o)
	require.ErrorContains(t, err, "no leaf")
	require.Equal(t, before, r.nc.NumSubscriptions())
}

// Who speaks is in the subject, which NATS's permissions guard: nobody announces another, and what announces nobody is nothing.
func TestNobodyAnnouncesAnother(t *testing.T) { // Q2
	r := newRig(t)
	for _, from := range []string{"n3", "n2"} {
		body, err := json.Marshal(message{Announcement: &watch.Announcement{Node: "n2", Boot: 1, Able: true, Applied: 1}}) // a release that pulls nothing
		require.NoError(t, err)
		for _, data := range []string{"{}", string(body)} {
			r.heard(&nats.Msg{Subject: Subject("raftbus", allNodes, from), Data: []byte(data)})
		}
		r.place(func(p *watch.Placer) { require.Equal(t, from != "n2", p.Pulls("n2"), from) })
	}
}

// A native watch may ask for heartbeats as seldom as it likes: a time that never comes is not one that is past.
func TestAHeartbeatThatNeverComes(t *testing.T) {
	r := newRig(t)
	r.solo.bucket("app")
	r.line.listen("deliver.c")
	r.solo.consumer("app", "first") // what is made after it is served at once
	r.line.await(t, "answer.first", 1)
	config, err := Native{Heartbeat: math.MaxInt64}.Config()
	require.NoError(t, err)
	read, _, err := nativeConfig(config)
	require.NoError(t, err)
	require.GreaterOrEqual(t, read.Inactive, int64(time.Second), "a subscriber may be away for a moment")
	r.solo.do(command.Command{AddConsumer: &command.AddConsumer{Bucket: "app", Name: "c", Host: "n1", Boot: 7, Deliver: "deliver.c", Answer: "answer.c", Config: config}})
	r.line.await(t, "answer.c", 1)
	for i := range 3 {
		r.solo.put("app", "k", "v")
		require.Contains(t, r.line.await(t, "deliver.c", i+1)[i], fmt.Sprintf("|Rb-Revision: %d|", i+1))
	}
	require.Len(t, r.line.got("deliver.c"), 3)
}

// What a native watch's record says is what its host serves.
func TestANativeWatchIsReadAsWritten(t *testing.T) {
	filter, err := subject.Parse("a.*", "b")
	require.NoError(t, err)
	record, err := Native{
		Keys: []string{"a.*", "b"}, Policy: watch.DeliverByStartSequence, From: 7, NoValues: true, FlowControl: true, Heartbeat: time.Second,
	}.Config()
	require.NoError(t, err)
	read, is, err := nativeConfig(record)
	require.NoError(t, err)
	require.True(t, is)
	require.Equal(t, watch.Config{
		Native: true, Policy: watch.DeliverByStartSequence, StartSequence: 7, Filter: filter, HeadersOnly: true, FlowControl: true,
		Heartbeat: int64(time.Second), Inactive: int64(5 * time.Second),
	}, read)
}

// Who watches knows by the answer whether the bucket is the one that it was: another of its name counts from 1 again.
func TestANativeWatchIsToldWhichBucketItWatches(t *testing.T) { // W2
	r := newRig(t)
	for _, watcher := range []string{"w1", "w2"} {
		r.solo.bucket("app")
		r.solo.put("app", "a", "one")
		config, err := Native{}.Config()
		require.NoError(t, err)
		r.solo.do(command.Command{AddConsumer: &command.AddConsumer{Bucket: "app", Name: watcher, Config: config, Deliver: "d", Host: "n1", Boot: 7, Answer: watcher}})
		info, err := r.solo.store.Bucket("app")
		require.NoError(t, err)
		want := fmt.Sprintf(`{"bucket":"app","watch":"%s","sequence":0,"revision":1,"cluster_revision":%d,"pending":1}`, watcher, info.Incarnation)
		require.JSONEq(t, want, r.line.await(t, watcher, 1)[0])
		r.solo.do(command.Command{RemoveBucket: &command.RemoveBucket{Name: "app"}})
	}
}

// A node that does not know who leads sends nothing that would have a client ask for another consumer: nobody would answer.
func TestAServiceThatDoesNotFollowTheLogWaits(t *testing.T) { // W2
	r := newRig(t)
	r.solo.bucket("app")
	r.solo.put("app", "k", "v")
	r.line.listen("deliver.c")
	r.solo.consumer("app", "c")
	require.Len(t, r.line.await(t, "deliver.c", 1), 1)
	announced, err := r.nc.SubscribeSync(Subject("raftbus", allNodes, "n1"))
	require.NoError(t, err)
	require.NoError(t, r.nc.Flush())
	r.lost.Store(true)
	before, _, err := announced.Pending()
	require.NoError(t, err)
	for range before + 3 { // the hub is told between two
		_, err := announced.NextMsg(patience)
		require.NoError(t, err)
	}
	c, err := r.solo.store.Consumer("app", "c")
	require.NoError(t, err)
	r.solo.do(command.Command{MoveConsumers: &command.MoveConsumers{Moves: []command.ConsumerMove{
		{Bucket: "app", Name: "c", Added: c.Added, Generation: c.Generation, Host: "n1", Boot: 7},
	}}})
	r.Ask(c, false, "info")
	r.line.await(t, "info", 1)
	r.solo.put("app", "l", "w")
	r.Ask(c, false, "info")
	r.line.await(t, "info", 2)
	require.Len(t, r.line.got("deliver.c"), 1)
	r.lost.Store(false)
	r.line.await(t, "deliver.c", 2)
}

// The consumers that are there when a node starts count, and are given to others if theirs are gone.
func TestAServiceKnowsTheConsumersThatWereThere(t *testing.T) {
	n, o := newSolo(t), newRig(t, true).o
	n.bucket("app")
	n.consumer("app", "c")
	o.Store, o.Proposer = n.store, n
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	require.Eventually(t, func() bool { return s.Status().Account == 1 }, patience, time.Millisecond)
}

// Entries of buckets that nobody here watches are kept for nobody, also after the consumers were taken from the store.
func TestWhoServesNobodyWantsNothing(t *testing.T) {
	r := newRig(t)
	require.Eventually(t, func() bool {
		r.inbox.mu.Lock()
		defer r.inbox.mu.Unlock()
		return !r.inbox.stale && !r.inbox.all
	}, patience, time.Millisecond)
}

// Of hosts that are heard, those of another account are told of: both accounts are one of NATS.
func TestHostsOfAnotherAccountAreToldOf(t *testing.T) {
	r := newRig(t, true)
	var strays []string
	r.o.Stray = func(host string) { strays = append(strays, host) }
	r.hears(t, "n2")
	r.hears(t, watch.In("team", "n2"))
	require.Equal(t, []string{"n2@team"}, strays)
}

// A node that leads and that clients do not reach yet has its watchers wait: who asks for another consumer would find nobody (W2).
func TestALostConnectionIsToldOnceThisLeaderIsReached(t *testing.T) {
	r := newRig(t, true)
	s := &Service{o: r.o, inbox: newInbox()}
	back := func() []watch.Event {
		s.status(false)
		s.status(true)
		s.reunite("")
		return told(s.inbox.take().items)
	}
	require.Equal(t, []watch.Event{watch.LeafDown{}, watch.LeafUp{}}, back())
	r.deaf.Store(true) // elected, and not yet listening
	require.Equal(t, []watch.Event{watch.LeafDown{}}, back())
	r.deaf.Store(false)
	s.reunite("")
	require.Equal(t, []watch.Event{watch.LeafUp{}}, told(s.inbox.take().items))
	r.nc.Close()
	require.Equal(t, []watch.Event{watch.LeafDown{}}, back())
}

// The leaf connection waits for nobody whom it tells that it is up, not for who begins to listen to clients either: it reads nothing meanwhile. The hub is
// told once that is done (W2).
func TestWhoTellsThatTheLeafIsUpDoesNotWait(t *testing.T) {
	r := newRig(t)
	release := sync.OnceFunc(r.held.Unlock)
	r.held.Lock()
	t.Cleanup(release)
	done := make(chan struct{})
	go func() {
		r.line.calls.Status(false)
		r.line.calls.Status(true)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		require.Fail(t, "it waits")
	}
	require.True(t, r.waits())
	release()
	require.Eventually(t, func() bool { return !r.waits() }, patience, time.Millisecond)
}

// Nor is the hub told with the next announcement only.
func TestTheWardenIsWokenWhenTheLeafIsUp(t *testing.T) {
	r := newRig(t, true)
	require.NotNil(t, r.reunion.bell)
	s := &Service{o: r.o, inbox: newInbox(), stop: make(chan struct{}), reunion: reunion{bell: bell.New()}}
	rests := make(chan bool, 1)
	go func() { rests <- s.ticks(nil) }()
	s.status(true)
	require.Eventually(t, func() bool { return s.apart().IsZero() }, patience, time.Millisecond)
	close(s.stop)
	require.False(t, <-rests)
	require.Equal(t, []watch.Event{watch.LeafUp{}}, told(s.inbox.take().items))
}

// A connection that went, and came again, while it was looked whether it is time to tell of the one before, is another.
func TestOfAConnectionThatWentTheHubIsNotTold(t *testing.T) {
	o := newRig(t, true).o
	s := &Service{o: o, inbox: newInbox()}
	s.o.Listens = func() bool {
		s.status(false)
		return true
	}
	s.status(true)
	s.reunite("")
	require.Equal(t, []watch.Event{watch.LeafDown{}}, told(s.inbox.take().items))
}

// What a node says to all comes back to it over NATS, and says that others would be heard. Only then are those lost that are silent (F6, F9).
func TestOnlyWhoHearsItselfFindsOthersLost(t *testing.T) {
	o := newRig(t, true).o
	for speaker, lost := range map[string]bool{"n1": true, "n3": false} {
		s := &Service{o: o, began: time.Now(), inbox: newInbox(), placer: watch.NewPlacer("n1")}
		r := &rig{Service: s}
		r.hears(t, "n2")
		for range 10 {
			s.began = s.began.Add(-watch.AnnounceEvery)
			r.hears(t, speaker)
		}
		s.place(func(p *watch.Placer) { require.Equal(t, lost, p.Lost(s.now(), "n2"), speaker) })
	}
}

// endless is an engine of which views come to no end of a scan while it is on.
type endless struct {
	engine.Engine
	on    *atomic.Bool
	scans *atomic.Int32 // that look at more than the first
}

func (e endless) Open() (engine.DB, error) {
	db, err := e.Engine.Open()
	return endlessDB{db, e}, err
}

type endlessDB struct {
	engine.DB
	endless endless
}

func (d endlessDB) NewView() engine.View { return endlessView{d.DB.NewView(), d.endless} }

type endlessView struct {
	engine.View
	endless endless
}

func (v endlessView) Scan(from, to []byte, visit func(k, v []byte) (bool, error)) error {
	return v.View.Scan(from, to, func(key, value []byte) (more bool, err error) {
		if more, err = visit(key, value); more && err == nil && v.endless.on.Load() {
			v.endless.scans.Add(1)
		}
		for more && err == nil && v.endless.on.Load() {
			more, err = visit(key, value)
		}
		return more, err
	})
}

// However many consumers' counts look at all of a large bucket, who watches one key, or all, is answered. Nobody waits for the count for a consumer that is gone,
// nor does a service that is closed.
func TestCountsOfManyKeysHoldUpNobody(t *testing.T) { // Q12, L9
	e := endless{memengine.New(), new(atomic.Bool), new(atomic.Int32)}
	s, err := store.Open(store.Options{Engine: e, ManualFlush: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	n, line, o := &solo{t: t, store: s}, newLine(), newRig(t, true).o
	o.Store, o.Proposer, o.Dial = s, n, func(calls Callbacks) (Leaf, error) { line.calls = calls; return line, nil }
	served, err := New(o)
	require.NoError(t, err)
	closed := make(chan struct{})
	t.Cleanup(func() { e.on.Store(false); served.Close() })
	line.setRoom(8 << 20) // as a leaf has: pages that are being read have their part of it
	line.calls.Status(true)
	n.bucket("app")
	n.put("app", "a.x", "v")
	watch := func(name, keys string) {
		if name != "whole" { // whose answer comes of a count alone: pages have no end
			line.listen("deliver." + name)
		}
		n.do(command.Command{AddConsumer: &command.AddConsumer{
			Bucket: "app", Name: name, Host: "n1", Boot: 7, Deliver: "deliver." + name, Answer: "answer." + name,
			Config: []byte(`{"deliver_policy":"last_per_subject","inactive_threshold":300000000000,"filter_subject":"$KV.app.` + keys + `"}`),
		}})
	}
	watch("first", "a.x") // what is made after it is served at once
	line.await(t, "deliver.first", 1)
	e.on.Store(true)
	for i := range served.limits.Reads {
		watch(fmt.Sprint("wide", i), "*.x")
	}
	watch("narrow", "a.x")
	line.await(t, "answer.narrow", 1)
	line.await(t, "deliver.narrow", 1)
	wide := int32(served.limits.Reads - 2)
	require.Eventually(t, func() bool { return e.scans.Load() == wide }, patience, time.Millisecond)
	watch("whole", ">")
	line.await(t, "answer.whole", 1)
	wide = e.scans.Load()
	c, err := s.Consumer("app", "wide0")
	require.NoError(t, err)
	n.do(command.Command{RemoveConsumer: &command.RemoveConsumer{Bucket: "app", Name: c.Name, Added: c.Added}})
	require.Eventually(t, func() bool { return e.scans.Load() == wide+1 }, patience, time.Millisecond, "its reader serves the next")
	go func() { served.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(patience):
		require.Fail(t, "it waits for counts that nobody wants")
	}
	require.Empty(t, line.got("answer.wide1"))
}

// Once a node has said that it leaves, it does not say otherwise: its consumers would be given back to it.
func TestWhoLeavesDoesNotComeBack(t *testing.T) {
	asked, left := make(chan bool), make(chan bool)
	o := newRig(t, true).o
	o.Node = "n2"
	var slow atomic.Bool
	o.Listens = func() bool {
		if slow.CompareAndSwap(false, true) {
			close(asked)
			select { // as long as it takes nothing else is said
			case <-left:
			case <-time.After(50 * time.Millisecond):
			}
		}
		return true
	}
	sub, err := o.Conn.SubscribeSync(Subject("raftbus", allNodes, "n2"))
	require.NoError(t, err)
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	<-asked
	s.Leave()
	close(left)
	var said []bool
	for len(said) < 3 {
		m, err := sub.NextMsg(patience)
		require.NoError(t, err)
		var told message
		require.NoError(t, json.Unmarshal(m.Data, &told))
		said = append(said, told.Announcement.Leaving)
	}
	require.Equal(t, []bool{false, true, true}, said)
}

// As many consumers as an account may have are made, and no more (Q12).
func TestConsumersOfAnAccountAreBounded(t *testing.T) {
	s := &Service{o: Options{ConsumersMax: 2}, began: time.Now(), placer: watch.NewPlacer("n1")}
	s.placer.Hear(s.now(), watch.Announcement{Node: "n1", Boot: 7, Able: true})
	for _, want := range []error{nil, nil, watch.ErrTooMany} {
		_, _, err := s.Choose(watch.Wanted{})
		require.Equal(t, want, err)
		ref := watch.Ref{Incarnation: 1, Name: fmt.Sprint(s.placer.Consumers())}
		s.placer.Apply([]watch.Change{watch.Placed{Record: watch.Record{Ref: ref, Host: "n1", Boot: 7}}})
	}
}

// What consumers ask for is held by nodes, at a start all at once: it is bounded beside their number (Q12).
func TestWhatConsumersOfAnAccountAskForIsBounded(t *testing.T) {
	s := &Service{o: Options{ConsumersMax: 4}, began: time.Now(), placer: watch.NewPlacer("n1")}
	s.placer.Hear(s.now(), watch.Announcement{Node: "n1", Boot: 7, Able: true})
	ref := watch.Ref{Incarnation: 1, Name: "c"}
	of := func(bytes int) watch.Record { return watch.Record{Ref: ref, Host: "n1", Boot: 7, Weight: bytes} }
	chosen := func(want error, after ...watch.Change) {
		t.Helper()
		s.placer.Apply(after)
		_, _, err := s.Choose(watch.Wanted{Name: "next", Weight: 1<<10 + 1})
		require.Equal(t, want, err)
		s.placer.Apply([]watch.Change{watch.Placed{Record: watch.Record{Ref: watch.Ref{Incarnation: 1, Name: "next"}}}, watch.Removed{Ref: watch.Ref{Incarnation: 1, Name: "next"}}})
		_, _, err = s.Choose(watch.Wanted{Weight: 1 << 10})
		require.NoError(t, err, "an even share is there for everybody")
	}
	chosen(nil, watch.Placed{Record: of(4<<10 - 1)})
	chosen(watch.ErrTooLarge, watch.Placed{Record: of(4 << 10)})
	chosen(nil, watch.Placed{Record: of(1)})
	another := of(4 << 10)
	another.Name = watch.In("b", "c")
	chosen(nil, watch.Placed{Record: another})
	s.placer.Reset([]watch.Record{of(4 << 10)})
	chosen(watch.ErrTooLarge)
	chosen(nil, watch.Removed{Ref: ref})
}

// What is on its way counts too, until it is there, or can be no more: many come before the first is there (Q12).
func TestWhatIsBeingMadeIsBounded(t *testing.T) {
	s := &Service{o: Options{ConsumersMax: 4}, began: time.Now(), placer: watch.NewPlacer("n1")}
	s.placer.Hear(s.now(), watch.Announcement{Node: "n1", Boot: 7, Able: true})
	choose := func(name string) error {
		_, _, err := s.Choose(watch.Wanted{Name: name, Weight: 2 << 10})
		return err
	}
	require.NoError(t, choose("a"))
	require.NoError(t, choose("a"), "who asks again asks for one")
	require.NoError(t, choose("b"))
	require.Equal(t, watch.ErrTooLarge, choose("c"))
	ref := watch.Ref{Incarnation: 1, Name: "a"}
	s.placer.Apply([]watch.Change{watch.Placed{Record: watch.Record{Ref: ref, Weight: 1}}})
	require.NoError(t, choose("c"), "it is there, and weighs little")
	require.Equal(t, watch.ErrTooLarge, choose("d"))
	s.began = s.began.Add(-11 * time.Second)
	s.placer.Hear(s.now(), watch.Announcement{Node: "n1", Boot: 7, Able: true})
	require.NoError(t, choose("d"), "the others will never be there")
}

// What consumers cost beside their bytes counts too: those of many patterns with wildcards are compared with all that is put, and of where messages go each
// token is kept apart (Q12).
func TestConsumersThatCostMuchAreFewer(t *testing.T) {
	wild, long := make([]string, 256), "a"+strings.Repeat(".b", jetstream.DeliverTokensMax-1)
	for i := range wild {
		wild[i] = fmt.Sprintf("$KV.app.*.x%d", i)
	}
	named := strings.Fields(strings.ReplaceAll(strings.Join(wild, " "), "*", "k"))
	for about, c := range map[string]struct {
		filters []string
		deliver string
		most    int // consumers; 0: as many as their bytes allow
	}{
		"many patterns":  {wild, "in.box", 100},
		"some patterns":  {wild[:4], "in.box", 0},
		"named keys":     {named, "in.box", 0},
		"many tokens":    {nil, long, 7_200},
		"several tokens": {nil, "a.b.c.d.e.f.g.h", 0},
	} {
		s := &Service{o: Options{ConsumersMax: ConsumersMaxDefault}, began: time.Now(), placer: watch.NewPlacer("n1")}
		s.placer.Hear(s.now(), watch.Announcement{Node: "n1", Boot: 7, Able: true})
		config, err := json.Marshal(map[string]any{"deliver_policy": "all", "deliver_subject": c.deliver, "filter_subjects": c.filters})
		require.NoError(t, err)
		e := store.Event{Kind: store.ConsumerAdded, Consumer: &store.Consumer{Incarnation: 5, Bucket: "app", Name: "c", Config: config, Deliver: c.deliver, Host: "n1", Boot: 7}}
		placed := Changes(&store.Batch{Events: []store.Event{e}}, slog.New(slog.DiscardHandler))[0].(watch.Placed)
		for n := range c.most {
			if n == c.most*9/10 {
				_, _, err := s.Choose(watch.Wanted{Weight: 2 << 10})
				require.NoError(t, err, about)
			}
			placed.Record.Name = fmt.Sprint(n)
			s.placer.Apply([]watch.Change{placed})
		}
		if _, _, err = s.Choose(watch.Wanted{Weight: 2 << 10}); c.most > 0 {
			require.ErrorIs(t, err, watch.ErrTooLarge, about)
			continue
		}
		s.placer.Apply([]watch.Change{placed})
		require.Equal(t, len(config), s.placer.Weight(), about)
	}
}

// Who pulls from a consumer of this node, which has no room for the request, is not left to wait; of another's this node only wants to know.
func TestAPullThatFindsNoRoomIsNotKept(t *testing.T) {
	s := &Service{o: newRig(t, true).o, inbox: newInbox(), placer: watch.NewPlacer("n1")}
	for range othersMax {
		s.inbox.add(watch.Processed{})
	}
	own, anothers := store.Consumer{Name: "c", Host: "n1", Boot: 7}, store.Consumer{Name: "d", Host: "n2", Boot: 7}
	require.False(t, s.Pull(own, watch.Pulled{Reply: "in.box"}))
	require.True(t, s.Pull(anothers, watch.Pulled{Reply: "in.box"}))
	s.inbox.take()
	require.True(t, s.Pull(own, watch.Pulled{Reply: "in.box"}))
}

func TestTheHubIsToldWhetherTheNodeFollows(t *testing.T) {
	leader := rpc.NodeID("n1")
	s := &Service{o: Options{Leader: func() rpc.NodeID { return leader }}, inbox: newInbox()}
	for range othersMax {
		s.inbox.add(watch.Processed{})
	}
	leader = ""
	s.follow()
	s.inbox.take()
	for range 2 {
		s.follow()
	}
	leader = "n2"
	for range 2 {
		s.follow()
	}
	require.Equal(t, []watch.Event{watch.Follows{}, watch.Follows{Log: true}}, told(s.inbox.take().items), "again if there was no room, and once")
}

// Of a page that came nothing is remembered, wanted or not: a service reads millions.
func TestAPageThatCameIsUnderWayNoMore(t *testing.T) {
	v := &server{Service: &Service{reads: make(chan *errand, 2)}, errands: map[uint64]*errand{}}
	v.read(&watch.Effects{Reads: []watch.Read{{ID: 1}, {ID: 2}}, Dropped: []uint64{2}})
	require.False(t, (<-v.reads).dropped.Load())
	require.True(t, (<-v.reads).dropped.Load())
	for id := range uint64(2) {
		page := watch.PageRead{Read: id + 1}
		require.Equal(t, page, v.home(page))
	}
	require.Empty(t, v.errands)
}
