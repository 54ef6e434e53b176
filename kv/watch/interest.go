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
	h.watchSubject(c, c.to)
	c.listened = h.listened[c.to]
	h.unheard(c)
}

// watchSubject has the connection tell of a subject that a consumer sends to, or is to.
func (h *Hub) watchSubject(c *consumer, subject string) {
	h.delivers[subject] = append(h.delivers[subject], c)
	h.out.Watch = append(h.out.Watch, Watch{Subject: subject})
}

// unheard begins to count how long nobody uses a consumer, if nobody does.
func (h *Hub) unheard(c *consumer) {
	c.leftAt, c.idle = -1, c.over
	if h.leaf && c.unused() {
		c.leftAt = h.now
	}
}

// unwatchDeliver ends what watchDeliver began. Those of a pull consumer end with its requests.
func (h *Hub) unwatchDeliver(c *consumer) {
	if !c.Config.Pull && c.to != "" {
		h.unwatchSubject(c, c.to)
	}
}

func (h *Hub) unwatchSubject(c *consumer, subject string) {
	h.out.Watch = append(h.out.Watch, Watch{Subject: subject, Ended: true})
	list := h.delivers[subject]
	at := slices.Index(list, c)
	if list = slices.Delete(list, at, at+1); len(list) > 0 {
		h.delivers[subject] = list
		return
	}
	delete(h.delivers, subject)
	delete(h.listened, subject)
}

// interested takes what the connection tells of a subject.
func (h *Hub) interested(e Interest) {
	list := h.delivers[e.Subject]
	was, known := h.listened[e.Subject]
	if len(list) == 0 || known && was == e.Listened && !e.Away {
		return
	}
	h.listened[e.Subject] = e.Listened
	for _, c := range slices.Clone(list) { // one whose requests end leaves the list
		if !known && c.opening {
			h.toOpen(c)
		}
		if c.to == e.Subject {
			c.listened = e.Listened
		}
		if c.Config.Pull {
			h.pullHeard(c, e.Subject)
			h.kick(c)
			h.hurry(c, h.now+pullBeatMin) // one look for all its requests, however many subjects they have answers on
			continue
		}
		if e.Listened {
			h.cameBack(c)
		} else if h.leaf {
			c.leftAt = h.now
		}
		h.schedule(c)
	}
}

// cameBack has a consumer go on for who listens again. What was sent last may have been lost with the client's connection. Who counts is told, and comes back at what it lacks;
// another is not: it would get everything again, however often it subscribes anew.
func (h *Hub) cameBack(c *consumer) {
	c.leftAt, c.idle, c.sentAt = -1, false, h.now
	if c.sequence > 0 && c.counts() {
		h.mistrust(c)
	}
	h.kick(c)
}

// connected begins to count how long nobody listens.
func (h *Hub) connected() {
	h.leaf = true
	for _, c := range h.all {
		if c.unused() {
			c.leftAt = h.now
		}
		for subject := range c.targets {
			h.pullHeard(c, subject)
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
