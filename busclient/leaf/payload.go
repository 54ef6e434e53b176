package leaf

// How large a message may be (F11). A server says on its leafnode port what max_payload was when that port began to listen, whatever a reload has made of
// it since, and nothing of an account's limits; to clients it says what holds as they connect. What is too large ends the connection.

import (
	"time"

	"github.com/raftbus/raftbus/busclient/internal/regain"
)

// payload is what is known of it, by all connections in turn.
type payload struct {
	said    int // on the leafnode port of the last server
	clients int // to the last client that told; 0: none did
	refused int // so large a message ended a connection; 0: none did since one of them became news
	largest int // that was sent over the connection of the moment

	wait  time.Duration // for which the last refusal is believed against the clients' word
	ends  time.Time     // when that is over
	doubt bool          // it was against that word, as it was then
}

// max is the larger of what was said and not refused since: another server may have said it to the client, and what is held back for nothing a watcher
// never gets (W2), while what is sent in vain costs one connection.
func (p *payload) max() (bytes int) {
	for _, said := range []int{p.said, p.clients} {
		if p.refused == 0 || said < p.refused {
			bytes = max(bytes, said)
		}
	}
	if bytes == 0 {
		return p.refused - 1
	}
	return bytes
}

func (p *payload) hear(said int) {
	if said != p.said {
		p.said, p.refused = said, 0
	}
}

// hearOfClients ends a refusal against which clients are told that so large a message may be sent, after a while: the server may have been reloaded since,
// and says nothing of it here. ask: a client is to ask again. Its server may have been behind too: some times it does, ever more seldom.
func (p *payload) hearOfClients(said int, now time.Time) (ask bool) {
	over := now.After(p.ends)
	if said > p.clients || said >= p.refused && over {
		p.refused = 0
	}
	p.clients = said
	if ask = p.refused > 0 && p.doubt && over && p.wait < regain.WaitMax; ask {
		p.wait = regain.Longer(p.wait, regain.WaitMin)
		p.ends = now.Add(p.wait)
	}
	return ask
}

// refuse reports whether a client is to ask what is so now: what it was told is otherwise, and it was not asked lately. What ended the connection was as
// large as the largest message at most. What is refused again and again is tried ever more seldom, as a subscription is.
func (p *payload) refuse(now time.Time) (ask bool) {
	if now.Sub(p.ends) > regain.WaitMax {
		p.wait = 0
	}
	first := p.wait == 0
	p.wait = regain.Longer(p.wait, regain.WaitMin)
	p.refused, p.ends = p.largest, now.Add(p.wait)
	p.doubt = p.refused <= p.clients
	return p.doubt && first
}

// ClientsMaySend is to be told what NATS says to a client of the same account about max_payload, each time that it connects, and every few seconds.
func (c *Conn) ClientsMaySend(bytes int64) {
	raised, ask := false, false
	c.out.limit(func(l *limits) {
		ask = c.out.payload.hearOfClients(int(min(bytes, messageBytesMax)), time.Now())
		raised = l.payloadMax > 0 && c.out.payload.max() > l.payloadMax
		if c.out.payload.refused > 0 { // until now it may have been all that was not refused
			l.payloadMax = min(l.payloadMax, c.out.payload.max())
		}
	})
	if raised { // a server holds a leaf to what it was when that connected
		c.now.Load().end(errRaised)
	}
	if ask {
		c.settings.OnPayloadRefused()
	}
}

// payloadRefused is told that the server ends the connection for what was sent.
func (s *session) payloadRefused() {
	ask := false
	s.out.limit(func(*limits) { ask = s.out.payload.refuse(time.Now()) })
	if ask {
		s.settings.OnPayloadRefused()
	}
}
