package watch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is kept for those that are behind is bounded for all buckets together: a bucket that comes later has its share, and who has more gives it.
func TestTheEntriesOfAllBucketsAreBounded(t *testing.T) { // Q12
	o := newHost(t, 1, func(l *Limits) { l.RingBytes = 3_000 })
	o.consumer(Config{})
	other := Record{Ref: Ref{testBucket + 1, "d"}, Bucket: "other", Config: Config{Inactive: 5 * second}, Deliver: "other.box", Host: "n1", Boot: 1, Created: 9}
	o.tell(o.model.applied(Placed{other}))
	o.sent()
	first, second := o.hub().buckets[testBucket], o.hub().buckets[testBucket+1]
	for i := range uint64(20) {
		o.hub().stored(first, &Entry{Key: "k", Sequence: i + 1, Value: []byte(strings.Repeat("v", 300))})
	}
	require.Greater(t, first.ring.bytes, 2_000)
	for i := range uint64(20) {
		o.hub().stored(second, &Entry{Key: "k", Sequence: i + 1, Value: []byte(strings.Repeat("v", 300))})
		require.LessOrEqual(t, first.ring.bytes+second.ring.bytes, 3_000)
		require.Equal(t, first.ring.bytes+second.ring.bytes, o.hub().ringBytes)
	}
	require.Greater(t, first.ring.entries.len(), 1)
	require.Greater(t, second.ring.entries.len(), 1)
	o.hub().stored(first, &Entry{Key: "k", Sequence: 21, Value: []byte(strings.Repeat("v", 5_000))})
	require.Zero(t, first.ring.entries.len(), "what is too large for all of it is not kept")
	require.Equal(t, second.ring.bytes, o.hub().ringBytes)
}

// What a node ships with: enough for who falls behind for a moment, and no more than a small machine can spare, however much is stored.
func TestTheEntriesOfANodeAreBounded(t *testing.T) { // Q12
	o := newHost(t, 1)
	o.consumer(Config{})
	o.sent()
	value := make([]byte, 1<<20) // of all of them
	for i := range uint64(100) {
		o.hub().stored(o.hub().rings[0], &Entry{Key: "k", Sequence: i + 1, Value: value})
	}
	require.LessOrEqual(t, o.hub().ringBytes, 64<<20)
	require.Greater(t, o.hub().ringBytes, 62<<20)
}

// The filters that are left when a consumer goes are still looked at, and nothing is kept of who is gone.
func TestWhoIsLeftIsServed(t *testing.T) {
	o := newHost(t, 1)
	place := func(name, filter string) {
		o.place(Record{Ref: Ref{Name: name}, Config: Config{Filter: patterns(filter), FlowControl: true, Heartbeat: second, Inactive: 5 * second}, Deliver: "in." + name, Answer: "answer"})
		o.heard["in."+name] = true
		o.peer.interest("in."+name, true)
	}
	for _, name := range []string{"a", "b", "c"} {
		place(name, name+".>")
	}
	o.sent()
	o.tell(o.model.remove("a"))
	o.sent()
	for _, name := range []string{"a", "b", "c"} {
		o.put(name+".k", "v")
	}
	o.sent()
	require.Equal(t, map[string]uint64{"in.b": 1, "in.c": 1}, o.sentOn)
	c := o.hub().consumers[Ref{testBucket, "c"}]
	c.window.request, o.hub().flows["asked"] = "asked", c
	place("d", "c.>")
	o.tell(o.model.remove("c"))
	o.sent() // and nothing is kept of it (check)
	require.Empty(t, o.hub().flows)
}

// What a client is to expect is less by an entry that is dropped, if that was to come and nothing newer of its key comes in its place.
func TestWhatIsDroppedIsNotExpected(t *testing.T) {
	c := &consumer{counted: 3, pending: 5, next: 2, snapshot: 9, mode: Every}
	for d, is := range map[Dropped]bool{
		{Sequence: 1}:                    false,
		{Sequence: 2}:                    true,
		{Sequence: 9}:                    true,
		{Sequence: 10}:                   false,
		{Sequence: 5, NextOfThisKey: 9}:  true,
		{Sequence: 5, NextOfThisKey: 10}: false,
	} {
		require.Equal(t, is, c.expects(d, 4), d)
		require.False(t, c.expects(d, 3), "counted without it")
	}
}
