package watch

// Who listens: the leaf connection tells of the subjects that Effects.Watch names. No message goes to a subject that nobody listens to,
// and a consumer that nobody has listened to for too long is idle. While the connection is down nothing is known, and nothing counted.

import "slices"

// watchDeliver has the connection tell of a consumer's subject.
func (h *Hub) watchDeliver(c *consumer) {
	if c.to == "" {
		c.listened = false
		h.unheard(c)
		return
	}
	c.listened = h.listened[c.to]
	h.delivers[c.to] = append(h.delivers[c.to], c)
	h.out.Watch = append(h.out.Watch, Watch{Subject: c.to})
	h.unheard(c)
}

// unheard begins to count how long nobody uses a consumer, if nobody does.
func (h *Hub) unheard(c *consumer) {
	c.leftAt, c.idle = -1, c.over
	if h.leaf && c.unused() {
		c.leftAt = h.now
	}
}

func (h *Hub) unwatchDeliver(c *consumer) {
	if c.to == "" {
		return
	}
	h.out.Watch = append(h.out.Watch, Watch{Subject: c.to, Ended: true})
	list := h.delivers[c.to]
	at := slices.Index(list, c)
	if list = slices.Delete(list, at, at+1); len(list) > 0 {
		h.delivers[c.to] = list
		return
	}
	delete(h.delivers, c.to)
	delete(h.listened, c.to)
}

// interested takes what the connection tells of a subject.
func (h *Hub) interested(e Interest) {
	list := h.delivers[e.Subject]
	was, known := h.listened[e.Subject]
	if len(list) == 0 || known && was == e.Listened {
		return
	}
	h.listened[e.Subject] = e.Listened
	for _, c := range slices.Clone(list) { // one that turns to another request leaves the list
		if !known && c.opening {
			h.toOpen(c)
		}
		c.listened = e.Listened
		if c.Config.Pull {
			h.pullHeard(c)
			h.kick(c)
		} else if e.Listened {
			c.leftAt, c.idle, c.sentAt = -1, false, h.now
			h.kick(c)
		} else if h.leaf {
			c.leftAt = h.now
		}
		h.schedule(c)
	}
}

// connected begins to count how long nobody listens.
func (h *Hub) connected() {
	h.leaf = true
	for _, c := range h.all {
		if c.unused() {
			c.leftAt = h.now
		}
		if len(c.pulls) > 0 {
			h.pullHeard(c)
		}
		c.sentAt = h.now
		h.schedule(c)
		h.kick(c)
	}
}

// disconnected ends that. What was sent last may not have arrived.
func (h *Hub) disconnected() {
	if !h.leaf {
		return
	}
	h.leaf = false
	h.out.Send = h.out.Send[:0] // of this step: as lost as what was sent just before
	for _, c := range h.all {
		c.leftAt = -1
		h.unflow(c)
		if c.Config.Pull {
			if c.asker != "" {
				h.giveUp(c)
			}
		} else if c.sequence > 0 {
			h.mistrust(c)
		}
		h.schedule(c)
	}
}
