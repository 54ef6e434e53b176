package watch

// The hub's rules one by one, by section of the specification.

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/subject"
)

// oneHost is a world with one host, wide limits, and what was sent.
type oneHost struct {
	*world
	t    *testing.T
	peer *peer
}

func newHost(t *testing.T, history int, change ...func(*Limits)) *oneHost {
	limits := DefaultLimits()
	for _, f := range change {
		f(&limits)
	}
	w := newWorld(t, history, 1, limits)
	o := &oneHost{w, t, w.hosts[0]}
	o.settle()
	return o
}

func (o *oneHost) hub() *Hub { return o.peer.hub }

// consumer makes a consumer that nobody follows but the test.
func (o *oneHost) consumer(config Config) {
	config.Inactive = 5 * second
	o.place(Record{Ref: Ref{Name: "c"}, Config: config, Deliver: "in.box", Answer: "answer"})
}

// listen tells that somebody listens, or no longer.
func (o *oneHost) listen(listened bool) {
	o.heard["in.box"] = listened
	o.peer.interest("in.box", listened)
}

// sent steps until nothing is left to do, and returns the messages to the consumer in short: revision/consumer sequence/pending, or the
// header lines of others.
func (o *oneHost) sent() (list []string) {
	o.t.Helper()
	for busy := true; busy; {
		for len(o.peer.reads) > 0 {
			o.answerRead(o.peer)
		}
		busy = o.step(o.peer)
		for _, s := range o.peer.effects.Send {
			if s.Subject == "in.box" {
				list = append(list, short(s))
			}
		}
		busy = busy || len(o.peer.reads) > 0
	}
	return list
}

func short(s Send) string {
	if status, is := strings.CutPrefix(string(s.Header), "NATS/1.0 100 "); is {
		return strings.ReplaceAll(strings.TrimSuffix(status, "\r\n\r\n"), "\r\n", "|")
	}
	reply, _, _ := strings.Cut(s.Reply, "@")
	t := strings.Split(reply, ".")
	return t[5] + "/" + t[6] + "/" + t[8]
}

func (o *oneHost) pass(d int64) { o.now += d }

func TestADeliveryIsAsClientsExpectIt(t *testing.T) { // 7.2
	o := newHost(t, 1)
	o.put("the.key", "hello")
	o.consumer(Config{})
	o.listen(true)
	o.settle()
	e := o.peer.hub.Step(o.now, 1<<20, o.model.put("the.key", "again"))
	require.Len(t, e.Send, 1)
	require.Equal(t, Send{Subject: "in.box", Reply: "$JS.ACK.KV_b.c.1.2.2.2000.0@$KV.b.the.key", Body: []byte("again")}, e.Send[0])
}

func TestNothingIsSentBeforeSomebodyListens(t *testing.T) { // 7.2
	o := newHost(t, 1)
	o.put("a", "1")
	o.consumer(Config{})
	require.Empty(t, o.sent())
	o.put("b", "2")
	require.Empty(t, o.sent())
	require.Equal(t, uint64(1), o.answers["answer"].Pending)
	require.False(t, o.answers["answer"].Bound)
	o.listen(true)
	require.Equal(t, []string{"1/1/1", "2/2/0"}, o.sent())
	o.listen(false)
	o.put("c", "3")
	require.Empty(t, o.sent())
	o.listen(true)
	require.Equal(t, []string{"3/3/0"}, o.sent())
}

func TestPoliciesBeginWhereTheySay(t *testing.T) { // 7.1
	for name, c := range map[string]struct {
		config  Config
		pending uint64
		sent    string
	}{
		"all":                      {Config{}, 5, "1/1/4 2/2/3 3/3/2 4/4/1 5/5/0 6/6/0"},
		"last per subject":         {Config{Policy: DeliverLastPerSubject}, 3, "3/1/2 4/2/1 5/3/0 6/4/0"},
		"last per subject of some": {Config{Policy: DeliverLastPerSubject, Filter: patterns("a", "z.*")}, 2, "4/1/1 5/2/0 6/3/0"},
		"last":                     {Config{Policy: DeliverLast, Filter: patterns("a")}, 1, "4/1/0 6/2/0"},
		"new":                      {Config{Policy: DeliverNew}, 0, "6/1/0"},
		"by sequence":              {Config{Policy: DeliverByStartSequence, StartSequence: 4}, 2, "4/1/1 5/2/0 6/3/0"},
		"by sequence of the next":  {Config{Policy: DeliverByStartSequence, StartSequence: 6}, 0, "6/1/0"},
		"by time":                  {Config{Policy: DeliverByStartTime, StartTime: 3_500}, 2, "4/1/1 5/2/0 6/3/0"},
		"by time to come":          {Config{Policy: DeliverByStartTime, StartTime: 9_000}, 0, "6/1/0"},
		"nothing matches":          {Config{Filter: patterns("nobody")}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newHost(t, 5)
			for _, key := range []string{"a", "a", "b", "a", "z.z"} {
				o.put(key, "x")
			}
			o.consumer(c.config)
			o.listen(true)
			sent := o.sent()
			require.Equal(t, c.pending, o.answers["answer"].Pending)
			o.put("a", "x")
			require.Equal(t, c.sent, strings.Join(append(sent, o.sent()...), " "))
		})
	}
}

func TestFromAFutureSequenceNothingOlderComes(t *testing.T) { // W3, K70
	o := newHost(t, 5)
	o.put("a", "x")
	o.consumer(Config{Policy: DeliverByStartSequence, StartSequence: 4})
	o.listen(true)
	require.Empty(t, o.sent())
	require.Equal(t, State{Made: true, Stream: 3, Bound: false}, withoutRecord(o.answers["answer"]))
	for range 4 {
		o.put("a", "x")
	}
	require.Equal(t, []string{"4/1/0", "5/2/0"}, o.sent())
}

func withoutRecord(s State) State {
	s.Record = nil
	return s
}

func TestValuesAreLeftOutAndTheirSizesTold(t *testing.T) { // 7.2
	for _, c := range []struct{ header, want string }{
		{"", "NATS/1.0\r\nNats-Msg-Size: 5\r\n\r\n"},
		{"NATS/1.0\r\nStatus: 100\r\n\r\n", "NATS/1.0\r\nNats-Msg-Size: 5\r\n\r\n"}, // clients would take it for a heartbeat
		{"NATS/1.0\r\nKV-Operation: DEL\r\n\r\n", "NATS/1.0\r\nKV-Operation: DEL\r\nNats-Msg-Size: 5\r\n\r\n"},
	} {
		require.Equal(t, c.want, string(withSize(&Entry{Header: []byte(c.header), Value: []byte("hello")})))
		require.Equal(t, c.want, string(withSize(&Entry{Header: []byte(c.header), Size: 5})), "as read without the value")
	}
	o := newHost(t, 1)
	o.consumer(Config{HeadersOnly: true})
	o.listen(true)
	o.settle()
	e := o.peer.hub.Step(o.now, 1<<20, o.model.put("k", "hello"))
	require.Equal(t, "NATS/1.0\r\nNats-Msg-Size: 5\r\n\r\n", string(e.Send[0].Header))
	require.Empty(t, e.Send[0].Body)
}

func TestAHeartbeatSaysThatAllWasSent(t *testing.T) { // 7.3, W4, K71
	o := newHost(t, 1)
	o.put("a", "x")
	o.consumer(Config{Heartbeat: second})
	o.listen(true)
	require.Equal(t, []string{"1/1/0"}, o.sent())
	o.pass(second / 2)
	o.put("b", "x")
	require.Equal(t, []string{"2/2/0"}, o.sent())
	o.pass(second * 6 / 10)
	require.Empty(t, o.sent(), "something was sent since")
	o.pass(second * 4 / 10)
	require.Equal(t, []string{"Idle Heartbeat|Nats-Last-Consumer: 2|Nats-Last-Stream: 2"}, o.sent())
	require.Equal(t, o.now+second, o.peer.effects.Wake)
}

func TestNoHeartbeatWhileThereIsSomethingToSend(t *testing.T) { // 7.3
	o := newHost(t, 1)
	o.put("a", "x")
	o.consumer(Config{Heartbeat: second})
	o.listen(true)
	o.step(o.peer)
	o.step(o.peer) // the page is being read
	o.pass(10 * second)
	o.step(o.peer)
	require.Empty(t, o.peer.effects.Send)
	require.Equal(t, []string{"1/1/0"}, o.sent())
	o.pass(second)
	require.Equal(t, []string{"Idle Heartbeat|Nats-Last-Consumer: 1|Nats-Last-Stream: 1"}, o.sent())
}

// Such a node may have missed that the bucket is gone: its heartbeats would keep the client from looking.
func TestANodeThatDoesNotFollowTheLogSendsNoHeartbeats(t *testing.T) { // W2
	o := newHost(t, 1)
	o.consumer(Config{Heartbeat: second})
	o.listen(true)
	o.sent()
	o.tell(Follows{Log: false})
	o.pass(10 * second)
	require.Empty(t, o.sent())
	o.tell(Follows{Log: true})
	o.pass(second)
	require.Equal(t, []string{"Idle Heartbeat|Nats-Last-Consumer: 0|Nats-Last-Stream: 0"}, o.sent())
}

func TestSkippedEntriesShowInHeartbeats(t *testing.T) { // 7.3
	o := newHost(t, 1)
	o.consumer(Config{Heartbeat: second, Filter: patterns("b")})
	o.listen(true)
	o.sent()
	o.put("a", "x")
	require.Empty(t, o.sent())
	o.pass(second)
	require.Equal(t, []string{"Idle Heartbeat|Nats-Last-Consumer: 0|Nats-Last-Stream: 1"}, o.sent())
}

func TestAClientThatDoesNotProcessIsNotSentMore(t *testing.T) { // 7.4
	o := newHost(t, 64, func(l *Limits) { l.Window = 1_000 })
	o.consumer(Config{FlowControl: true, Heartbeat: second})
	o.listen(true)
	for range 12 {
		o.put("a", strings.Repeat("x", 100))
	}
	sent := o.sent()
	require.Equal(t, []string{"1/1/11", "2/2/10", "3/3/9"}, sent[:3])
	require.Contains(t, sent, "FlowControl Request")
	require.Less(t, len(sent), 8)
	o.pass(second)
	c := o.hub().all[0]
	stalled := o.sent()
	require.Equal(t, []string{fmt.Sprintf("Idle Heartbeat|Nats-Last-Consumer: %d|Nats-Last-Stream: %[1]d|Nats-Consumer-Stalled: %s", c.sequence, c.window.request)}, stalled)
	require.Regexp(t, `^\$JS\.FC\.KV_b\.c\.n1\.1-1$`, c.window.request)
	o.put("a", "x")
	require.Empty(t, o.sent())
	for before := c.window.request; before != ""; before = c.window.request {
		o.tell(Processed{before})
		sent = append(sent, o.sent()...)
		require.NotEqual(t, before, c.window.request, "a late answer is of another request")
	}
	require.Equal(t, uint64(13), c.sequence, sent)
	require.True(t, c.isHead())
}

// A client is asked how far it is while it may still be sent as much again: who processes in time is never held up.
func TestAClientIsAskedBeforeItIsHeldUp(t *testing.T) { // 7.4
	o := newHost(t, 64, func(l *Limits) { l.Window = 1_000 })
	o.consumer(Config{FlowControl: true, Heartbeat: second})
	o.listen(true)
	o.sent()
	for c := o.hub().all[0]; c.window.request == ""; {
		o.put("a", strings.Repeat("x", 100))
		o.sent()
	}
	o.put("a", "x")
	require.Len(t, o.sent(), 1)
}

// Of many who are behind each is sent a share, and all of them together no more than a turn before what has come meanwhile is looked at.
func TestWhoCatchesUpLeavesTimeForOthers(t *testing.T) { // F25
	o := newHost(t, 64, func(l *Limits) { l.ShareBytes, l.TurnBytes = 500, 2_000 })
	for i := range 10 {
		o.other(fmt.Sprint(i), Config{})
	}
	o.sent()
	o.peer.room = 0
	for range 40 {
		o.put("a", "x")
	}
	o.step(o.peer)
	o.peer.room = 1 << 20
	o.step(o.peer)
	require.True(t, o.peer.effects.Again)
	left, subjects := o.peer.room, map[string]bool{}
	for _, s := range o.peer.effects.Send {
		subjects[s.Subject] = true
	}
	require.GreaterOrEqual(t, left, 1<<20-3_000)
	require.Greater(t, len(subjects), 2)
}

func TestASlowWatcherIsSlowAlone(t *testing.T) { // F25
	o := newHost(t, 64, func(l *Limits) { l.Window, l.RingBytes = 1_000, 2_000 })
	o.settle()
	quick, slow := o.watch(Config{FlowControl: true, Heartbeat: second}), o.watch(Config{FlowControl: true, Heartbeat: second})
	slow.stalls = true
	for i := range 60 {
		o.put("a", fmt.Sprint(i))
		o.settle()
	}
	require.Len(t, quick.got, 60)
	require.Less(t, len(slow.got), 20)
	require.Less(t, o.hub().ringBytes, 2_001)
	slow.stalls = false
	o.wait(3 * second)
	require.Len(t, slow.got, 60)
}

func TestAConsumerThatNobodyListensToIsIdleAfterAWhile(t *testing.T) { // 7.2
	o := newHost(t, 1)
	o.consumer(Config{})
	o.sent()
	o.pass(4 * second)
	o.sent()
	require.Empty(t, o.hub().Idle(10))
	o.listen(true)
	o.pass(10 * second)
	o.sent()
	o.listen(false)
	o.pass(second)
	o.sent()
	o.pass(4 * second)
	o.sent()
	require.Empty(t, o.hub().Idle(10), "it counts from the end of interest")
	o.pass(second)
	o.sent()
	require.Equal(t, []Idle{{Ref{testBucket, "c"}, 1, 1}}, o.hub().Idle(10))
	o.listen(true)
	o.put("a", "x")
	require.Equal(t, []string{"1/1/0"}, o.sent())
	require.Empty(t, o.hub().Idle(10))
	o.listen(false)
	o.pass(second)
	o.sent()
	o.disconnect(o.peer)
	o.pass(60 * second)
	o.sent()
	require.Empty(t, o.hub().Idle(10), "without the connection nobody can know")
	o.connect(o.peer)
	o.sent()
	o.pass(5 * second)
	o.sent()
	require.Len(t, o.hub().Idle(10), 1)
	o.tell(o.model.remove("c"))
	o.sent()
	require.Empty(t, o.hub().Idle(10))
	require.Zero(t, o.hub().Serving())
}

// Of many that are idle no more are listed than are asked for: an announcement has a bound.
func TestIdleConsumersAreListedInParts(t *testing.T) {
	o := newHost(t, 1)
	for i := range 3 {
		o.place(Record{Ref: Ref{Name: fmt.Sprint(i)}, Deliver: "in.box", Config: Config{Inactive: second}})
	}
	o.sent()
	o.pass(second)
	o.sent()
	require.Len(t, o.hub().Idle(2), 2)
	require.Len(t, o.hub().Idle(10), 3)
}

func (o *oneHost) reconnect() {
	o.disconnect(o.peer)
	o.sent()
	o.connect(o.peer)
}

func TestAConsumerWhosePagesCannotBeReadIsGivenUp(t *testing.T) {
	o := newHost(t, 1)
	o.put("a", "x")
	o.consumer(Config{Heartbeat: second})
	o.listen(true)
	o.step(o.peer)
	o.step(o.peer)
	require.Len(t, o.peer.reads, 1)
	o.tell(PageRead{o.peer.reads[0].ID, Page{Failed: true}})
	o.peer.reads = nil
	o.pass(10 * second)
	require.Empty(t, o.sent())
	require.Equal(t, []Idle{{Ref{testBucket, "c"}, 1, 1}}, o.hub().Idle(10))
}

func TestAnEarlierLifeOfANodeIsAnotherHost(t *testing.T) {
	o := newHost(t, 5)
	o.consumer(Config{})
	o.listen(true)
	o.sent()
	o.boot(o.peer)
	o.put("a", "x")
	require.Empty(t, o.sent())
	require.Zero(t, o.hub().Serving())
}

func TestWhatASnapshotSkipsIsRead(t *testing.T) { // F29, K69
	o := newHost(t, 64)
	head := o.watch(Config{Heartbeat: second})
	o.put("a", "1")
	o.settle()
	for range 3 {
		o.put("a", "2")
	}
	made := o.watch(Config{Heartbeat: second, Policy: DeliverNew}) // its record is known by the snapshot only
	o.put("a", "3")
	o.install(o.peer)
	o.settle()
	require.Equal(t, []uint64{1, 2, 3, 4, 5}, head.got)
	require.Equal(t, []uint64{5}, made.got)
	o.put("a", "4")
	o.settle()
	require.Equal(t, []uint64{1, 2, 3, 4, 5, 6}, head.got)
	require.Equal(t, []uint64{5, 6}, made.got)
	require.Equal(t, 2, head.lives+made.lives)
}

// Whoever is not among a snapshot's consumers was removed before it.
func TestWhoASnapshotLacksIsGone(t *testing.T) { // F29
	o := newHost(t, 5)
	o.consumer(Config{Heartbeat: second})
	o.listen(true)
	o.sent()
	o.model.remove("c") // of which this host does not hear
	o.install(o.peer)
	o.put("a", "x")
	o.pass(second)
	require.Empty(t, o.sent())
	require.Zero(t, o.hub().Serving())
}

func TestABucketTakesItsConsumersWithIt(t *testing.T) { // 6.4
	o := newHost(t, 5)
	o.put("a", "x")
	o.consumer(Config{Heartbeat: second})
	o.listen(true)
	o.sent()
	o.tell(o.model.applied(BucketGone{testBucket}))
	o.pass(5 * second)
	require.Empty(t, o.sent())
	require.Zero(t, o.hub().Serving())
	require.Empty(t, o.hub().rings)
	require.Empty(t, o.hub().timers)
}

func TestStateIsAnsweredInOrderWithDeliveries(t *testing.T) { // 1.2, 7.5
	o := newHost(t, 5)
	for range 3 {
		o.put("a", "x")
	}
	o.consumer(Config{})
	o.listen(true)
	ask := func(name string, index uint64, reply string) {
		o.peer.events = append(o.peer.events, Asked{Ref: Ref{testBucket, name}, Index: index, Reply: reply})
	}
	ask("c", o.model.index, "early")
	ask("c", o.model.index+1, "later")
	o.step(o.peer)
	o.step(o.peer)
	require.Len(t, o.peer.reads, 1)
	require.Empty(t, o.answers, "it is not counted yet, and not applied")
	o.sent()
	require.Equal(t, State{Pending: 3, Bound: true}, withoutRecord(o.answers["early"]))
	require.NotContains(t, o.answers, "later")
	o.put("a", "x")
	o.sent()
	require.Equal(t, State{Sequence: 4, Stream: 4, Bound: true}, withoutRecord(o.answers["later"]))
	ask("nobody", o.model.index, "missing")
	o.sent()
	require.True(t, o.answers["missing"].Missing)
	for i := range 3_000 {
		ask("c", o.model.index+1, fmt.Sprint(i))
	}
	o.step(o.peer)
	require.Len(t, o.hub().asked, DefaultLimits().AsksMax)
}

func TestAFullConnectionHoldsUpAndLosesNothing(t *testing.T) {
	o := newHost(t, 64)
	clients := []*client{o.watch(Config{Heartbeat: second}), o.watch(Config{Heartbeat: second, Filter: patterns("a")})}
	o.settle()
	o.peer.room = 700
	for range 20 {
		o.put("a", strings.Repeat("x", 50))
	}
	for o.step(o.peer) {
	}
	require.True(t, o.peer.effects.WantRoom)
	require.Less(t, len(clients[0].got)+len(clients[1].got), 10)
	for range 40 {
		o.peer.room = 700
		o.step(o.peer)
	}
	for _, c := range clients {
		require.Len(t, c.got, 20)
		require.Equal(t, 1, c.lives)
	}
}

func TestAnAnswerWaitsForRoomForAllThatItRepeats(t *testing.T) {
	o := newHost(t, 1)
	o.peer.room = 60_000
	o.place(Record{Ref: Ref{Name: "c"}, Deliver: "in.box", Answer: "answer", Echoed: 60_000})
	o.sent()
	require.True(t, o.peer.effects.WantRoom)
	require.Empty(t, o.answers)
	o.peer.room = 70_000
	o.sent()
	require.Contains(t, o.answers, "answer")
}

func TestRecentEntriesTakeABoundedPlace(t *testing.T) {
	h := New("n1", 1, Limits{RingBytes: 10_000, Reads: 1, PageBytes: 1_000})
	place := func(incarnation uint64) Placed {
		r := Record{Ref: Ref{incarnation, "c"}, Bucket: fmt.Sprint(incarnation), Host: "n1", Boot: 1, Created: 1, Changed: 1}
		return Placed{r}
	}
	for incarnation := range uint64(20) {
		h.Step(1, 0, Applied{1, []Change{place(incarnation)}})
	}
	value := make([]byte, 300)
	for s := range uint64(50) {
		for incarnation := range uint64(20) {
			e := Entry{Key: "k", Sequence: s + 1, Value: value}
			h.Step(1, 0, Applied{1, []Change{Stored{incarnation, e}}})
			require.LessOrEqual(t, h.ringBytes, 10_000)
		}
		h.check(require.New(t))
	}
	require.Greater(t, h.ringBytes, 5_000)
}

// Of a key that is written again and again no more than its newest entry is kept, also behind one that stays.
func TestWhatIsWrittenOverTakesNoPlace(t *testing.T) {
	const bound = 10_000
	for name, stays := range map[string]bool{"alone": false, "behind one that stays": true} {
		t.Run(name, func(t *testing.T) {
			h := New("n1", 1, Limits{RingBytes: bound, Reads: 1, PageBytes: 1_000})
			r := Record{Ref: Ref{1, "c"}, Bucket: "b", Host: "n1", Boot: 1, Created: 1, Changed: 1}
			h.Step(1, 0, Applied{1, []Change{Placed{r}}})
			sequence := uint64(1)
			store := func(key string) {
				h.Step(1, 0, Applied{sequence, []Change{Stored{1, Entry{Key: key, Sequence: sequence, Value: []byte("a")}}}})
				sequence++
			}
			if stays {
				store("stays")
			}
			store("k")
			for range 5 * bound / slotBytes {
				h.Step(1, 0, Applied{sequence, []Change{Dropped{1, "k", sequence - 1, sequence}}})
				store("k")
				require.LessOrEqual(t, h.rings[0].ring.entries.len(), bound/slotBytes)
			}
			h.check(require.New(t))
			require.Equal(t, []byte("a"), h.rings[0].ring.at(sequence-1).Value)
		})
	}
}

func TestWhatIsStoredIsMatchedOncePerFilter(t *testing.T) {
	o := newHost(t, 1)
	for i := range 100 {
		o.watch(Config{Filter: []subject.Filter{{}, patterns("a")}[i%2]})
	}
	o.settle()
	o.put("a", "x")
	o.settle()
	require.Len(t, o.hub().rings[0].groups, 2)
	for _, g := range o.hub().rings[0].groups {
		require.Len(t, g.heads.list, 50)
		require.Equal(t, uint64(1), g.total)
	}
	for _, c := range o.clients {
		require.Equal(t, []uint64{1}, c.got)
		o.stop(c)
	}
}
