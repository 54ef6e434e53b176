package leaf

// How much may be published: for callers that decide what to send before they send it, and must not be refused halfway.

// Room is how many bytes of messages may be published now, each counted with its subject and reply and 64 bytes more (HMSG, sizes, spaces, line ends):
// Publish then does not fail with ErrFull. It is 0 while the connection is down. Only Publish makes it less.
func (c *Conn) Room() int { return c.out.room() }

// AwaitRoom has OnRoom told when what waits has been taken. false: nothing waits, or the connection is down; OnRoom is not told.
func (c *Conn) AwaitRoom() bool { return c.out.await() }

func (o *outbound) room() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.up {
		return 0
	}
	return max(0, o.bound()-len(o.pending))
}

// bound is how much may wait: enough for any one message.
func (o *outbound) bound() int { return max(o.bytesMax, o.limits.payloadMax+subjectsMax) }

// subjectsMax bounds a message's subject and reply, with what surrounds them.
const subjectsMax = 8 << 10

func (o *outbound) await() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = o.up && len(o.pending) > 0
	return o.refused
}
