package watch

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// While nothing can be sent, no more answers are kept than a bound: who hears none asks again.
func TestAnswersThatWaitAreBounded(t *testing.T) {
	o := newHost(t, 5)
	o.consumer(Config{})
	o.listen(true)
	o.sent()
	o.disconnect(o.peer)
	for i := range 3_000 {
		o.peer.events = append(o.peer.events, Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: fmt.Sprint(i)})
	}
	o.step(o.peer)
	require.Equal(t, DefaultLimits().AsksMax, o.hub().answers.len())
}

// Nor are more kept for which it is counted what is to come, for which nothing is sent: that makes room for further counts, and not for their answers.
func TestAnswersThatWereCountedAreBounded(t *testing.T) { // Q12
	o := newPulled(t)
	most := DefaultLimits().AsksMax
	ask := func() {
		o.peer.events = append(o.peer.events, Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info"})
	}
	o.peer.room = 0
	for range 5 {
		for range most / 2 {
			ask()
		}
		o.pulled()
	}
	require.Equal(t, most, o.hub().answers.len())
	o.settle()
	require.Contains(t, o.answers, "info")
	delete(o.answers, "info")
	ask()
	o.settle()
	require.Contains(t, o.answers, "info", "there is room again")
}

// That somebody listens is told of a consumer that sends by itself: of one that is pulled from, how many wait.
func TestAPullConsumerIsBoundToNobody(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 9})
	require.Len(t, o.pulled(), 5)
	require.True(t, o.hub().consumers[Ref{testBucket, "c"}].listened)
	o.tell(Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info"})
	o.pulled()
	require.Equal(t, State{Sequence: 5, Stream: 5, Pulls: 1}, withoutRecord(o.answers["info"]))
}

// Who asked while a consumer was elsewhere, and it is back before the answer leaves, hears how much there is to come all the same: it is counted first.
func TestWhoComesBackIsCountedBeforeItIsToldOf(t *testing.T) { // W2
	o := newHost(t, 1)
	o.puts("a", "b")
	o.place(Record{Ref: Ref{Name: "c"}, Config: Config{Inactive: 5 * second}, Deliver: "of.c"})
	o.tell(Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info", Made: true})
	o.tell(o.model.move("c", "n9", 1))
	o.tell(o.model.move("c", o.peer.name, o.peer.boot))
	o.settle()
	require.Contains(t, o.answers, "info")
	require.EqualValues(t, 2, o.answers["info"].Pending)
	require.True(t, o.answers["info"].Made)
}

// Nor are more requests kept while it is counted what a consumer is to be sent.
func TestRequestsForWhatIsCountedAreBounded(t *testing.T) {
	o := newHost(t, 5)
	o.put("a", "x")
	o.consumer(Config{})
	o.listen(true)
	for i := range 3_000 {
		o.peer.events = append(o.peer.events, Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: fmt.Sprint(i)})
	}
	o.step(o.peer)
	c := o.hub().consumers[Ref{testBucket, "c"}]
	require.True(t, c.opening)
	require.Len(t, c.asks, DefaultLimits().AsksMax)
}

// However many consumers there are: the bound is for all of them together, and those that were answered, or whose consumer is gone, leave their room.
func TestRequestsForWhatIsCountedAreBoundedInAll(t *testing.T) {
	o := newHost(t, 5)
	o.put("a", "x")
	begin := func() (waiting int) {
		for _, name := range []string{"c", "d"} {
			o.place(Record{Ref: Ref{Name: name}, Config: Config{Inactive: 5 * second}, Deliver: "in.box", Answer: "answer"})
		}
		for i := range 3_000 {
			o.peer.events = append(o.peer.events, Asked{Ref: Ref{testBucket, []string{"c", "d"}[i%2]}, Index: o.model.index, Reply: fmt.Sprint(i)})
		}
		o.step(o.peer)
		for _, c := range o.hub().all {
			require.True(t, c.opening)
			waiting += len(c.asks)
		}
		return waiting
	}
	require.Equal(t, DefaultLimits().AsksMax, begin())
	o.tell(o.model.remove("c"))
	o.tell(o.model.remove("d"))
	o.settle() // who asked for them hears that
	require.Equal(t, DefaultLimits().AsksMax, begin())
	o.listen(true)
	o.settle()
	require.Zero(t, o.hub().asksCounted)
}

// A consumer that goes, or moves, while it is counted what it is to be sent: who made it and who asked for it hear that, and are not left to wait.
func TestWhoAskedForAConsumerThatGoesIsAnswered(t *testing.T) { // L9
	for _, bucket := range []bool{true, false} {
		o := newHost(t, 5)
		o.put("a", "x")
		o.consumer(Config{})
		o.peer.events = append(o.peer.events, Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info"})
		o.step(o.peer)
		require.True(t, o.hub().consumers[Ref{testBucket, "c"}].opening)
		require.Empty(t, o.answers)
		if bucket {
			o.tell(o.model.applied(BucketGone{testBucket}))
		} else {
			o.tell(o.model.remove("c"))
		}
		o.settle()
		require.True(t, o.answers["answer"].Missing)
		require.True(t, o.answers["answer"].Made)
		require.True(t, o.answers["info"].Missing)
	}
	o := newHost(t, 5)
	o.put("a", "x")
	o.consumer(Config{})
	o.peer.events = append(o.peer.events, Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info"})
	o.step(o.peer)
	o.tell(o.model.move("c", "n2", 1))
	o.settle()
	require.True(t, o.answers["info"].Missing, "it is another's now")
	require.NotContains(t, o.answers, "answer", "whom the other answers")
}

// Who asked before this node had the consumer is answered too, if it hears of the consumer by all that there are.
func TestWhoAskedAheadIsAnsweredOnceAllIsHeard(t *testing.T) { // L9
	o := newHost(t, 5)
	o.consumer(Config{})
	o.peer.events = nil // as what a snapshot holds
	o.tell(Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info"})
	o.settle()
	require.Empty(t, o.answers)
	o.tell(Reset{o.model.index, o.model.all()})
	o.settle()
	require.Contains(t, o.answers, "info")
}
