package watch

// Entries that are larger than a message may be, since max_payload was lowered after they were stored.

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// carry says how large a message may be.
func (o *oneHost) carry(bytes int) { o.peer.events = append(o.peer.events, Carries{bytes}) }

func TestWhatIsTooLargeIsLeftOutWithoutANumber(t *testing.T) { // W2
	for name, c := range map[string]struct {
		large   []string // keys; each may be the last of a page
		pending uint64
		want    string
	}{
		"first":            {[]string{"a"}, 5, "2/1/4 3/2/3 4/3/2 5/4/1 6/5/0 7/6/0 9/7/0"},
		"later":            {[]string{"c"}, 5, "1/1/4 2/2/3 4/3/2 5/4/1 6/5/0 7/6/0 9/7/0"},
		"last":             {[]string{"f"}, 6, "1/1/5 2/2/4 3/3/2 4/4/1 5/5/0 7/6/0 9/7/0"},
		"all there":        {[]string{"a", "b", "c", "d", "e", "f"}, 0, "7/1/0 9/2/0"},
		"all but the last": {[]string{"a", "b", "c", "d", "e"}, 1, "6/1/0 7/2/0 9/3/0"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newHost(t, 1, pages)
			o.carry(2_000)
			for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
				size := 10
				for _, l := range c.large {
					if l == key {
						size = 2_001
					}
				}
				o.put(key, strings.Repeat("x", size))
			}
			o.heard["in.box"] = true
			o.consumer(Config{})
			list := o.sent()
			require.Equal(t, c.pending, o.answers["answer"].Pending, "exact for the first page that has something")
			o.put("g", "x")
			list = append(list, o.sent()...)
			o.put("g", strings.Repeat("x", 2_001))
			o.step(o.peer)
			require.Equal(t, []LeftOut{{"b", "g", 8, 2_001}}, o.peer.effects.LeftOut)
			o.put("g", "x")
			require.Equal(t, c.want, strings.Join(append(list, o.sent()...), " "))
			require.Equal(t, uint64(9), o.hub().all[0].position())
		})
	}
}

// Where a time to start at was found stays the start when the first page has nothing.
func TestWhatIsTooLargeAtTheStartTimeIsLeftOut(t *testing.T) { // W2
	o := newHost(t, 1, pages)
	o.carry(2_000)
	o.puts("old")
	for _, key := range []string{"a", "b", "c", "d"} {
		o.put(key, strings.Repeat("x", 2_001))
	}
	o.heard["in.box"] = true
	o.consumer(Config{Policy: DeliverByStartTime, StartTime: 1_500})
	require.Empty(t, o.sent())
	require.Zero(t, o.answers["answer"].Pending)
	require.Equal(t, uint64(2), o.answers["answer"].Record.Config.StartSequence)
}

func TestWhatIsHeldBackWhenLessIsCarriedIsLookedAtAgain(t *testing.T) { // W2
	o := newHost(t, 1, pages)
	for _, key := range []string{"a", "b", "c", "d"} {
		o.put(key, strings.Repeat("x", map[string]int{"c": 3_000}[key]))
	}
	o.firstPage(Config{})
	require.Len(t, o.hub().holders.list, 1)
	o.carry(2_000)
	require.Equal(t, []string{"4/3/0"}, o.sent())
	o.carry(4_000)
	o.put("c", strings.Repeat("x", 3_000))
	require.Equal(t, []string{"5/4/0"}, o.sent(), "and when more is")
}

// A page that comes when nobody listens any more is read again, and what is too large in it is left out of what is to come once.
func TestAPageThatIsNotSentLeavesNothingOut(t *testing.T) { // W2
	o := newHost(t, 1, pages)
	o.carry(2_000)
	o.put("a", strings.Repeat("x", 2_001))
	o.puts("b", "c", "d", "e", "f")
	o.consumer(Config{})
	o.settle()
	o.listen(true)
	o.step(o.peer)
	require.Len(t, o.peer.reads, 1)
	o.listen(false)
	require.Empty(t, o.sent())
	o.listen(true)
	require.Equal(t, []string{"2/1/4", "3/2/3", "4/3/2", "5/4/1", "6/5/0"}, o.sent())
}

// Without their values entries are as large as their headers.
func TestWhatIsSentCounts(t *testing.T) {
	o := newHost(t, 1)
	o.carry(2_000)
	o.consumer(Config{HeadersOnly: true})
	o.listen(true)
	o.put("a", strings.Repeat("x", 3_000))
	require.Equal(t, []string{"1/1/0"}, o.sent())
	o.other("native", Config{Native: true})
	o.sent()
	o.put("a", strings.Repeat("x", 1_999))
	require.Equal(t, []string{"2/2/0"}, o.sent())
	require.Zero(t, o.sentOn["of.native"], "its header is ours")
}

// Who has fallen behind is served from the ring of recent entries: there too.
func TestWhatIsTooLargeIsLeftOutOfRecentEntries(t *testing.T) { // W2
	o := newHost(t, 5)
	o.carry(2_000)
	o.consumer(Config{})
	o.listen(true)
	o.sent()
	o.listen(false)
	o.puts("a")
	o.put("b", strings.Repeat("x", 2_001))
	o.puts("c")
	require.Empty(t, o.sent())
	o.listen(true)
	require.Equal(t, []string{"1/1/1", "3/2/0"}, o.sent())
}
