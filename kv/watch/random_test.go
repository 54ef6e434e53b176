package watch

// Everything at random, against the model: W1, W2 and W4, and the end of the initial values, whatever comes in between.

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftbus/raftbus/kv/subject"
)

var testKeys = []string{"a", "b", "c", "a.x", "a.y", "b.x.y"}

var testFilters = []subject.Filter{{}, patterns("a.>"), patterns("*"), patterns("a", "b.>"), patterns("b.*.y"), patterns("c")}

func patterns(list ...string) subject.Filter {
	f, err := subject.Parse(list...)
	if err != nil {
		panic(err)
	}
	return f
}

func drawConfig(t *rapid.T, w *world) Config {
	if rapid.Bool().Draw(t, "pull") {
		config := drawPushed(t, w)
		config.Pull, config.FlowControl, config.Heartbeat = true, false, 0
		return config
	}
	return drawPushed(t, w)
}

// drawLooks draws what a client looks at, which has its consumer ask for what goes with that.
func drawLooks(t *rapid.T, c *Config) looks {
	if c.Pull {
		return atAll
	}
	l := rapid.SampledFrom([]looks{atAll, onceItHas, atMessages, atNone}).Draw(t, "looks at")
	if l == atNone {
		c.FlowControl = false
		c.Heartbeat = rapid.SampledFrom([]int64{0, second}).Draw(t, "heartbeat")
	}
	return l
}

func drawPushed(t *rapid.T, w *world) Config {
	return Config{
		Policy:        rapid.SampledFrom([]Policy{DeliverAll, DeliverLastPerSubject, DeliverLast, DeliverNew, DeliverByStartSequence}).Draw(t, "policy"),
		StartSequence: uint64(rapid.IntRange(1, int(w.model.sequence)+3).Draw(t, "from")),
		Filter:        rapid.SampledFrom(testFilters).Draw(t, "filters"),
		FlowControl:   rapid.Bool().Draw(t, "flow control"),
		Heartbeat:     second, Inactive: 5 * second,
	}
}

func TestWhateverHappensWatchersAreGaplessAndOrdered(t *testing.T) { // W1, W2, W4
	rapid.Check(t, func(t *rapid.T) {
		limits := testLimits()
		tight := rapid.Bool().Draw(t, "tight")
		asking := rapid.Bool().Draw(t, "asking again") // who does has much read anew
		if !tight {
			limits.HeldBytes = 1 << 20
		}
		w := newWorld(t, rapid.IntRange(1, 3).Draw(t, "history"), 2, limits)
		w.model.look = rapid.IntRange(0, 2).Draw(t, "a page looks at")
		host := func(t *rapid.T) *peer { return rapid.SampledFrom(w.hosts).Draw(t, "host") }
		someone := func(t *rapid.T) *client {
			if len(w.clients) == 0 {
				t.Skip("no client")
			}
			return rapid.SampledFrom(w.clients).Draw(t, "client")
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(t, "times") {
					w.put(rapid.SampledFrom(testKeys).Draw(t, "key"), fmt.Sprintf("%0*d", rapid.IntRange(0, 300).Draw(t, "size"), w.model.sequence))
				}
			},
			"expire": func(t *rapid.T) {
				if len(w.model.live) == 0 {
					t.Skip("nothing there")
				}
				w.tell(w.model.expire(rapid.SampledFrom(w.model.live).Draw(t, "entry").Sequence))
			},
			"purge": func(t *rapid.T) { w.tell(w.model.purge()) },
			"watch": func(t *rapid.T) {
				if len(w.clients) < 6 {
					config := drawConfig(t, w)
					looks := drawLooks(t, &config)
					w.watch(config, looks).surely = !tight
				}
			},
			"watch first, listen later": func(t *rapid.T) {
				if len(w.clients) < 6 {
					c := &client{w: w, id: len(w.clients), config: drawConfig(t, w), start: w.model.sequence}
					c.looks = drawLooks(t, &c.config)
					w.clients = append(w.clients, c)
					c.create()
				}
			},
			"listen": func(t *rapid.T) { w.listen(someone(t)) },
			"stop":   func(t *rapid.T) { w.stop(someone(t)) },
			"pull": func(t *rapid.T) {
				if c := someone(t); c.puller != nil && !c.stopped {
					c.pull(drawPull(t), rapid.Bool().Draw(t, "same inbox"))
				}
			},
			"stall": func(t *rapid.T) { c := someone(t); c.stalls = !c.stalls },
			"step":  func(t *rapid.T) { w.step(host(t)) },
			"room": func(t *rapid.T) {
				if tight {
					host(t).room = rapid.IntRange(0, 5_000).Draw(t, "bytes")
				}
			},
			"time":    func(t *rapid.T) { w.now += int64(rapid.IntRange(1, 1_500).Draw(t, "ms")) * second / 1000 },
			"process": func(t *rapid.T) { w.tell(someone(t).process()...) },
			"read": func(t *rapid.T) {
				if h := host(t); len(h.reads) > 0 {
					w.answerRead(h)
				}
			},
			"leaf": func(t *rapid.T) {
				w.unsure()
				if h := host(t); h.leaf {
					w.disconnect(h)
				} else {
					w.connect(h)
				}
			},
			"leaf breaks": func(t *rapid.T) {
				if h := host(t); h.leaf {
					w.breakLeaf(h)
				}
			},
			"a client's connection breaks": func(t *rapid.T) {
				switch c := someone(t); {
				case c.cut:
					w.rejoin(c, rapid.Bool().Draw(t, "at once"))
				case c.puller == nil && c.config.FlowControl:
					w.unsure()
					c.cut = true
				}
			},
			"restart":  func(t *rapid.T) { w.restart(host(t)) },
			"snapshot": func(t *rapid.T) { w.install(host(t)) },
			"move": func(t *rapid.T) {
				if r := w.model.all(); len(r) > 0 {
					to := host(t)
					w.tell(w.model.move(rapid.SampledFrom(r).Draw(t, "consumer").Name, to.name, to.boot))
				}
			},
			"ask for the same again": func(t *rapid.T) {
				if r := w.model.all(); asking && len(r) > 0 {
					w.tell(w.model.change(rapid.SampledFrom(r).Draw(t, "consumer")))
				}
			},
			"come back": func(t *rapid.T) {
				if c := someone(t); c.reset && !c.stopped {
					w.comeBack(c)
				}
			},
		})
		w.quiesce()
	})
}

// unsure has no client surely know when it has its initial values, or what became of its requests.
func (w *world) unsure() {
	for _, c := range w.clients {
		c.surely = false
	}
	w.unanswered()
}

// breakLeaf has what a node sends arrive nowhere, until it notices.
func (w *world) breakLeaf(h *peer) {
	w.unsure()
	h.broken = true
}

// restart ends a node's life. Its consumers are moved, as the leader would.
func (w *world) restart(h *peer) {
	w.unanswered()
	w.boot(h)
	w.rescue()
}

func (w *world) rescue() {
	for _, r := range w.model.all() {
		for _, h := range w.hosts {
			if r.Host == h.name && r.Boot != h.boot {
				w.tell(w.model.move(r.Name, h.name, h.boot))
			}
		}
	}
}

// install gives a node a snapshot in place of the entries that it has not been told of yet.
func (w *world) install(h *peer) {
	kept := h.events[:0]
	for _, e := range h.events {
		if _, is := e.(Applied); !is {
			kept = append(kept, e)
		}
	}
	h.events = append(kept, Reset{w.model.index, w.model.all()})
}

// quiesce ends all faults, and requires that everybody gets all there is.
func (w *world) quiesce() {
	for _, c := range w.clients {
		c.stalls = false
		if c.cut {
			w.rejoin(c, true)
		}
		if !c.stopped {
			w.listen(c)
		}
	}
	for _, h := range w.hosts {
		if h.broken {
			w.disconnect(h)
		}
		if !h.leaf {
			w.connect(h)
		}
	}
	w.settle()
	w.wait(3 * second)
	for _, c := range w.clients {
		if c.stopped {
			continue
		}
		if c.puller != nil {
			w.require.Empty(c.open, "client %d (%s) waits for an answer", c.id, c.name)
			w.requireCounted(c)
			w.drain(c)
		}
		w.requireComplete(c, w.model.sequence)
		// What a client was told to expect may be gone before it can be sent, if it does not listen yet or there is no room.
		if c.lives == 1 && c.begun && (c.surely || len(w.model.live) == len(w.model.stored)) {
			w.require.True(c.done || c.config.Policy == DeliverNew, "client %d waits for its initial values: told %d, got %d, pending %v", c.id, c.initial, len(c.got), c.pending)
		}
	}
}
