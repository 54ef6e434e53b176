package watch

// Flow control: a client that asked for it is sent no more than a window of bytes that it has not processed. When half of one is under
// way it is asked to say when it has come so far; one such request is open at a time. A client that never answers costs nothing but
// its position (specification 7.4).

import "strconv"

type window struct {
	sent, processed uint64 // bytes
	owed            bool   // a request is to be sent
	request         string // the open one's subject
	requestAt       uint64 // of sent
}

func (w *window) full(size int) bool { return w.sent-w.processed >= uint64(size) }

// left is how much more may be sent; at least one message of any size.
func (w *window) left(size int) int { return max(1, size-int(w.sent-w.processed)) }

// flow counts what was sent to a consumer.
func (h *Hub) flow(c *consumer, bytes int) {
	if c.Config.FlowControl {
		c.window.sent += uint64(bytes)
		h.wantProcessed(c)
	}
}

// wantProcessed has a client asked how far it is, if half a window is under way and it was not asked yet.
func (h *Hub) wantProcessed(c *consumer) {
	w := &c.window
	if w.request == "" && !w.owed && w.sent-w.processed >= uint64(h.limits.Window/2) {
		w.owed = true
		h.requests.push(c)
	}
}

// sendRequest sends a flow-control request; false if there is no room for it.
func (h *Hub) sendRequest(c *consumer) bool {
	w := &c.window
	if c.gone || !w.owed {
		return true
	}
	subject := "$JS.FC.KV_" + c.Bucket + "." + c.Client() + "." + h.node + "." + strconv.FormatUint(h.boot, 36) + "-" + strconv.FormatUint(h.flowed+1, 10)
	request := Send{Subject: c.to, Reply: subject, Header: flowRequest}
	if c.Config.Native {
		request = c.flowRequest(subject)
	}
	if !h.send(request) {
		return false
	}
	h.flowed++
	h.flows[subject] = c
	w.owed, w.request, w.requestAt = false, subject, w.sent
	c.sentAt = h.now
	return true
}

// processed hears that a client has processed all that was sent before a request.
func (h *Hub) processed(subject string) {
	c := h.flows[subject]
	if c == nil {
		return
	}
	delete(h.flows, subject)
	c.window.request, c.window.processed = "", c.window.requestAt
	h.wantProcessed(c)
	h.kick(c)
}

// unflow forgets what a consumer has under way.
func (h *Hub) unflow(c *consumer) {
	delete(h.flows, c.window.request)
	c.window = window{}
}

// FlowSubject is what a node subscribes to hear its clients' answers to flow-control requests.
func FlowSubject(node string) string { return "$JS.FC.*.*." + node + ".*" }
