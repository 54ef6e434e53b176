package watch

// What happens when a client may lack messages: its consumer has another host, which does not know what the one before has sent, or the connection
// was lost, of its host or its own.
//
// The consumer begins again, and its first message has the number 1 if its client counts, the others numbers that are above all that the client can have. So who
// has got nothing yet takes the first for what it is. Any other message has a number that the client does not expect, and an ordered consumer comes back at the entry after
// the last that it took, exactly. Only messages say so to all clients, since most do not look at the numbers in heartbeats, and nats.js takes a heartbeat for the
// end of a list: none is sent as long as there is an entry to send instead.
//
// Who counts is sent two messages, again and again, until it is gone. Who still listens after so long that a client that has heard nothing asks anew does not
// count after all, and is sent the rest, as is at once who does not ask for what ordered consumers need.

const (
	// doubtQuota is what a client that counts is sent: one message that it may take, and one that it does not.
	doubtQuota = 2
	// doubtAfterMax is how long after the last message it is sent so many again, at most.
	doubtAfterMax = 1_000_000_000
	// deafFor is after how many heartbeats that it has not heard a client asks anew: nats.java waits for the most.
	deafFor = 3
)

// counts reports whether the client of a consumer notices a number that it does not expect: all ordered consumers have both (nats-pure.rb, which has heartbeats only,
// does not look), and native watches are to. The client of a durable one keeps to it, and no ordered consumer acknowledges.
func (c *consumer) counts() bool {
	return c.Config.Heartbeat > 0 && !c.Config.Durable && (c.Config.FlowControl || c.Config.Native)
}

// doubts has a consumer find out by little whether its client is still there.
func (c *consumer) doubts() { c.doubt, c.quota, c.told = c.counts(), doubtQuota, 0 }

// mistrust has a consumer begin again: what was sent may be lost.
func (h *Hub) mistrust(c *consumer) {
	h.unflow(c)
	c.doubts()
	h.again(c)
}

// again has a consumer begin again, with numbers above all that it has sent.
func (h *Hub) again(c *consumer) {
	c.number(max(c.base, c.sequence))
	c.sequence, c.pending = 0, 0
	h.stand(c)
	c.start()
	h.count(c)
}

// number sets what numbers a consumer's messages have, from its beginning or from a new beginning after some. After a new beginning only a client that counts is
// sent a first message with the number 1, since it is told again until it has noticed. Another might lose that message: if it had got one message from the host
// before, a heartbeat that counts 1 would tell it that it has all (W4). The number after all that were sent is not given either: who has got them expects it.
func (c *consumer) number(base uint64) {
	c.base, c.first = base, 1
	if base > 0 && !c.counts() && !c.Config.Pull {
		c.first = base + 2
	}
}

// following is the number of the next message.
func (c *consumer) following() uint64 {
	switch c.sequence {
	case 0:
		return c.first
	case 1:
		return c.base + 2
	}
	return c.sequence + 1
}

// sent is how many messages were sent since the consumer began.
func (c *consumer) sent() uint64 {
	switch {
	case c.sequence <= 1:
		return c.sequence
	case c.first > 1:
		return c.sequence - c.first + 1
	}
	return c.sequence - c.base
}

// mayDoubt reports whether a consumer in doubt may be sent something. From a node that does not follow the log its client could not come back. At the head there
// is little to send, and nothing to wait for.
func (h *Hub) mayDoubt(c *consumer) bool { return !h.astray && (c.quota > 0 || c.isHead()) }

// doubtAfter is how long after the last message a consumer in doubt is sent something.
func (c *consumer) doubtAfter() int64 { return min(c.Config.Heartbeat, doubtAfterMax) }

// tellAgain sends a consumer in doubt a few messages in place of a heartbeat; false if there is none to be sent.
func (h *Hub) tellAgain(c *consumer) bool {
	if !c.doubt {
		return false
	}
	if c.told++; int64(c.told)*c.doubtAfter()/deafFor > c.Config.Heartbeat {
		c.doubt = false
		h.kick(c)
		return false
	}
	switch {
	case c.sequence > 0: // from the first on: it is lost perhaps, and is all that who has got nothing takes for what it is (K70)
		h.again(c)
	case c.isHead():
		return false
	}
	h.unflow(c)
	c.quota, c.sentAt = doubtQuota, h.now
	h.kick(c)
	return true
}

// follows takes whether this node follows the log.
func (h *Hub) follows(log bool) {
	h.astray = !log
	for _, c := range h.all {
		if c.doubt {
			h.kick(c)
		}
	}
}
