package watch

// A client of a pull consumer: it asks for messages, and takes any gap in what it gets for a fault. Told that its consumer is deleted it makes another.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// puller is what a client has beside that pulls.
type puller struct {
	inboxes map[string]bool   // those that it listens to
	open    map[string]Pulled // requests that are to be answered, by inbox, with what is still to come
	last    string            // inbox
	pulls   int
	told    []string // statuses
}

func newPuller() *puller { return &puller{inboxes: map[string]bool{}, open: map[string]Pulled{}} }

// pull asks for messages, on an inbox of its own or on that of the request before.
func (c *client) pull(p Pulled, again bool) {
	u := c.puller
	inbox := u.last
	if u.pulls++; inbox == "" || !again {
		inbox = fmt.Sprintf("_INBOX.%s.%d", c.name, u.pulls)
	} else {
		delete(u.open, inbox) // answers do not say which of both they are for
	}
	r, there := c.w.model.records[c.name]
	if !there {
		c.reset = true
		return
	}
	p.Ref, p.Host, p.Index, p.Reply = Ref{testBucket, c.name}, r.Host, c.w.model.index, inbox
	if p.Waiting == 0 {
		p.Waiting = 512
	}
	if !u.inboxes[inbox] {
		u.inboxes[inbox], u.last = true, inbox
		c.w.listening(c)
		if p.Heartbeat == 0 && (p.Expires > 0 || p.NoWait) {
			u.open[inbox] = p
		}
	}
	c.w.tell(p)
}

// again forgets what there was with an earlier consumer.
func (u *puller) again(w *world) {
	old := slices.Collect(maps.Keys(u.inboxes))
	*u = puller{inboxes: map[string]bool{}, open: map[string]Pulled{}, told: u.told}
	for _, inbox := range old {
		for _, h := range w.hosts {
			if h.leaf {
				h.interest(inbox, false)
			}
		}
	}
}

// pulled takes what came to an inbox.
func (c *client) pulled(s Send) {
	u := c.puller
	if status, is := strings.CutPrefix(string(s.Header), "NATS/1.0 "); is && s.Reply == "" {
		status, _, _ = strings.Cut(status, headerEnd)
		switch {
		case strings.HasPrefix(status, "100 "):
			c.w.require.Less(headerNumber(s.Header, headerLast), c.expect, "a heartbeat counts what was not sent")
			return
		case status == statusDeleted:
			c.reset = true
		}
		u.told = append(u.told, status)
		delete(u.open, s.Subject)
		return
	}
	c.w.require.False(c.reset, "a message after the end of the consumer")
	before := len(c.got)
	c.message(s)
	c.w.require.Len(c.got, before+1, "%s: a gap", c.name)
	if p, is := u.open[s.Subject]; is {
		c.w.require.Positive(p.Batch, "more than was asked for")
		if p.Batch--; p.Batch == 0 {
			delete(u.open, s.Subject)
		} else {
			u.open[s.Subject] = p
		}
	}
}

// unanswered has clients wait no longer for answers that a node may have lost, with its life or its connection.
func (w *world) unanswered() {
	for _, c := range w.clients {
		if c.puller != nil {
			clear(c.open)
		}
	}
}

func drawPull(t *rapid.T) Pulled {
	ms := func(most int, what string) int64 {
		return int64(rapid.SampledFrom([]int{0, 100, most}).Draw(t, what)) * second / 1000
	}
	return Pulled{
		Batch: rapid.IntRange(1, 7).Draw(t, "batch"), Bytes: rapid.SampledFrom([]int{0, 0, 100, 700}).Draw(t, "bytes"),
		Expires: ms(2_000, "expires"), Heartbeat: ms(500, "heartbeat"), NoWait: rapid.Bool().Draw(t, "no wait"), Waiting: rapid.IntRange(1, 4).Draw(t, "waiting"),
	}
}

// drain pulls until nothing is left, from consumers made anew if need be.
func (w *world) drain(c *client) {
	for range 1_000 {
		if c.reset {
			w.comeBack(c)
			w.settle()
		}
		told, got := len(c.puller.told), len(c.got)
		c.pull(Pulled{Batch: 5, NoWait: true}, false)
		w.settle()
		w.wait(200 * second / 1000)
		if !c.reset && len(c.got) == got && len(c.puller.told) > told && c.puller.told[len(c.puller.told)-1] == statusNoMessages {
			return
		}
	}
	w.require.Fail("no end", "client %d (%s): %v", c.id, c.name, c.puller.told)
}

// requireCounted requires that a consumer's host counts exactly what is to come.
func (w *world) requireCounted(c *client) {
	r, there := w.model.records[c.name]
	if c.reset || !there {
		return
	}
	for _, h := range w.hosts {
		if h.name == r.Host {
			h.events = append(h.events, Asked{Ref: Ref{testBucket, c.name}, Index: w.model.index, Reply: "info." + c.name})
		}
	}
	w.settle()
	state, answered := w.answers["info."+c.name]
	w.require.True(answered)
	if state.Missing {
		return
	}
	want := Read{From: state.Stream + 1, Filter: r.Config.Filter}
	if r.Config.Policy == DeliverLastPerSubject && r.Start > 0 {
		want.Mode, want.AsOf = NewestOfKey, r.Start
	}
	if r.Config.Policy == DeliverByStartSequence {
		want.From = max(want.From, r.Config.StartSequence)
	}
	w.require.Equal(uint64(len(w.model.matching(want))), state.Pending, "%s at %d", c.name, state.Stream)
}
