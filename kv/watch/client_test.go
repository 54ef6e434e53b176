package watch

// A client as the official ones are: an ordered consumer, and the watcher on top of it that says when the initial values are complete.

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// looks says which numbers a client compares with the one that it expects.
type looks uint8

const (
	atAll      looks = iota // nats.rs, and nats.go lately
	onceItHas               // at those in heartbeats once its present consumer has sent it something: nats.py, nats.c, nats.go
	atMessages              // nats.js, which takes a heartbeat for the end of a list, nats.java, nats.net
	atNone                  // nats-pure.rb, which has heartbeats, and lists of nats.java, which have none
)

type client struct {
	w       *world
	looks   looks
	id      int
	config  Config
	name    string // of its present consumer
	deliver string
	start   uint64 // the bucket's last sequence when it began to watch
	made    uint64 // the index that its first consumer was made at
	lives   int    // consumers that it has had
	expect  uint64 // the next consumer sequence
	last    uint64 // the last revision
	got     []uint64
	pending []uint64 // what the messages said
	begun   bool     // its request was answered
	initial uint64
	done    bool // has its initial values
	doneAt  int  // got by then
	beats   int
	stalls  bool // does not answer flow control
	asked   []string
	bound   bool
	cut     bool // its own connection is lost, which nobody knows yet
	reset   bool // wants to come back
	stopped bool
	surely  bool // it surely gets to know when it has its initial values
	*puller      // nil: messages are pushed
}

// create makes a consumer, as at first or as one that comes back.
func (c *client) create() {
	c.lives++
	c.expect, c.reset, c.asked, c.bound = 1, false, nil, false
	c.name = fmt.Sprintf("c%d-%d", c.id, c.lives)
	c.deliver = fmt.Sprintf("_INBOX.%s.x", c.name)
	config := c.config
	if c.lives > 1 {
		config.Policy, config.StartSequence = DeliverByStartSequence, c.last+1
	}
	to := c.deliver
	if config.Pull {
		if to = PullDeliver; c.puller == nil {
			c.puller = newPuller()
		}
		c.puller.again(c.w)
	}
	c.w.place(Record{Ref: Ref{Name: c.name}, Config: config, Deliver: to, Answer: "answer." + c.name})
	if c.lives == 1 {
		c.made = c.w.model.index
	}
}

// requireKeys requires that a client that is told that nothing is to come has something of each key that has been there since its consumer was made, however
// often that was written again (W2).
func (c *client) requireKeys() {
	if c.lives > 1 || c.config.Policy != DeliverAll && c.config.Policy != DeliverLastPerSubject {
		return
	}
	has := map[string]bool{}
	for _, sequence := range c.got {
		has[c.w.model.stored[sequence].Key] = true
	}
	for _, e := range c.w.model.live {
		if c.w.model.since[e.Key] <= c.made && c.config.Filter.Match(e.Key) {
			c.w.require.True(has[e.Key], "W2: client %d (%s) is told that it has all, and lacks %s; it has %v", c.id, c.name, e.Key, c.got)
		}
	}
}

// answered hears what became of its request.
func (c *client) answered(s *State) {
	if s.Missing && c.config.Pull {
		c.reset = true
	}
	if c.begun || !s.Made || s.Missing {
		return
	}
	c.begun, c.initial = true, s.Pending+s.Sequence-s.Base // as nats.go does
	if s.Pending == 0 && len(c.got) == 0 {
		c.done = true
		c.requireKeys()
	}
}

func (c *client) hear(s Send) {
	if c.puller != nil && c.inboxes[s.Subject] && !c.stopped {
		c.pulled(s)
		return
	}
	if c.stopped || c.cut || s.Subject != c.deliver || !c.bound {
		return
	}
	switch {
	case bytes.HasPrefix(s.Header, []byte("NATS/1.0 100 Idle Heartbeat")):
		c.heartbeat(s)
	case bytes.HasPrefix(s.Header, []byte("NATS/1.0 100 FlowControl Request")):
		c.asked = append(c.asked, s.Reply)
	default:
		c.message(s)
	}
}

func (c *client) heartbeat(s Send) {
	c.beats++
	last := headerNumber(s.Header, headerLast)
	c.w.require.LessOrEqual(last, c.w.sentOn[c.deliver], "a heartbeat counts what was not sent")
	if last != c.expect-1 && (c.looks == atAll || c.looks == onceItHas && c.expect > 1) {
		c.reset = true
		return
	}
	if stalled := headerText(s.Header, headerStalled); stalled != "" {
		c.asked = append(c.asked, stalled)
	} else if c.config.Policy != DeliverByStartTime {
		c.w.requireComplete(c, headerNumber(s.Header, headerStream))
	}
}

func (c *client) message(s Send) {
	reply, subject, _ := strings.Cut(s.Reply, "@")
	t := strings.Split(reply, ".")
	c.w.require.Len(t, 9, s.Reply)
	c.w.require.Equal([]string{"$JS", "ACK", "KV_b", c.name, "1"}, t[:5])
	sequence, of, pending := number(t[5]), number(t[6]), number(t[8])
	if of != c.expect && c.looks != atNone {
		c.reset = true // and what came is not taken
		return
	}
	c.expect++
	e := c.w.model.stored[sequence]
	c.w.require.Equal("$KV.b."+e.Key, subject)
	c.w.require.Equal(strconv.FormatInt(e.Time, 10), t[7])
	c.w.require.True(c.config.Filter.Match(e.Key))
	c.w.require.Equal(string(e.Value), string(s.Body))
	c.take(sequence)
	c.pending = append(c.pending, pending)
	if pending == 0 {
		c.requireKeys()
	}
	if !c.done && (pending == 0 || c.begun && uint64(len(c.got)) >= c.initial) {
		c.done, c.doneAt = true, len(c.got)
	}
}

// take takes an event. Only who does not look at numbers may get one twice. It is kept once, and so this client is kinder than a list of nats.java is: that
// counts what comes again after a loss, and may end without all keys (docs/nats-kv.md). No host can keep it from that: it looks at nothing that would show it.
func (c *client) take(sequence uint64) {
	at, again := slices.BinarySearch(c.got, sequence)
	c.w.require.True(c.looks == atNone || sequence > c.last, "W1: %d after %d", sequence, c.last)
	if c.last = max(c.last, sequence); !again {
		c.got = slices.Insert(c.got, at, sequence)
	}
}

// process answers the flow-control requests, unless the client stalls.
func (c *client) process() (events []Event) {
	if c.stalls || c.stopped || c.cut {
		return nil
	}
	for _, subject := range c.asked {
		events = append(events, Processed{subject})
	}
	c.asked = nil
	return events
}

func (c *client) has(sequence uint64) bool {
	_, found := slices.BinarySearch(c.got, sequence)
	return found
}

func headerText(header []byte, name string) string {
	_, after, found := strings.Cut(string(header), name)
	if !found {
		return ""
	}
	text, _, _ := strings.Cut(after, headerEnd)
	return text
}

func headerNumber(header []byte, name string) uint64 { return number(headerText(header, name)) }

func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}
