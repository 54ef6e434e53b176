package watch

// Answers about consumers go out on the leaf connection, where the deliveries go, so that none overtakes another: a client may take
// from an answer and from what it has got so far that there is nothing to come (specification 1.2).

// answer is one to be sent: the state as it was, or if that is nil as it is then.
type answer struct {
	ref   Ref
	reply string
	made  bool
	state *State
}

// sendAnswer sends an answer; false if there is no room for it. One about a consumer that was not there when it was asked for, and has come back uncounted since, waits
// for the count: it would say that nothing is to come (W2).
func (h *Hub) sendAnswer(a answer) bool {
	if a.state == nil {
		if c := h.consumers[a.ref]; c != nil && c.uncounted() {
			h.ask(Asked{Ref: a.ref, Reply: a.reply, Made: a.made})
			return true
		}
		a.state = h.state(a.ref)
		a.state.Made = a.made
	}
	return h.send(Send{Subject: a.reply, State: a.state})
}

func (h *Hub) state(ref Ref) *State {
	c := h.consumers[ref]
	if c == nil || c.over {
		return &State{Missing: true}
	}
	return &State{Record: &c.Record, Sequence: c.sequence, Base: c.sequence - c.sent(), Stream: c.position(), Pending: c.toCome(), Bound: c.listened && !c.Config.Pull, Pulls: len(c.pulls)}
}

// answerMade tells the client that made a consumer how much there is to come, before any of it.
func (h *Hub) answerMade(c *consumer) {
	if c.Answer != "" {
		h.answerNow(c, c.Answer, true)
		c.Answer = ""
	}
}

// answerNow answers with the state as it is now, also if the answer has to wait for room.
func (h *Hub) answerNow(c *consumer, reply string, made bool) {
	state := h.state(c.Ref)
	state.Made = made
	h.answers.push(answer{ref: c.Ref, reply: reply, state: state})
}

// ask takes a request for a consumer's state.
func (h *Hub) ask(e Asked) {
	c := h.consumers[e.Ref]
	switch {
	case e.Index > h.applied:
		if len(h.asked) < h.limits.AsksMax { // else its client asks again
			h.asked = append(h.asked, e)
		}
	case c != nil && c.uncounted():
		if h.asksCounted+h.answers.len() >= h.limits.AsksMax { // once it is counted the answer may have to wait for room
			return
		}
		c.asks = append(c.asks, e)
		if h.asksCounted++; !c.opening {
			h.recount(c)
		}
	case h.answers.len() < h.limits.AsksMax:
		h.answers.push(answer{ref: e.Ref, reply: e.Reply, made: e.Made})
	}
}

// uncounted reports whether it is to be counted what a consumer is to be sent before somebody hears of it.
func (c *consumer) uncounted() bool { return c.opening || c.guessed || c.Config.Pull && !c.over }

// asksOf takes the requests that waited until it was counted what a consumer is to be sent.
func (h *Hub) asksOf(c *consumer) (list []Asked) {
	list, c.asks = c.asks, nil
	h.asksCounted -= len(list)
	return list
}

// askedAgain takes the requests that waited for what is now applied.
func (h *Hub) askedAgain() {
	waiting := h.asked
	h.asked = nil
	h.askEach(waiting)
}

func (h *Hub) askEach(list []Asked) {
	for _, e := range list {
		h.ask(e)
	}
}
