package watch

// Hubs of several nodes, the bucket that they serve, and clients.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

const second = int64(1_000_000_000)

type world struct {
	require *require.Assertions
	model   *model
	now     int64
	hosts   []*peer
	clients []*client
	sentOn  map[string]uint64 // the highest consumer sequence sent to a subject
	answers map[string]State
	heard   map[string]bool // subjects that others than clients listen to
}

// peer is a node: its hub, and what is under way to and from it.
type peer struct {
	name    string
	boot    uint64
	hub     *Hub
	leaf    bool
	broken  bool // what is sent arrives nowhere, which is not known yet
	room    int
	limits  Limits
	events  []Event
	reads   []Read
	watched map[string]bool
	effects *Effects
	vain    int // steps in a row that were asked for, and did nothing
}

// testLimits are small, so that all of them are met.
func testLimits() Limits {
	return Limits{
		Window: 2_000, PageBytes: 900, PageMax: 5, Reads: 2, RingBytes: 3_000, HeldBytes: 2_000, TurnBytes: 1_000, AsksMax: 8, ShareBytes: 400, EmptyMax: 2,
	}
}

func newWorld(t require.TestingT, history, hosts int, limits Limits) *world {
	w := &world{require: require.New(t), model: newModel(history), now: second, sentOn: map[string]uint64{}, answers: map[string]State{}, heard: map[string]bool{}}
	for i := range hosts {
		h := &peer{name: fmt.Sprintf("n%d", i+1), limits: limits}
		w.hosts = append(w.hosts, h)
		w.boot(h)
	}
	return w
}

func (h *peer) GoString() string   { return h.name }
func (c *client) GoString() string { return c.name }

// boot begins another life of a node.
func (w *world) boot(h *peer) {
	h.boot++
	h.hub = New(h.name, h.boot, h.limits)
	h.room, h.broken = 1<<20, false
	h.events, h.reads = []Event{Reset{w.model.index, w.model.all()}}, nil
	h.watched = map[string]bool{}
	w.connect(h)
}

// connect brings the leaf connection, and tells what has changed.
func (w *world) connect(h *peer) {
	h.leaf = true
	for _, subject := range slices.Sorted(maps.Keys(h.watched)) {
		h.interest(subject, w.listens(subject))
	}
	h.events = append(h.events, LeafUp{})
}

func (w *world) disconnect(h *peer) {
	h.leaf, h.broken = false, false
	h.events = append(h.events, LeafDown{})
}

// interest tells what a leaf connection knows of a subject, if that is asked for and news.
func (h *peer) interest(subject string, listened bool) {
	if known, watched := h.watched[subject]; watched && known != listened {
		h.watched[subject] = listened
		h.events = append(h.events, Interest{Subject: subject, Listened: listened})
	}
}

// watch carries out Effects.Watch.
func (w *world) watchSubjects(h *peer, list []Watch) (at []Event) {
	for _, each := range list {
		if each.Ended {
			delete(h.watched, each.Subject)
			continue
		}
		known, watched := h.watched[each.Subject]
		if !watched || h.leaf {
			known = h.leaf && w.listens(each.Subject)
		}
		h.watched[each.Subject] = known
		at = append(at, Interest{Subject: each.Subject, Listened: known})
	}
	return at
}

func (w *world) listens(subject string) bool {
	return w.heard[subject] || slices.ContainsFunc(w.clients, func(c *client) bool {
		return !c.stopped && (c.deliver == subject && c.bound || c.puller != nil && c.inboxes[subject])
	})
}

func (w *world) tell(events ...Event) {
	for _, h := range w.hosts {
		h.events = append(h.events, events...)
	}
}

// listening tells all hosts whether a client listens.
func (w *world) listening(c *client) {
	for _, h := range w.hosts {
		if h.leaf {
			h.interest(c.deliver, c.bound && !c.stopped)
			if c.puller != nil {
				for inbox := range c.inboxes {
					h.interest(inbox, !c.stopped)
				}
			}
		}
	}
}

// rejoin brings back a client whose connection was lost. Hosts hear that at once, or in one piece of news.
func (w *world) rejoin(c *client, atOnce bool) {
	c.cut = false
	for _, h := range w.hosts {
		switch known := h.watched[c.deliver]; {
		case !h.leaf || !known:
		case atOnce:
			h.interest(c.deliver, false)
			h.interest(c.deliver, true)
		default:
			h.events = append(h.events, Interest{Subject: c.deliver, Listened: true, Away: true})
		}
	}
}

// place makes a consumer, on the next host.
func (w *world) place(r Record) {
	h := w.hosts[int(w.model.created)%len(w.hosts)]
	r.Host, r.Boot = h.name, h.boot
	w.tell(w.model.place(r))
}

func (w *world) put(key, value string) { w.tell(w.model.put(key, value)) }

// watch begins a client that listens.
func (w *world) watch(config Config, at ...looks) *client {
	c := &client{w: w, id: len(w.clients), config: config, start: w.model.sequence}
	for _, c.looks = range at {
	}
	w.clients = append(w.clients, c)
	c.create()
	w.listen(c)
	return c
}

func (w *world) listen(c *client) {
	if !c.bound {
		c.bound = true
		w.listening(c)
	}
}

func (w *world) stop(c *client) {
	c.stopped = true
	w.listening(c)
}

// comeBack makes another consumer for a client that has noticed that something is missing.
func (w *world) comeBack(c *client) {
	c.bound = false
	w.listening(c)
	c.create()
	w.listen(c)
}

// step has a host take what has happened, and carries out what it says; false if there was nothing to do.
func (w *world) step(h *peer) bool {
	events := h.events
	h.events = nil
	again := h.effects != nil && h.effects.Again
	e := h.hub.Step(w.now, h.room, events...)
	h.effects = e
	for i := range e.Send {
		w.require.True(h.leaf, "sent without a connection")
		h.room -= e.Send[i].cost()
		if !h.broken {
			w.send(e.Send[i])
		}
	}
	w.require.GreaterOrEqual(h.room, 0)
	h.reads = append(h.reads, slices.Clone(e.Reads)...)
	h.events = append(w.watchSubjects(h, e.Watch), h.events...)
	w.require.LessOrEqual(len(h.reads), h.limits.Reads)
	h.hub.check(w.require)
	h.hub.checkStep(w.require)
	h.vain++
	if !again || len(events)+len(e.Send)+len(e.Reads) > 0 {
		h.vain = 0
	}
	w.require.Less(h.vain, 20, "steps are asked for that do nothing") // some move what is held back
	return len(events) > 0 || again || len(e.Send)+len(e.Reads)+len(e.Watch) > 0
}

func (w *world) send(s Send) {
	if s.State != nil {
		state := *s.State
		w.answers[s.Subject] = state
		for _, c := range w.clients {
			if s.Subject == "answer."+c.name {
				c.answered(&state)
			}
		}
		return
	}
	if reply, _, is := strings.Cut(s.Reply, "@"); is {
		w.sentOn[s.Subject] = number(strings.Split(reply, ".")[6])
	}
	for _, c := range w.clients {
		c.hear(s)
	}
}

// answerRead brings a host the page that it asked for first.
func (w *world) answerRead(h *peer) {
	r := h.reads[0]
	h.reads = slices.Delete(h.reads, 0, 1)
	h.events = append(h.events, PageRead{r.ID, w.model.page(r)})
}

// settle lets everything happen that can, with room for all, until nothing does. Time stands still.
func (w *world) settle() {
	for busy := true; busy; {
		busy = false
		for _, h := range w.hosts {
			h.room = 1 << 20
			for len(h.reads) > 0 {
				w.answerRead(h)
			}
			for _, c := range w.clients {
				w.tell(c.process()...)
			}
			busy = w.step(h) || len(h.reads) > 0 || busy
		}
		for _, c := range w.clients {
			if c.reset && !c.stopped {
				w.comeBack(c)
				busy = true
			}
		}
	}
}

// wait lets time pass, in small steps.
func (w *world) wait(d int64) {
	for until := w.now + d; w.now < until; {
		w.now += 100 * second / 1000
		w.settle()
	}
}

// requireComplete requires that a client has all there is up to a sequence that it asked for (W2, W4).
func (w *world) requireComplete(c *client, upTo uint64) {
	for _, e := range w.model.live {
		if e.Sequence <= upTo && w.wants(c, e) {
			w.require.True(c.has(e.Sequence), "W2: client %d (%s) lacks %d; it has %v", c.id, c.name, e.Sequence, c.got)
		}
	}
}

// wants reports whether a client must have got an entry that is there.
func (w *world) wants(c *client, e Entry) bool {
	if !c.config.Filter.Match(e.Key) {
		return false
	}
	switch c.config.Policy {
	case DeliverNew:
		return e.Sequence > c.start
	case DeliverByStartSequence:
		return e.Sequence >= c.config.StartSequence
	case DeliverLastPerSubject:
		return e.Sequence > c.start || w.newestAt(e, c.start) && !w.shadowed(e, c.start)
	case DeliverAll:
		return true
	}
	return e.Sequence > c.start
}

// newestAt reports whether an entry is the newest of its key up to a sequence, of those that are there.
func (w *world) newestAt(e Entry, at uint64) bool {
	return !slices.ContainsFunc(w.model.live, func(o Entry) bool { return o.Key == e.Key && o.Sequence > e.Sequence && o.Sequence <= at })
}

// shadowed reports whether an entry was not the newest of its key at a sequence: a newer one was there, and has expired since.
func (w *world) shadowed(e Entry, at uint64) bool {
	for s, o := range w.model.stored {
		if o.Key == e.Key && s > e.Sequence && s <= at {
			return true
		}
	}
	return false
}
