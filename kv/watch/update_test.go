package watch

// Consumers that are there, and are asked for again.

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAConsumerIsUpdatedInPlace(t *testing.T) { // 7.1
	o := newHost(t, 5)
	o.put("a", "x")
	o.consumer(Config{Policy: DeliverNew})
	o.listen(true)
	o.sent()
	o.put("a", "y")
	o.put("b", "y")
	require.Equal(t, []string{"2/1/0", "3/2/0"}, o.sent())
	r := o.model.records["c"]
	r.Config.Filter, r.Config.HeadersOnly = patterns("b"), true
	o.tell(o.model.change(r))
	require.Empty(t, o.sent(), "it goes on where it is")
	require.Equal(t, State{Made: true, Sequence: 2, Stream: 3, Bound: true}, withoutRecord(o.answers["answer"]))
	o.put("a", "z")
	o.put("b", "z")
	require.Equal(t, []string{"5/3/0"}, o.sent())
	r.Deliver = "other.box"
	o.tell(o.model.change(r))
	o.put("b", "z")
	require.Empty(t, o.sent())
	o.heard["other.box"] = true
	o.peer.interest("other.box", true)
	o.sent()
	require.Equal(t, uint64(4), o.sentOn["other.box"])
	require.Equal(t, State{Made: true, Sequence: 3, Stream: 5}, withoutRecord(o.answers["answer"]))
	require.Len(t, o.hub().delivers, 1)
	require.Len(t, o.hub().rings[0].groups, 1)
}

// A consumer whose record says that it is pulled from now on sends nothing by itself, and begins anew: who pulls knows nothing of what was sent.
func TestAConsumerThatIsPulledFromNowOnBeginsAnew(t *testing.T) {
	o := newHost(t, 5)
	o.put("a", "x")
	o.put("b", "x")
	o.put("c", "x")
	o.consumer(Config{})
	o.listen(true)
	require.Equal(t, []string{"1/1/2", "2/2/1", "3/3/0"}, o.sent())
	r := o.model.records["c"]
	r.Config.Pull, r.Deliver = true, PullDeliver
	o.tell(o.model.change(r))
	require.Empty(t, o.pulled())
	o.pull(Pulled{Batch: 2})
	require.Equal(t, []string{"1/1/2", "2/2/1"}, o.pulled())
}

// A pull consumer that is given another filter says what there is by that: what nobody has pulled yet too.
func TestAPullConsumerWithAnotherFilterSaysWhatItHasToCome(t *testing.T) {
	o := newHost(t, 5)
	o.put("a", "x")
	o.puller(Config{Filter: patterns("a")})
	o.listen(true)
	require.Empty(t, o.pulled())
	o.pull(Pulled{Batch: 1})
	require.Equal(t, []string{"1/1/0"}, o.pulled())
	o.put("a", "y")
	r := o.model.records["c"]
	r.Config.Filter, r.Answer = patterns(">"), "again"
	o.tell(o.model.change(r))
	require.Empty(t, o.pulled())
	require.Equal(t, uint64(1), o.answers["again"].Pending)
	o.pull(Pulled{Batch: 1})
	require.Equal(t, []string{"2/2/0"}, o.pulled())
}

// What is to come to a consumer that is behind, and is given another filter, is counted by that: what was stored for the one before says nothing of it.
func TestAConsumerWithAnotherFilterSaysWhatItHasToCome(t *testing.T) { // W2
	o := newHost(t, 5)
	o.consumer(Config{Policy: DeliverNew, Filter: patterns("a")})
	o.listen(true)
	o.sent()
	o.puts("a", "a")
	require.Equal(t, []string{"1/1/0", "2/2/0"}, o.sent())
	o.listen(false)
	o.puts("a") // it falls behind
	require.Empty(t, o.sent())
	r := o.model.records["c"]
	r.Config.Filter = patterns("b")
	o.tell(o.model.change(r))
	require.Empty(t, o.sent())
	o.puts("b", "b")
	require.Empty(t, o.sent())
	o.listen(true)
	require.Equal(t, []string{"4/3/1", "5/4/0"}, o.sent())
}

// A consumer that nobody has listened to for long, and that is asked for again, is not removed before somebody could: that is counted anew.
func TestAnIdleConsumerThatIsAskedForAgainIsNotIdle(t *testing.T) { // 7.2
	o := newHost(t, 1)
	o.consumer(Config{})
	o.sent()
	o.pass(5 * second)
	o.sent()
	require.Len(t, o.hub().Idle(10), 1)
	o.tell(o.model.change(o.model.records["c"]))
	o.sent()
	o.pass(4 * second)
	o.sent()
	require.Empty(t, o.hub().Idle(10))
	o.pass(second)
	o.sent()
	require.Len(t, o.hub().Idle(10), 1)
}

func TestWhoAsksForAConsumerAgainGetsNothingTwice(t *testing.T) { // W1
	for name, policy := range map[string]Config{"all": {}, "by time": {Policy: DeliverByStartTime, StartTime: 1_000}} {
		t.Run(name, func(t *testing.T) {
			o := newHost(t, 1, pages)
			for i := range 8 {
				o.put(fmt.Sprintf("k%d", i), "x")
			}
			o.consumer(policy)
			again := func(answer string) {
				r := o.model.records["c"]
				r.Answer = answer
				o.tell(o.model.change(r))
			}
			again("early") // before the first is answered
			o.listen(true)
			o.step(o.peer)
			o.step(o.peer)
			o.answerRead(o.peer)
			o.step(o.peer)
			require.Equal(t, "2/2/6", short(o.peer.effects.Send[len(o.peer.effects.Send)-1]), "in the midst of the snapshot, one held back and a page on its way")
			again("midst")
			require.Equal(t, []string{"3/3/5", "4/4/4", "5/5/3", "6/6/2", "7/7/1", "8/8/0"}, o.sent())
			again("head")
			require.Empty(t, o.sent())
			require.Equal(t, [4]uint64{8, 8, 6, 0}, [4]uint64{o.answers["answer"].Pending, o.answers["early"].Pending, o.answers["midst"].Pending, o.answers["head"].Pending})
			o.put("k", "x")
			require.Equal(t, []string{"9/9/0"}, o.sent())
		})
	}
}

func TestAMovedConsumerAskedForAgainGoesOn(t *testing.T) { // W1
	o := newHost(t, 5)
	o.put("a", "x")
	o.consumer(Config{Heartbeat: second})
	o.listen(true)
	o.sent()
	o.tell(o.model.move("c", "n2", 1))
	o.sent()
	o.tell(o.model.move("c", "n1", o.peer.boot))
	o.sent()
	o.put("a", "y")
	require.Equal(t, []string{"2/8589934595/0"}, o.sent())
	o.tell(o.model.change(o.model.records["c"]))
	require.Empty(t, o.sent())
	o.put("a", "z")
	require.Equal(t, []string{"3/8589934596/0"}, o.sent())
}

// While the new host of a consumer counts what there is, others may ask for that too: they hear it like who made it, and nobody that nothing is to come.
func TestWhoAsksWhileAMovedConsumerIsCountedHearsTheSame(t *testing.T) { // W2
	o := newHost(t, 5)
	for i := range 8 {
		o.put(fmt.Sprintf("k%d", i), "x")
	}
	o.consumer(Config{Heartbeat: second})
	o.tell(o.model.move("c", "n1", o.peer.boot))
	o.step(o.peer)
	o.tell(Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "again", Made: true})
	o.listen(true)
	o.sent()
	require.EqualValues(t, 8, o.answers["answer"].Pending)
	require.EqualValues(t, 8, o.answers["again"].Pending)
}

// The new host of a consumer that begins at a time begins there too.
func TestAMovedConsumerBeginsAtItsTime(t *testing.T) { // 7.1
	o := newHost(t, 5)
	for range 8 {
		o.put("a", "x")
	}
	o.consumer(Config{Policy: DeliverByStartTime, StartTime: 7_000})
	o.listen(true)
	require.Equal(t, []string{"7/1/1", "8/2/0"}, o.sent())
	o.tell(o.model.move("c", "n1", o.peer.boot))
	require.Equal(t, []string{"7/4294967298/1", "8/4294967299/0"}, o.sent())
}

// Who is asked for again when the connection was lost is told that something is to come: what was sent may be lost, and its client is yet to hear of that.
func TestAConsumerAskedForAgainAfterALossIsNotComplete(t *testing.T) { // W2
	o := newHost(t, 1)
	o.put("a", "x")
	o.consumer(Config{Heartbeat: second, FlowControl: true})
	o.listen(true)
	require.Equal(t, []string{"1/1/0"}, o.sent())
	o.disconnect(o.peer)
	r := o.model.records["c"]
	r.Answer = "again"
	o.tell(o.model.change(r))
	o.step(o.peer)
	o.connect(o.peer)
	o.listen(true)
	o.sent()
	require.EqualValues(t, 1, o.answers["again"].Pending)
}
