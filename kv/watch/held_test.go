package watch

// What is held back until it is known whether more follows has a place that is bounded, for all consumers of a node.

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// large makes entries of which each is a page by itself, as many as are to be held back at a time, and a window of two.
func large(held int) func(*Limits) {
	return func(l *Limits) { l.HeldBytes, l.PageBytes, l.Window = 1_200*held, 900, 2_000 }
}

// largePuts stores such entries.
func (o *oneHost) largePuts(keys ...string) {
	for _, key := range keys {
		o.put(key, strings.Repeat("x", 1_000))
	}
}

// within is sent with a bound on the steps: what reads the same again and again never ends. Nothing is read for those of a name.
func (o *oneHost) within(steps int, unread string) (list []string) {
	o.t.Helper()
	for range steps {
		for i := len(o.peer.reads) - 1; i >= 0; i-- {
			r := o.peer.reads[i]
			if c := o.hub().reads[r.ID].c; c != nil && c.Name == unread {
				continue
			}
			o.peer.reads = slices.Delete(o.peer.reads, i, i+1)
			o.peer.events = append(o.peer.events, PageRead{r.ID, o.model.page(r)})
		}
		o.step(o.peer)
		for _, s := range o.peer.effects.Send {
			if s.Subject == "in.box" {
				list = append(list, short(s))
			}
		}
	}
	return list
}

// other makes another consumer that is listened to.
func (o *oneHost) other(name string, config Config) {
	config.Inactive = 5 * second
	o.heard["of."+name] = true
	o.place(Record{Ref: Ref{Name: name}, Config: config, Deliver: "of." + name})
}

var largeAndLast = []string{"1/1/3", "2/2/2", "3/3/1", "4/4/0"}

func TestWhoDoesNotProcessHoldsNobodyUp(t *testing.T) { // W2, F25
	o := newHost(t, 1, large(2))
	o.largePuts("a", "b", "c", "d")
	slow := []*client{o.watch(Config{FlowControl: true, Heartbeat: second}), o.watch(Config{FlowControl: true, Heartbeat: second})}
	for _, c := range slow {
		c.stalls = true
	}
	o.settle()
	require.Len(t, o.hub().holders.list, 2, "all that may be held back is")
	o.consumer(Config{Policy: DeliverLastPerSubject})
	o.listen(true)
	require.Equal(t, largeAndLast, o.within(20, ""))
	require.Len(t, o.hub().holders.list, 1, "one has let go, and one was enough")
	for _, c := range slow {
		c.stalls = false
	}
	o.settle()
	for _, c := range slow {
		require.Equal(t, []uint64{1, 2, 3, 4}, c.got)
		require.Equal(t, []uint64{3, 2, 1, 0}, c.pending)
		require.Equal(t, 1, c.lives)
	}
}

func TestAnEntryLargerThanWhatMayBeHeldBackIsSent(t *testing.T) { // W2
	o := newHost(t, 1, large(0))
	o.largePuts("a", "b", "c", "d")
	o.consumer(Config{Policy: DeliverLastPerSubject})
	o.listen(true)
	require.Equal(t, largeAndLast, o.within(20, ""))
}

// Who may be sent to keeps what it holds back. For whom there is no place it goes at once: it never says that it is the last while more may follow.
func TestWhatFindsNoPlaceGoesAtOnce(t *testing.T) { // W2
	o := newHost(t, 1, large(1))
	o.largePuts("a", "b")
	o.other("first", Config{})
	o.within(3, "")
	require.Len(t, o.hub().holders.list, 1)
	o.consumer(Config{Policy: DeliverLastPerSubject})
	o.listen(true)
	require.Equal(t, []string{"1/1/1"}, o.within(3, "first"))
	o.largePuts("c")
	require.Equal(t, []string{"2/2/1", "3/3/0"}, o.within(20, "first"))
	require.Len(t, o.hub().holders.list, 1)
	o.within(20, "")
	require.Equal(t, uint64(3), o.sentOn["of.first"])
	require.Empty(t, o.hub().holders.list)
}

// An entry that finds no room is not read again before room comes or goes, whatever else happens.
func TestWhatFindsNoRoomIsNotReadAgain(t *testing.T) {
	o := newHost(t, 1, large(2), func(l *Limits) { l.PageBytes = 500 })
	o.largePuts("a", "b")
	o.consumer(Config{})
	o.listen(true)
	o.step(o.peer)
	reads := 0
	for range 20 {
		o.peer.room = 1_100 // two pages, but not an entry
		o.step(o.peer)
		for len(o.peer.reads) > 0 {
			reads++
			o.answerRead(o.peer)
		}
	}
	require.Equal(t, 1, reads)
	require.True(t, o.peer.effects.WantRoom)
	o.peer.room = 1 << 20
	require.Equal(t, []string{"1/1/1", "2/2/0"}, o.within(5, ""))
}
