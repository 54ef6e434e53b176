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
	require.Equal(t, DefaultLimits().AsksMax, begin())
	o.listen(true)
	o.settle()
	require.Zero(t, o.hub().asksCounted)
}
