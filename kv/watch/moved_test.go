package watch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ordered is what an ordered consumer asks for.
func ordered(c Config) Config {
	c.Heartbeat, c.FlowControl, c.Inactive = 5*second, true, 60*second
	return c
}

// elsewhere makes a consumer that another node serves.
func (o *oneHost) elsewhere(config Config, answer string) {
	o.place(Record{Ref: Ref{Name: "c"}, Config: config, Deliver: "in.box", Answer: answer})
	o.tell(o.model.move("c", "n0", 1))
}

// puts stores an entry for each of the keys.
func (o *oneHost) puts(keys ...string) {
	for _, key := range keys {
		o.put(key, "x")
	}
}

func TestWhatALostConnectionMayHaveLostShows(t *testing.T) { // 7.7
	o := newHost(t, 1)
	o.consumer(ordered(Config{}))
	o.listen(true)
	o.sent()
	o.reconnect()
	require.Empty(t, o.sent(), "nothing was sent before")
	o.puts("a", "b")
	require.Equal(t, []string{"1/1/0", "2/2/0"}, o.sent())
	o.puts("c")
	o.disconnect(o.peer)
	require.Empty(t, o.sent())
	o.connect(o.peer)
	require.Equal(t, []string{"1/1/0", "2/5/0"}, o.sent(), "who has got nothing goes on; nobody expects the other number")
}

// The client's own connection was lost, which the host hears of as that nobody listens for a while, or afterwards as one piece of news.
func TestWhatAClientMayHaveLostWithItsConnectionComes(t *testing.T) { // W2, 7.7
	for _, atOnce := range []bool{false, true} {
		for _, at := range []looks{atAll, onceItHas, atMessages} {
			o := newHost(t, 1)
			c := o.watch(ordered(Config{}), at)
			o.puts("a")
			o.settle()
			c.cut = true
			o.puts("b")
			o.settle()
			o.rejoin(c, atOnce)
			o.settle()
			require.Equal(t, []uint64{1, 2}, c.got)
		}
	}
}

// Who does not count would be sent everything again each time it subscribes.
func TestWhoDoesNotCountGoesOnWhenItComesBack(t *testing.T) { // 7.2
	for _, config := range []Config{{}, {Heartbeat: 5 * second}, {Heartbeat: 5 * second, FlowControl: true, Durable: true}} {
		o := newHost(t, 1)
		o.consumer(config)
		o.listen(true)
		o.puts("a")
		require.Equal(t, []string{"1/1/0"}, o.sent())
		o.peer.events = append(o.peer.events, Interest{Subject: "in.box", Listened: true, Away: true})
		o.puts("b")
		require.Equal(t, []string{"2/2/0"}, o.sent())
	}
}

// What a client has not processed counts no more once the connection is lost: its answers may be too.
func TestALostConnectionLetsGoOfWhatIsUnderWay(t *testing.T) { // 7.4, 7.7
	o := newHost(t, 64, func(l *Limits) { l.Window = 1_000 })
	o.consumer(ordered(Config{}))
	o.listen(true)
	for range 12 {
		o.put("a", strings.Repeat("x", 100))
	}
	o.sent()
	require.True(t, o.hub().all[0].window.full(1_000))
	o.reconnect()
	require.Len(t, o.sent(), doubtQuota)
}

func TestWhoDoesNotCountIsSentEverythingAgain(t *testing.T) { // 7.7
	for _, config := range []Config{{}, {Heartbeat: 5 * second}, {Heartbeat: 5 * second, FlowControl: true, Durable: true}} {
		o := newHost(t, 5)
		o.puts("a", "b")
		o.consumer(config)
		o.listen(true)
		require.Equal(t, []string{"1/1/1", "2/2/0"}, o.sent())
		o.puts("c")
		o.reconnect()
		require.Equal(t, []string{"1/5/2", "2/6/1", "3/7/0"}, o.sent(), "what was to be sent before may have been")
		o.tell(o.model.move("c", "n1", 1))
		require.Equal(t, []string{"1/4294967298/2", "2/4294967299/1", "3/4294967300/0"}, o.sent())
	}
}

// Who asks for heartbeats only looks at their numbers perhaps. It got a message of the host before, and the first of the next one is lost: what a heartbeat counts
// then is not what it has.
func TestALostFirstMessageShowsInAHeartbeat(t *testing.T) { // W4
	o := newHost(t, 1)
	o.consumer(Config{Heartbeat: 5 * second, Policy: DeliverNew})
	o.listen(true)
	o.puts("a")
	require.Equal(t, []string{"1/1/0"}, o.sent())
	o.tell(o.model.move("c", "n1", 1))
	o.sent()
	o.pass(5 * second)
	require.Equal(t, []string{"Idle Heartbeat|Nats-Last-Consumer: 4294967298|Nats-Last-Stream: 1"}, o.sent())
}

func TestAMovedConsumerBeginsWithAJump(t *testing.T) { // 7.7
	o := newHost(t, 5)
	o.puts("a")
	o.elsewhere(ordered(Config{}), "answer")
	o.puts("a")
	require.Empty(t, o.sent(), "another node serves it")
	o.tell(o.model.move("c", "n1", 1))
	require.Empty(t, o.sent())
	o.listen(true)
	require.Equal(t, []string{"1/1/1", "2/8589934594/0"}, o.sent(), "at once")
	o.puts("a")
	require.Equal(t, []string{"3/8589934595/0"}, o.sent())
	require.True(t, o.answers["answer"].Made, "its client may wait for the answer that the first host did not give")
	o.tell(o.model.move("c", "n0", 1))
	o.puts("a")
	require.Empty(t, o.sent())
	require.Zero(t, o.hub().Serving())
}

// What tells a client that it may lack messages may be lost too: it is sent as long as the client may hear it. Before all is sent there is no heartbeat, which
// nats.js takes for the end of a list. Who still listens when every client that has heard nothing has asked anew is sent the rest.
func TestAMovedConsumerIsSentLittleUntilItsClientIsGone(t *testing.T) { // W2, W4
	o := newHost(t, 1)
	for i := range 60 {
		o.puts(fmt.Sprint("k", i))
	}
	o.elsewhere(ordered(Config{}), "")
	o.tell(o.model.move("c", "n1", 1))
	o.listen(true)
	require.Equal(t, []string{"1/1/2", "2/8589934594/1"}, o.sent())
	o.pass(second / 2)
	require.Empty(t, o.sent())
	o.listen(false)
	o.pass(second)
	require.Empty(t, o.sent(), "it has noticed")
	o.listen(true)
	var sent []string
	for seconds := 0; len(sent) < 58; seconds++ {
		require.Less(t, seconds, 3*deafFor*5)
		o.pass(second)
		sent = o.sent()
		require.NotContains(t, strings.Join(sent, " "), "Heartbeat")
		if len(sent) == doubtQuota {
			require.Equal(t, "1/1/2", sent[0], "also to who has got nothing yet")
			require.Regexp(t, "^2/8589934.../1$", sent[1])
		}
	}
	require.Len(t, sent, 58)
	require.Regexp(t, "^60/8589934.../0$", sent[57])
	o.pass(5 * second)
	require.Regexp(t, "^Idle Heartbeat.Nats-Last-Consumer: 8589934....Nats-Last-Stream: 60$", strings.Join(o.sent(), " "))
}

// One whose window so little fills is sent it again all the same: a client to which it was lost does not answer for it.
func TestAFullWindowDoesNotKeepAMovedConsumerSilent(t *testing.T) { // W2, 7.4
	o := newHost(t, 1, func(l *Limits) { l.Window = 1_000 })
	o.put("a", strings.Repeat("x", 600))
	o.put("b", strings.Repeat("x", 600))
	o.elsewhere(ordered(Config{}), "")
	o.tell(o.model.move("c", "n1", 1))
	o.listen(true)
	for range 3 {
		sent := o.sent()
		require.Len(t, sent, doubtQuota+1, "and it is asked how far it is")
		require.Equal(t, "1/1/1", sent[0])
		o.pass(second)
	}
}

// One that has been sent all is sent it again: the only message there is may be the one that was lost.
func TestTheOnlyMessageOfAMovedConsumerIsRepeated(t *testing.T) { // W2
	o := newHost(t, 1)
	o.elsewhere(ordered(Config{}), "")
	o.puts("a")
	o.tell(o.model.move("c", "n1", 1))
	o.listen(true)
	for range 3 {
		require.Equal(t, []string{"1/1/0"}, o.sent())
		o.pass(second)
	}
	o.puts("a")
	o.tell(o.model.expire(2))
	require.Equal(t, []string{"2/8589934594/0"}, o.sent(), "in time that shows too")
	o.pass(second)
	require.Empty(t, o.sent())
	o.pass(second)
	require.Equal(t, []string{"Idle Heartbeat|Nats-Last-Consumer: 0|Nats-Last-Stream: 2"}, o.sent(), "there is nothing that a client may lack")
	o.puts("a")
	require.Equal(t, []string{"3/1/0"}, o.sent())
}

// Of a consumer that begins with the newest of all the new host finds that first, and sends the newest of no other key.
func TestAMovedConsumerOfTheLastBeginsWithTheLast(t *testing.T) { // 7.1, 7.7
	o := newHost(t, 1)
	o.puts("a.x", "b.x")
	o.elsewhere(ordered(Config{Policy: DeliverLast, Filter: patterns("*.x")}), "")
	o.tell(o.model.move("c", "n1", 1))
	o.listen(true)
	require.Equal(t, []string{"2/1/0"}, o.sent())
}

// From a node that does not follow the log a client could not come back: nats.go tries it once in ten seconds.
func TestAMovedConsumerWaitsForTheLog(t *testing.T) {
	o := newHost(t, 1)
	o.puts("a")
	o.elsewhere(ordered(Config{}), "")
	o.tell(o.model.move("c", "n1", 1), Follows{})
	o.listen(true)
	o.pass(20 * second)
	require.Empty(t, o.sent())
	o.tell(Follows{Log: true})
	require.Equal(t, []string{"1/1/0"}, o.sent())
}

// A client may have more of an earlier host's than the next one has sent, all of it gone since. What is lost with a connection it notices all the same.
func TestWhatIsLostAfterAMoveShows(t *testing.T) {
	o := newHost(t, 5)
	o.elsewhere(ordered(Config{Policy: DeliverNew}), "")
	require.Empty(t, o.sent())
	o.tell(o.model.move("c", "n1", 1))
	o.listen(true)
	require.Empty(t, o.sent(), "it missed nothing")
	o.puts("a")
	require.Equal(t, []string{"1/1/0"}, o.sent())
	o.reconnect()
	o.puts("a")
	require.Equal(t, []string{"1/1/0", "2/8589934594/0"}, o.sent(), "above all that it can have")
}

// A client that wanted what is new, and has got nothing yet, would come back at the first entry (W3, K70), or, as nats.net and nats.java, miss what
// it lacks (W2). It takes the next message for what it is.
func TestAMovedConsumerWhoseClientHasNothing(t *testing.T) {
	for _, answer := range []string{"", "answer"} {
		for _, config := range []Config{{Policy: DeliverNew}, {Policy: DeliverByStartSequence, StartSequence: 2}} {
			for meanwhile, want := range map[string]string{"": "2/1/0", "other": "3/1/0", "a": "2/1/0 3/8589934594/0"} {
				t.Run(fmt.Sprintf("%s, policy %d, meanwhile %s", answer, config.Policy, meanwhile), func(t *testing.T) {
					o := newHost(t, 5)
					o.puts("a")
					config.Filter = patterns("a")
					o.elsewhere(ordered(config), answer)
					if meanwhile != "" {
						o.puts(meanwhile)
					}
					require.Empty(t, o.sent(), "another node serves it")
					o.tell(o.model.move("c", "n1", 1))
					o.listen(true)
					sent := o.sent()
					if answer != "" {
						state := o.answers["answer"]
						require.True(t, state.Made)
						require.Zero(t, state.Sequence-state.Base, "clients wait for so many messages")
					}
					o.puts("a")
					require.Equal(t, want, strings.Join(append(sent, o.sent()...), " "))
				})
			}
		}
	}
}

// Of one whose messages nobody has counted they are counted for who asks: nats.java waits for so many, nats.py ends at none.
func TestWhoAsksForAMovedConsumerIsToldExactly(t *testing.T) { // W2
	o := newHost(t, 1)
	ask := func() uint64 {
		o.tell(Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "told"})
		o.sent()
		s := o.answers["told"]
		return s.Sequence - s.Base + s.Pending
	}
	moved := func(keys ...string) {
		o = newHost(t, 1)
		o.puts(keys...)
		o.elsewhere(ordered(Config{}), "")
		o.tell(o.model.move("c", "n1", 1))
		o.step(o.peer)
		o.peer.interest("in.box", false)
		require.EqualValues(t, len(keys), ask())
		o.listen(true)
	}
	moved("a", "b", "c", "d")
	require.Equal(t, []string{"1/1/3", "2/8589934594/2"}, o.sent())
	require.EqualValues(t, 4, ask())
	o.pass(second)
	require.Equal(t, []string{"1/1/2", "2/8589934596/1"}, o.sent())
	require.EqualValues(t, 4, ask())
	moved("a", "b")
	require.Equal(t, []string{"1/1/1", "2/8589934594/0"}, o.sent())
	require.EqualValues(t, 3, ask(), "who may lack messages is never told that it has all")
}
