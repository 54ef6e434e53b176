package watch

// The end of the initial values: what is to come is told exactly when it is nothing, whatever is dropped or written again meanwhile.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/subject"
)

// pages makes pages of three entries.
func pages(l *Limits) { l.PageMax = 3 }

// firstPage makes a consumer that is listened to, and has the hub take the first page that it reads for it. What comes meanwhile is in that.
func (o *oneHost) firstPage(config Config, meanwhile ...func()) {
	o.consumer(config)
	for _, f := range meanwhile {
		f()
	}
	o.listen(true)
	o.step(o.peer)
	o.step(o.peer) // with what is known of interest
	o.answerRead(o.peer)
	o.step(o.peer)
}

func TestPendingEndsWithZeroWhateverIsDropped(t *testing.T) { // 7.2
	o := newHost(t, 1, pages)
	for i := range 8 {
		o.put(fmt.Sprintf("k%d", i), "x")
	}
	o.firstPage(Config{})
	require.Len(t, o.peer.effects.Send, 3, "the answer, and all of the first page but one entry")
	require.Equal(t, uint64(8), o.answers["answer"].Pending)
	require.Equal(t, "2/2/6", short(o.peer.effects.Send[2]))
	o.peer.reads = nil
	o.tell(o.model.purge())
	for id := range o.hub().reads { // what comes next is read after the purge
		o.peer.events = append(o.peer.events, PageRead{id, Page{From: 4, Next: 9, Done: true, Last: 8, Applied: o.model.index}})
	}
	require.Equal(t, []string{"3/3/0"}, o.sent())
}

// A consumer that goes is none of those any more whose expectations are lowered: they would be as many as there ever were.
func TestAConsumerThatGoesExpectsNothing(t *testing.T) { // L9
	o := newHost(t, 1)
	o.puts("a")
	o.consumer(Config{})
	o.place(Record{Ref: Ref{Name: "another"}, Deliver: "nobody"})
	o.settle()
	stays := o.hub().consumers[Ref{testBucket, "another"}]
	require.Len(t, stays.group.loading.list, 2)
	o.tell(o.model.remove("c"))
	o.settle()
	require.Equal(t, []*consumer{stays}, stays.group.loading.list)
}

func TestWhatIsDroppedIsNotExpectedAnyMore(t *testing.T) { // 7.2
	o := newHost(t, 1, pages)
	for i := range 9 {
		o.put(fmt.Sprintf("k%d", i), "x")
	}
	o.firstPage(Config{Policy: DeliverLastPerSubject})
	o.put("k8", "newer")
	o.tell(o.model.expire(8))
	require.Equal(t, []string{"3/3/5", "4/4/4", "5/5/3", "6/6/2", "7/7/1", "10/8/0"}, o.sent(), "9 was overwritten by 10, 8 has expired")
}

// However much of a bucket is others': what a filter lets through is found by the keys, so that its last message goes at once. A client would hear nothing while
// it is held back, and begin again.
func TestWhatIsSeldomOfAFilterIsFoundByTheKeys(t *testing.T) { // W2
	for _, policy := range []Policy{DeliverAll, DeliverLastPerSubject} {
		o := newHost(t, 1)
		o.model.look = 1
		o.put("a.cfg", "x")
		for i := range 1_000 {
			o.put(fmt.Sprintf("k%d", i), "x")
		}
		o.consumer(Config{Policy: policy, Filter: patterns("*.cfg")})
		o.settle() // nobody listens when it is counted
		require.Equal(t, uint64(1), o.answers["answer"].Pending)
		o.listen(true)
		before := o.hub().readLast
		require.Equal(t, []string{"1/1/0"}, o.sent())
		require.LessOrEqual(t, o.hub().readLast-before, uint64(8), "of some MiB each, which are passed over before the client hears anything")
	}
}

// The store may be ahead of the feed: what was gone already when it was counted is not taken off again when the hub hears of it.
func TestWhatWasGoneWhenItWasCountedIsTakenOffOnce(t *testing.T) { // 7.2
	o := newHost(t, 1, pages)
	for i := range 9 {
		o.put(fmt.Sprintf("k%d", i), "x")
	}
	o.consumer(Config{})
	o.listen(true)
	o.step(o.peer)
	o.step(o.peer)
	expired := o.model.expire(8)
	o.answerRead(o.peer)
	o.step(o.peer)
	require.Equal(t, uint64(8), o.answers["answer"].Pending)
	o.tell(expired)
	require.Equal(t, []string{"3/3/5", "4/4/4", "5/5/3", "6/6/2", "7/7/1", "9/8/0"}, o.sent())
}

// A key that is there all the time is among the initial values, when the consumer is made and its first page read, and however many pages there are.
func TestAKeyThatIsWrittenAgainIsAmongTheInitialValues(t *testing.T) { // W2, 7.2
	for _, policy := range []Policy{DeliverAll, DeliverLastPerSubject} {
		o := newHost(t, 1, pages)
		o.put("a", "x")
		o.consumer(Config{Policy: policy})
		o.put("a", "again")
		o.listen(true)
		require.Equal(t, []string{"2/1/0"}, o.sent())
		require.Equal(t, uint64(1), o.answers["answer"].Pending)

		o = newHost(t, 1, pages)
		for i := range 6 {
			o.put(fmt.Sprintf("k%d", i), "x")
		}
		o.firstPage(Config{Policy: policy})
		o.put("k5", "again")
		o.put("new", "x")
		o.put("k4", "again")
		require.Regexp(t, "^3/3/[^0] 4/4/[^0] 7/5/[^0] 8/6/[^0] 9/7/0$", strings.Join(o.sent(), " "), "5 and 6 are 9 and 7 now")
	}
}

// The store is ahead of what the hub is told, as it may be: what was written again is among the initial values all the same, nothing of it is taken for the
// last of them before it is, and nothing comes twice when the hub hears of it.
func TestInitialValuesThatTheHubHasNotHeardOf(t *testing.T) { // W1, W2
	for _, policy := range []Policy{DeliverAll, DeliverLastPerSubject} {
		for _, counted := range []bool{false, true} {
			o := newHost(t, 1, pages)
			for i := range 8 {
				o.put(fmt.Sprintf("k%d", i), "x")
			}
			var untold []Event
			again := func() {
				for i := range 8 {
					untold = append(untold, o.model.put(fmt.Sprintf("k%d", i), "again"))
				}
			}
			if counted {
				o.firstPage(Config{Policy: policy})
				again()
			} else {
				o.firstPage(Config{Policy: policy}, again)
			}
			list := o.sent()
			require.Regexp(t, "^(?:[0-9]+/[0-9]+/[1-9][0-9]* )+16/[0-9]+/0$", strings.Join(list, " "), "only the last says that it is")
			require.Len(t, list, map[bool]int{false: 6, true: 9}[counted], "%v", list)
			o.tell(untold...)
			require.Empty(t, o.sent())
		}
	}
}

// The same for what begins at a time in a bucket that was empty: what is counted is what the initial values are.
func TestInitialValuesOfABucketThatWasEmpty(t *testing.T) { // 7.2
	o := newHost(t, 1, pages)
	o.firstPage(Config{Policy: DeliverByStartTime, StartTime: 1}, func() {
		for i := range 8 {
			o.model.put(fmt.Sprintf("k%d", i), "x") // and nobody is told
		}
	})
	require.Equal(t, uint64(8), o.answers["answer"].Pending)
	require.Regexp(t, "^(?:[0-9]+/[0-9]+/[1-9][0-9]* )+8/8/0$", strings.Join(o.sent(), " "))
}

// The newest entry of all is looked for once, for which all keys may be looked at: pages are quick, and nothing older ever takes its place.
func TestTheLastIsLookedForOnce(t *testing.T) { // Q12, L9, 7.1
	o := newHost(t, 1)
	o.puts("a.x", "b.x", "c")
	o.consumer(Config{Policy: DeliverLast, Filter: patterns("*.x")})
	reads := func() Read {
		for len(o.peer.reads) == 0 {
			require.True(t, o.step(o.peer))
		}
		return o.peer.reads[0]
	}
	counted := reads()
	require.Equal(t, []any{NewestOfAll, true, 0}, []any{counted.Mode, counted.Count, counted.EntriesMax})
	require.Empty(t, o.sent(), "nobody listens")
	o.listen(true)
	read := reads()
	require.Equal(t, []any{NewestOfKey, uint64(2), uint64(3)}, []any{read.Mode, read.From, read.AsOf})
	require.Equal(t, []string{"2/1/0"}, o.sent())
	o.put("b.x", "again")
	require.Equal(t, []string{"4/2/0"}, o.sent())
	o.reconnect()
	require.Equal(t, []string{"4/4/0"}, o.sent(), "and not what was not the last")
}

// A page that comes for a consumer which is gone is nobody's.
func TestAPageForWhoIsGoneIsDropped(t *testing.T) {
	o := newHost(t, 1)
	o.put("1", "v")
	o.consumer(Config{})
	o.listen(true)
	for len(o.peer.reads) == 0 {
		require.True(t, o.step(o.peer))
	}
	o.tell(o.model.remove("c"))
	require.True(t, o.step(o.peer))
	require.Empty(t, o.sent())
	require.Zero(t, o.hub().reserved)
}

// Counts that look at more than a few keys leave a reader to what is quick, and one for a consumer that is gone is wanted no more.
func TestCountsOfManyKeysLeaveAReader(t *testing.T) { // Q12, L9
	o := newHost(t, 1)
	o.puts("a.x", "b.x")
	o.sent()
	many := make([]string, fewKeys+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for i := range 6 {
		o.other(fmt.Sprint("wide", i), Config{Filter: [2]subject.Filter{patterns("*.x"), patterns(many...)}[i%2]})
	}
	o.other("narrow", Config{Filter: patterns("a.x", "b.x")})
	o.step(o.peer)
	o.step(o.peer) // with what is known of interest
	require.Equal(t, []string{"wide0", "wide1", "narrow"}, o.asked())
	o.tell(o.model.remove("wide0"))
	o.step(o.peer)
	require.Equal(t, []uint64{o.peer.reads[0].ID}, o.peer.effects.Dropped)
	o.step(o.peer)
	require.Empty(t, o.peer.effects.Dropped)
	require.Len(t, o.peer.reads, 3, "it takes a reader until it has ended")
	o.answerRead(o.peer)
	o.step(o.peer)
	require.Equal(t, []string{"wide1", "narrow", "wide2"}, o.asked())
	o.settle()
	require.Empty(t, o.hub().reads)
}

// begin takes a consumer's first steps: it waits to be counted, unless it is.
func (o *oneHost) begin(r Record) {
	r.Config.Inactive, r.Deliver, o.heard["of."+r.Name] = 5*second, "of."+r.Name, true
	o.place(r)
	o.step(o.peer)
	o.step(o.peer) // with what is known of interest
}

// asked are the consumers for whom pages are being read.
func (o *oneHost) asked() (names []string) {
	for _, r := range o.peer.reads {
		names = append(names, o.hub().reads[r.ID].c.Name)
	}
	return names
}

// Who lists or watches a whole bucket waits for nobody who looks at all of its keys: the bucket knows how much it has, and little came since.
func TestWhatABucketKnowsWaitsForNoCount(t *testing.T) { // Q12, L9
	all := patterns(">")
	for name, c := range map[string]struct {
		config Config
		since  int // stored after the consumer was made
		waits  bool
	}{
		"all":                     {Config{Filter: all}, knownSince, false},
		"no filter":               {Config{}, 0, false},
		"the newest":              {Config{Policy: DeliverLastPerSubject, Filter: all}, knownSince - 1, false},
		"the newest as of long":   {Config{Policy: DeliverLastPerSubject, Filter: all}, knownSince, true},
		"from the second on":      {Config{Policy: DeliverByStartSequence, StartSequence: 2}, 0, true}, // the values of all that follow are read
		"from a time":             {Config{Policy: DeliverByStartTime, StartTime: 1}, 0, true},
		"the last":                {Config{Policy: DeliverLast, Filter: all}, 0, true},
		"the newest of some":      {Config{Policy: DeliverLastPerSubject, Filter: patterns("*.x")}, 0, true},
		"from the second of some": {Config{Policy: DeliverByStartSequence, StartSequence: 2, Filter: patterns("*.x")}, 0, true},
	} {
		o := newHost(t, 1)
		o.puts("a.x", "b.x")
		for i := range 4 {
			o.begin(Record{Ref: Ref{Name: fmt.Sprint("wide", i)}, Config: Config{Filter: patterns("*.x")}})
		}
		require.Equal(t, []string{"wide0", "wide1"}, o.asked())
		r := Record{Ref: Ref{Name: "c"}, Config: c.config}
		r.Config.Inactive, r.Deliver = second, "of.c"
		o.place(r)
		for range c.since {
			o.put("a.x", "again")
		}
		o.step(o.peer)
		o.step(o.peer)
		require.Equal(t, c.waits, len(o.asked()) == 2, name)
		o.settle()
		require.Empty(t, o.hub().reads, name)
	}
}

// A node that has just learned of a consumer does not know how much came since it was made, nor whether that is little.
func TestWhatCameUnheardMayBeMuch(t *testing.T) { // L9
	o := newHost(t, 1)
	o.puts("a.x", "b.x")
	r := Record{Ref: Ref{Name: "c"}, Config: Config{Policy: DeliverLastPerSubject}}
	o.begin(r)
	c := o.hub().consumers[Ref{testBucket, "c"}]
	require.Equal(t, whole, c.lane())
	o.peer.events = append(o.peer.events, Reset{o.model.index, o.model.all()})
	o.step(o.peer)
	require.Equal(t, wide, c.lane())
	o.settle()
}

// Who waited while much came is counted with those of whom all may have to be looked at.
func TestWhoWaitedWhileMuchCameIsCounted(t *testing.T) { // W2, L9
	o := newHost(t, 1, func(l *Limits) { l.Reads = 1 })
	o.puts("a.x", "b.x")
	for _, name := range []string{"first", "second"} {
		o.begin(Record{Ref: Ref{Name: name}, Config: Config{Policy: DeliverLastPerSubject}, Answer: "answer"})
	}
	require.Equal(t, []string{"first"}, o.asked())
	for range knownSince {
		o.put("a.x", "again")
	}
	o.settle()
	require.Equal(t, uint64(2), o.sentOn["of.second"])
}

// Who is made and removed while counts of all keys take long waits in a queue still, without what its client chose: that may be 64 KiB.
func TestWhoIsGoneHoldsNothingInAQueue(t *testing.T) { // Q12
	o := newHost(t, 1, func(l *Limits) { l.Reads = 1 })
	o.puts("a.x", "b.x")
	for _, name := range []string{"first", "second"} {
		o.begin(Record{Ref: Ref{Name: name}, Config: Config{Filter: patterns("*.x")}, Answer: "answer", Echo: "much"})
	}
	second := o.hub().consumers[Ref{testBucket, "second"}]
	require.True(t, o.hub().waitsToOpen(second))
	o.tell(o.model.remove("second"))
	o.step(o.peer)
	require.True(t, o.hub().waitsToOpen(second))
	require.Equal(t, Record{Ref: second.Ref}, second.Record)
	require.Equal(t, &group{}, second.group)
	o.settle()
	require.Empty(t, o.hub().reads)
}

// A count is of the client whose consumer it is, and only if that is not known of who asks.
func TestWhoseACountIs(t *testing.T) { // Q12
	c := consumer{Record: Record{Answer: "_INBOX.made.1"}, to: "_INBOX.sent.1", asks: []Asked{{Reply: "_INBOX.asks.1"}}}
	require.Equal(t, "_INBOX.made", c.whose())
	c.Answer = ""
	require.Equal(t, "_INBOX.sent", c.whose())
	c.to = ""
	require.Equal(t, "_INBOX.asks", c.whose())
}

// However many look at all of large buckets, and at whole ones, one reader is left for who names its keys.
func TestAReaderIsLeftForWhoNamesKeys(t *testing.T) { // Q12, L9
	for reads, want := range map[int][lanes]int{4: {wide: 2, whole: 1, named: 1}, 3: {wide: 1, whole: 1, named: 1}, 2: {wide: 1, named: 1}, 1: {wide: 1}} {
		o := newHost(t, 1, func(l *Limits) { l.Reads = reads })
		o.puts("a.x", "b.x")
		for _, filter := range []string{"*.x", ">", "a.x"} {
			for i := range 4 {
				o.begin(Record{Ref: Ref{Name: fmt.Sprint(filter, i)}, Config: Config{Filter: patterns(filter)}})
			}
		}
		require.Equal(t, want, o.hub().counting, "with %d readers", reads)
		o.settle()
		require.Empty(t, o.hub().reads)
	}
}

// Of clients that have large buckets looked at each has its turn, however many such consumers another has made before, or asks for.
func TestClientsTakeTurnsWithCounts(t *testing.T) { // Q12, L9
	o := newHost(t, 1)
	o.puts("a.x", "b.x")
	begin := func(name, answer string) {
		o.begin(Record{Ref: Ref{Name: name}, Config: Config{Filter: patterns("*.x")}, Answer: answer})
	}
	for i := range 6 {
		begin(fmt.Sprint("many", i), fmt.Sprint("_INBOX.many.", i))
	}
	begin("one", "_INBOX.one.1")
	begin("other", "_INBOX.other.1")
	begin("second", "_INBOX.one.2")
	var order []string
	for len(o.peer.reads) > 0 {
		order = append(order, o.asked()[0])
		o.answerRead(o.peer)
		o.step(o.peer)
		o.peer.reads = slices.DeleteFunc(o.peer.reads, func(r Read) bool { return !r.Count })
	}
	require.Equal(t, []string{"many0", "many1", "one", "other", "many2", "second", "many3", "many4", "many5"}, order)
	require.Empty(t, o.hub().opens[wide].of)
}
