package watch

// Pull consumers, rule by rule: section 7.6 of the specification. Their client pulls to in.box.

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// puller makes a pull consumer c.
func (o *oneHost) puller(config Config) {
	config.Pull, config.Inactive = true, 5*second
	o.place(Record{Ref: Ref{Name: "c"}, Config: config, Deliver: PullDeliver, Answer: "answer"})
}

func (o *oneHost) pull(p Pulled) {
	p.Ref, p.Host, p.Index = Ref{testBucket, "c"}, o.peer.name, o.model.index
	if p.Reply == "" {
		p.Reply = "in.box"
	}
	if p.Waiting == 0 {
		p.Waiting = 512
	}
	o.tell(p)
}

// pulled is what comes to in.box: as sent, or the lines of a status.
func (o *oneHost) pulled() (list []string) {
	o.t.Helper()
	for busy := true; busy; {
		for len(o.peer.reads) > 0 {
			o.answerRead(o.peer)
		}
		busy = o.step(o.peer)
		for _, s := range o.peer.effects.Send {
			switch status, is := strings.CutPrefix(string(s.Header), "NATS/1.0 "); {
			case s.Subject != "in.box":
			case is && s.Reply == "":
				list = append(list, strings.ReplaceAll(strings.TrimSuffix(status, "\r\n\r\n"), "\r\n", "|"))
			default:
				list = append(list, short(s))
			}
		}
		busy = busy || len(o.peer.reads) > 0
	}
	return list
}

// newPulled is a host with a pull consumer of five entries, and somebody who listens.
func newPulled(t *testing.T) *oneHost {
	o := newHost(t, 1)
	for i := range 5 {
		o.put(fmt.Sprint(i), "v")
	}
	o.puller(Config{})
	o.listen(true)
	require.Empty(t, o.pulled(), "nobody has asked")
	require.Equal(t, uint64(5), o.answers["answer"].Pending)
	return o
}

func TestAPullIsServedAsFarAsItAsks(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 2})
	require.Equal(t, []string{"1/1/4", "2/2/3"}, o.pulled())
	o.pull(Pulled{})
	require.Equal(t, []string{"3/3/2"}, o.pulled(), "one, if it does not say")
	o.pull(Pulled{Batch: 3})
	require.Equal(t, []string{"4/4/1", "5/5/0"}, o.pulled())
	o.put("5", "v")
	o.put("6", "v")
	require.Equal(t, []string{"6/6/0"}, o.pulled(), "of which the first waited for it")
	o.pull(Pulled{Batch: 1, Expires: second})
	require.Equal(t, []string{"7/7/0"}, o.pulled())
}

func TestPullsAreServedOneAfterTheOther(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 2, Reply: "other.box"})
	o.pull(Pulled{Batch: 9})
	require.Empty(t, o.pulled(), "nobody listens to the first")
	o.heard["other.box"] = true
	o.peer.interest("other.box", true)
	require.Equal(t, []string{"3/3/2", "4/4/1", "5/5/0"}, o.pulled())
	require.Equal(t, uint64(2), o.sentOn["other.box"])
}

func TestAPullToNobodyIsForgotten(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 2, Reply: "other.box"})
	o.pull(Pulled{Batch: 1})
	o.pulled()
	o.pass(2*second - 1) // long enough to hear of who listens, which comes another way
	require.Empty(t, o.pulled())
	o.pass(1)
	require.Equal(t, []string{"1/1/4"}, o.pulled())
	require.Zero(t, o.sentOn["other.box"])
}

// A client may leave as many behind as may wait: none is left, though each of them is behind others.
func TestPullsToNobodyAreForgottenTogether(t *testing.T) { // Q12
	for name, reply := range map[string]func(int) string{
		"of one reply":     func(int) string { return "other.box" },
		"of many replies":  func(i int) string { return fmt.Sprint("other.box.", i) },
		"of two, in turns": func(i int) string { return fmt.Sprint("other.box.", i%2) },
	} {
		o := newPulled(t)
		for i := range 100 {
			o.pull(Pulled{Batch: 1, Expires: 3_600 * second, Heartbeat: 1, Reply: reply(i)})
		}
		o.pull(Pulled{Batch: 9})
		require.Empty(t, o.pulled())
		o.pass(hearWithin - 1)
		o.step(o.peer)
		beats := len(o.peer.effects.Send)
		require.Zero(t, beats, "nobody listens")
		require.Equal(t, 101, o.hub().waiting)
		o.pass(1)
		require.Len(t, o.pulled(), 5, name)
		require.Equal(t, 1, o.hub().waiting, name)
		require.Len(t, o.hub().delivers, 1, name)
		o.tell(o.model.remove("c"))
		o.pulled()
		require.Zero(t, o.hub().waiting, name)
		require.Empty(t, o.hub().delivers, name)
		require.Empty(t, o.hub().listened, name)
	}
}

// Who waits behind another has heartbeats all the same, and is forgotten once nobody listens.
func TestWhoWaitsBehindAnotherIsHeardOf(t *testing.T) {
	o := newPulled(t)
	o.heard["other.box"] = true
	o.pull(Pulled{Batch: 9})
	o.pull(Pulled{Batch: 9, Expires: 10 * second, Heartbeat: second, Reply: "other.box"})
	require.Len(t, o.pulled(), 5)
	o.pass(second)
	o.step(o.peer)
	require.Len(t, o.peer.effects.Send, 1)
	require.Equal(t, "other.box", o.peer.effects.Send[0].Subject)
	o.heard["other.box"] = false
	o.peer.interest("other.box", false)
	o.pulled()
	o.pass(hearWithin)
	o.step(o.peer)
	require.Empty(t, o.peer.effects.Send)
	require.Equal(t, 1, o.hub().waiting)
}

// While the leaf connection is down nobody can know whether somebody listens: that is counted from when it is up.
func TestAPullToNobodyThatCameWithoutALeafIsForgotten(t *testing.T) {
	o := newPulled(t)
	o.disconnect(o.peer)
	o.pull(Pulled{Batch: 2, Reply: "other.box"})
	o.pull(Pulled{Batch: 1})
	require.Empty(t, o.pulled())
	o.pass(2 * hearWithin)
	require.Empty(t, o.pulled())
	o.connect(o.peer)
	require.Empty(t, o.pulled())
	o.pass(hearWithin)
	require.Equal(t, []string{"1/1/4"}, o.pulled())
}

// Who is heard of in time, and waits for what is not there yet, is not forgotten.
func TestAPullWhoseInboxIsHeardOfLaterWaits(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 9, Reply: "other.box"})
	require.Empty(t, o.pulled())
	o.pass(hearWithin / 2)
	o.heard["other.box"] = true
	o.peer.interest("other.box", true)
	o.pulled()
	require.Equal(t, uint64(5), o.sentOn["other.box"])
	o.pass(hearWithin)
	o.pulled()
	o.put("6", "v")
	o.pulled()
	require.Equal(t, uint64(6), o.sentOn["other.box"])
}

func TestAPullHasWhatFitsIntoItsBytes(t *testing.T) {
	o := newPulled(t)
	size := len("$JS.ACK.KV_b.c.1.1.1.1000.4") + len("$KV.b.0") + 1
	o.pull(Pulled{Batch: 9, Bytes: 2 * size})
	require.Equal(t, []string{"1/1/4", "2/2/3"}, o.pulled(), "exactly")
	o.pull(Pulled{Batch: 9, Bytes: size + 1})
	require.Equal(t, []string{"3/3/2", "409 Message Size Exceeds MaxBytes|Nats-Pending-Messages: 8|Nats-Pending-Bytes: 1"}, o.pulled())
	o.pull(Pulled{Batch: 1, Bytes: 10 * size})
	require.Equal(t, []string{"4/4/1", fmt.Sprintf("409 Batch Completed|Nats-Pending-Messages: 0|Nats-Pending-Bytes: %d", 9*size)}, o.pulled())
	o.pull(Pulled{Batch: 1, Bytes: 1})
	o.pull(Pulled{Batch: 1})
	require.Equal(t, []string{"409 Message Size Exceeds MaxBytes|Nats-Pending-Messages: 1|Nats-Pending-Bytes: 1", "5/5/0"}, sorted(o.pulled()))
}

// sorted has statuses before messages: nothing says which of two requests is answered first.
func sorted(list []string) (all []string) {
	for _, text := range list {
		if strings.Contains(text, "|") {
			all = append(all, text)
		}
	}
	for _, text := range list {
		if !strings.Contains(text, "|") {
			all = append(all, text)
		}
	}
	return all
}

func TestAPullThatDoesNotWait(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 9, NoWait: true})
	require.Equal(t, []string{"1/1/4", "2/2/3", "3/3/2", "4/4/1", "5/5/0", statusNoMessages}, o.pulled())
	o.pull(Pulled{Batch: 9, NoWait: true})
	require.Equal(t, []string{statusNoMessages}, o.pulled())
	o.pull(Pulled{Batch: 9, NoWait: true, Expires: second})
	require.Empty(t, o.pulled(), "it waits for the first")
	o.put("5", "v")
	require.Equal(t, []string{"6/6/0", statusNoMessages}, o.pulled())
}

func TestAPullExpires(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 9, Bytes: 100_000, Expires: second, Heartbeat: second / 2})
	require.Len(t, o.pulled(), 5)
	o.pass(second / 2)
	require.Equal(t, []string{"100 Idle Heartbeat|Nats-Last-Consumer: 5|Nats-Last-Stream: 5"}, o.pulled())
	o.pass(second/2 - 1)
	require.Empty(t, o.pulled())
	o.pass(1)
	got := o.pulled()
	require.Len(t, got, 1)
	require.Contains(t, got[0], "408 Request Timeout|Nats-Pending-Messages: 4|Nats-Pending-Bytes: 99")
	o.put("5", "v")
	require.Empty(t, o.pulled())
}

// A time that is past when the request comes ends it at once. Only 0 is for ever.
func TestAPullWhoseTimeIsPastExpires(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 9, Expires: -second})
	require.Len(t, o.pulled(), 5)
	o.pass(1)
	require.Len(t, o.pulled(), 1)
	o.pull(Pulled{Batch: 9})
	o.pass(second)
	require.Empty(t, o.pulled())
}

func TestANodeThatDoesNotFollowTheLogHasNoHeartbeatsForWhoPulls(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 9, Expires: 10 * second, Heartbeat: second})
	require.Len(t, o.pulled(), 5)
	o.tell(Follows{false})
	o.pass(2 * second)
	require.Empty(t, o.pulled())
	o.tell(Follows{true})
	o.pass(2 * second)
	require.Len(t, o.pulled(), 1)
}

func TestSoManyPullsWait(t *testing.T) { // Q12
	o := newPulled(t)
	o.pull(Pulled{Batch: 100, Waiting: 1})
	o.pull(Pulled{Batch: 1, Waiting: 1})
	require.Contains(t, o.pulled(), statusMaxWaiting)
	o.pull(Pulled{Batch: 1, Waiting: 1, Heartbeat: second, Expires: 10 * second})
	require.Empty(t, o.pulled(), "who has heartbeats misses them")
	for range pullsMax + 10 {
		o.pull(Pulled{Batch: 1, Waiting: 1 << 20})
	}
	require.Len(t, o.pulled(), 11)
	require.Len(t, o.hub().consumers[Ref{testBucket, "c"}].pulls, pullsMax)
	o.peer.room = 0
	o.tell(o.model.remove("c"))
	o.pulled()
	require.Equal(t, pullsMax, o.hub().statuses.len())
	o.pull(Pulled{Batch: 1})
	o.pulled()
	require.Equal(t, pullsMax, o.hub().statuses.len(), "no more answers wait than that")
	require.Zero(t, o.hub().waiting)
}

// What has ended counts no longer.
func TestPullsThatEndedAreNoneThatWait(t *testing.T) { // Q12
	o := newPulled(t)
	o.pull(Pulled{Batch: 5})
	o.pull(Pulled{Batch: 1, NoWait: true})
	o.pull(Pulled{Batch: 1, Expires: second})
	require.Len(t, o.pulled(), 6)
	require.Equal(t, 1, o.hub().waiting)
	o.pass(second)
	require.Len(t, o.pulled(), 1)
	require.Zero(t, o.hub().waiting)
}

func TestAPullConsumerThatNobodyPullsFromIsIdle(t *testing.T) {
	o := newPulled(t)
	o.pass(5*second - 1)
	o.pull(Pulled{Batch: 9, NoWait: true})
	require.Len(t, o.pulled(), 6)
	o.pass(4 * second)
	o.pull(Pulled{Batch: 9, NoWait: true})
	require.Len(t, o.pulled(), 1)
	o.pass(4 * second)
	require.Empty(t, o.pulled())
	require.Empty(t, o.hub().Idle(9), "which counts too")
	o.pull(Pulled{Batch: 9, Expires: 20 * second})
	o.pulled()
	o.pass(19 * second)
	o.pulled()
	require.Empty(t, o.hub().Idle(9), "one waits")
	o.pass(second)
	require.Len(t, o.pulled(), 1)
	o.pass(5*second - 1)
	o.pulled()
	require.Empty(t, o.hub().Idle(9))
	o.pass(1)
	o.pulled()
	require.Len(t, o.hub().Idle(9), 1)
}

// What is to come is counted anew for who asks: it may be gone since.
func TestWhatAPullConsumerHasToComeIsExact(t *testing.T) {
	o := newPulled(t)
	o.pull(Pulled{Batch: 2})
	o.pulled()
	o.put("3", "again")
	o.put("3", "and again")
	o.put("5", "v")
	o.tell(o.model.expire(3))
	o.tell(Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info"})
	o.pull(Pulled{Batch: 1, Reply: "other.box"})
	o.settle()
	state := o.answers["info"]
	require.Equal(t, []uint64{2, 2, 3, 1}, []uint64{state.Sequence, state.Stream, state.Pending, uint64(state.Pulls)})
	require.False(t, state.Bound, "nothing is pushed")
	o.heard["other.box"] = true
	o.peer.interest("other.box", true)
	o.pull(Pulled{Batch: 9})
	require.Equal(t, []string{"7/4/1", "8/5/0"}, o.pulled())
}

func TestWhoPullsFromAConsumerThatGoesIsTold(t *testing.T) {
	for name, ends := range map[string]func(o *oneHost){
		"removed":     func(o *oneHost) { o.tell(o.model.remove("c")) },
		"bucket gone": func(o *oneHost) { o.tell(o.model.applied(BucketGone{testBucket})) },
		"moved":       func(o *oneHost) { o.tell(o.model.move("c", "n9", 1)) },
		"moved here":  func(o *oneHost) { o.tell(o.model.move("c", "n1", 1)) },
		"leaf": func(o *oneHost) {
			o.disconnect(o.peer)
			o.settle()
			o.connect(o.peer)
		},
	} {
		o := newPulled(t)
		o.pull(Pulled{Batch: 9})
		require.Len(t, o.pulled(), 5)
		ends(o)
		o.put("9", "v")
		require.Equal(t, []string{statusDeleted}, o.pulled(), name)
		o.pull(Pulled{Batch: 9})
		require.Equal(t, []string{statusDeleted}, o.pulled(), name)
	}
}

// A pull consumer that lost its place is over, and who makes it, asks for its state or waits for a lost host's answer hears of it.
func TestAPullConsumerThatWasMovedIsOver(t *testing.T) {
	o := newPulled(t)
	o.tell(o.model.move("c", "n9", 1))
	o.pulled()
	o.tell(Pulled{Ref: Ref{testBucket, "c"}, Host: "n9", Index: o.model.index, Batch: 1, Reply: "in.box"})
	require.Empty(t, o.pulled(), "its host answers")
	o.tell(o.model.move("c", "n1", 1))
	require.Equal(t, []string{statusDeleted}, o.pulled(), "and now it is gone")
	require.True(t, o.answers["answer"].Missing)
	o.tell(Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info"})
	o.put("9", "v")
	require.Empty(t, o.pulled())
	require.True(t, o.answers["info"].Missing)
	require.Len(t, o.hub().Idle(9), 1, "it is to be removed")
}

func TestWhoPulledElsewhereIsRememberedForAWhile(t *testing.T) { // Q12
	var a askers
	for i := range 10 * askersMin {
		a.add(Ref{1, fmt.Sprint(i)}, "r")
	}
	require.LessOrEqual(t, len(a.young)+len(a.old), 2*askersMin)
	require.Equal(t, "r", a.take(Ref{1, fmt.Sprint(9*askersMin - 1)}))
	require.Empty(t, a.take(Ref{1, fmt.Sprint(9*askersMin - 1)}))
	require.Empty(t, a.take(Ref{1, "0"}))
}

// A pull for what is not applied yet waits, as many others do.
func TestAPullWaitsForItsIndex(t *testing.T) { // Q12
	o := newPulled(t)
	for range 2 * DefaultLimits().AsksMax {
		o.tell(Pulled{Ref: Ref{testBucket, "c"}, Host: "n1", Index: o.model.index + 1, Batch: 1, Reply: "in.box", Waiting: 512})
	}
	told := o.pulled()
	require.Len(t, told, DefaultLimits().AsksMax)
	require.Equal(t, statusMaxWaiting, told[0], "none goes without an answer")
	require.True(t, o.hub().Waiting())
	require.Len(t, o.hub().pulls, DefaultLimits().AsksMax)
	o.put("5", "v")
	require.NotEmpty(t, o.pulled())
	require.False(t, o.hub().Waiting())
}

func TestPullConsumersAreGivenToHostsThatKnowThem(t *testing.T) {
	p := NewPlacer("n1")
	p.Hear(second, Announcement{Node: "n1", Boot: 1, Able: true})
	_, _, ok := p.Choose(second, true)
	require.False(t, ok, "an earlier release")
	p.Hear(second, Announcement{Node: "n2", Boot: 1, Able: true, Pulls: true})
	require.True(t, p.Pulls("n2"))
	require.False(t, p.Pulls("n1"))
	require.True(t, p.Pulls("n3"), "nothing was heard of it")
	for range 4 {
		host, _, ok := p.Choose(second, true)
		require.True(t, ok)
		require.Equal(t, "n2", host)
	}
	p.Lead(true)
	p.Apply([]Change{Placed{Record{Ref: Ref{1, "c"}, Config: Config{Pull: true}, Host: "n9", Boot: 1, Created: 1}}})
	moves := p.Tick(second + lostAfter/2).Moves
	require.Empty(t, moves)
	for now := second; now < 2*second; now += second / 10 {
		p.Hear(now, Announcement{Node: "n1", Boot: 1, Able: true})
		p.Hear(now, Announcement{Node: "n2", Boot: 1, Able: true, Pulls: true})
		moves = append(moves, p.Tick(now).Moves...)
	}
	require.Len(t, moves, 1)
	require.Equal(t, "n2", moves[0].Host)
}

// While nobody pulls nothing is kept to be sent: it may be gone when somebody does.
func TestWhatIsGoneIsNotPulled(t *testing.T) { // W1
	o := newPulled(t)
	o.pull(Pulled{Batch: 2})
	require.Len(t, o.pulled(), 2)
	o.put("2", "again")
	o.pull(Pulled{Batch: 3})
	require.Equal(t, []string{"4/3/2", "5/4/1", "6/5/0"}, o.pulled())
	o.pull(Pulled{Batch: 1, Expires: second})
	require.Empty(t, o.pulled())
	o.pass(second)
	require.Len(t, o.pulled(), 1)
	o.put("2", "and again")
	o.put("2", "for the last time")
	o.pull(Pulled{Batch: 9})
	require.Equal(t, []string{"8/6/0"}, o.pulled())
}

// Nor is what did not fit into the bytes that were asked for.
func TestWhatDidNotFitAndIsGoneIsNotPulled(t *testing.T) { // W1
	o := newPulled(t)
	o.pull(Pulled{Batch: 1, Bytes: 1})
	require.Len(t, o.pulled(), 1)
	o.tell(o.model.expire(1))
	o.pull(Pulled{Batch: 1})
	require.Equal(t, []string{"2/1/3"}, o.pulled())
}

// The newest of each key is judged as of when the consumer was made, if there was anything: all that came since counts.
func TestWhatComesIntoAnEmptyBucketIsPulled(t *testing.T) { // W2
	o := newHost(t, 2)
	o.puller(Config{Policy: DeliverLastPerSubject})
	o.listen(true)
	o.put("k", "v")
	o.put("k", "w")
	o.tell(Asked{Ref: Ref{testBucket, "c"}, Index: o.model.index, Reply: "info"})
	o.settle()
	require.Equal(t, uint64(2), o.answers["info"].Pending)
	o.pull(Pulled{Batch: 9})
	require.Equal(t, []string{"1/1/1", "2/2/0"}, o.pulled())
}

// What another host is asked for is not sent from here.
func TestWhatIsPulledFromAnotherHostIsNotSent(t *testing.T) {
	o := newPulled(t)
	o.tell(Pulled{Ref: Ref{testBucket, "c"}, Host: "n2", Index: o.model.index, Reply: "in.box", Batch: 1, Waiting: 512})
	require.Empty(t, o.pulled())
}
