package watch

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Of a bucket that was empty when the consumer was made nothing is counted, so its client is told that it may have missed something (W2).
func TestAMovedConsumerOfAnEmptyBucketIsTold(t *testing.T) {
	for _, answer := range []string{"", "answer"} {
		o := newHost(t, 5)
		o.place(Record{Ref: Ref{Name: "c"}, Config: Config{Heartbeat: second, Inactive: 5 * second}, Deliver: "in.box", Answer: answer})
		o.tell(o.model.move("c", "n0", 1))
		o.put("a", "x")
		require.Empty(t, o.sent())
		o.tell(o.model.move("c", "n1", 1))
		o.listen(true)
		require.Equal(t, []string{"Idle Heartbeat|Nats-Last-Consumer: 8589934592|Nats-Last-Stream: 1"}, o.sent())
	}
}

// A client may have more of an earlier host's than the next one has sent, all of it gone since. What is lost with a connection it notices all the same.
func TestWhatIsLostAfterAMoveShows(t *testing.T) {
	o := newHost(t, 5)
	o.place(Record{Ref: Ref{Name: "c"}, Config: Config{Policy: DeliverNew, Heartbeat: second, Inactive: 5 * second}, Deliver: "in.box"})
	o.tell(o.model.move("c", "n0", 1))
	require.Empty(t, o.sent())
	o.tell(o.model.move("c", "n1", 1))
	o.listen(true)
	require.Empty(t, o.sent(), "it missed nothing")
	o.put("a", "x")
	require.Equal(t, []string{"1/1/0"}, o.sent())
	o.reconnect()
	require.Equal(t, []string{"Idle Heartbeat|Nats-Last-Consumer: 8589934594|Nats-Last-Stream: 1"}, o.sent(), "above all that it can have")
}

// A client that wanted what is new, and has got nothing yet, does not know where to come back: told that it may have missed something, it
// would get all that the bucket has (W3, K70). So it is told only if there is something that an earlier host may have sent.
func TestAMovedConsumerThatCanHaveMissedNothing(t *testing.T) {
	for name, answer := range map[string]string{"answered before": "", "not answered yet": "answer"} {
		for _, config := range []Config{{Policy: DeliverNew}, {Policy: DeliverByStartSequence, StartSequence: 2}} {
			for meanwhile, jumps := range map[string]bool{"": false, "other": false, "a": true} {
				t.Run(name+", meanwhile "+meanwhile, func(t *testing.T) {
					o := newHost(t, 5)
					o.put("a", "x")
					config.Heartbeat, config.Inactive, config.Filter = second, 5*second, patterns("a")
					o.place(Record{Ref: Ref{Name: "c"}, Config: config, Deliver: "in.box", Answer: answer})
					o.model.records["c"] = func(r Record) Record { r.Host = "n0"; return r }(o.model.records["c"])
					o.peer.events = []Event{Applied{o.model.index, nil}}
					if meanwhile != "" {
						o.put(meanwhile, "y")
					}
					require.Empty(t, o.sent(), "another node serves it")
					o.tell(o.model.move("c", "n1", 1))
					o.listen(true)
					beats := o.sent()
					require.Equal(t, jumps, len(beats) > 0, beats)
					if answer != "" {
						state := o.answers["answer"]
						require.True(t, state.Made)
						require.Zero(t, state.Sequence-state.Base, "clients wait for so many messages")
					}
					o.put("a", "z")
					want := strconv.FormatUint(o.model.sequence, 10) + "/1/0"
					if jumps {
						want = "3/4294967297/0"
					}
					require.Equal(t, []string{want}, o.sent())
				})
			}
		}
	}
}
