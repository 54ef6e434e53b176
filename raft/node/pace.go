package node

// How fast snapshots are sent. It is a matter of speed alone: no safety rule reads it.

import "time"

// pace is how fast chunks of snapshots leave this node, for all streams together (L7): by a rate that rises a little with each chunk
// that is stored in good time, and is halved when chunks take much longer on their way than they need to. That is all a
// sender sees of a line, a peer's disk or a processor that others wait for too. While clients ask something the rate has a lower
// bound above it: what comes after a pause of theirs must not meet a full line.
//
// It is bookkeeping of the loop: no timer, no lock. Time comes from outside.
type pace struct {
	rate    int           // in sixteenths of a chunk per tick
	saved   int           // sixteenths of chunks that may be sent now
	clients int           // ticks for which clients count as present
	way     time.Duration // round trip of a chunk, smoothed
	least   time.Duration // the least that was, lately
	rest    int           // ticks before the rate may be halved again
}

const (
	paceUnit = 16
	// paceLeast is 0.8 MiB/s with the default tick and chunk: a snapshot always comes forward.
	paceLeast = paceUnit / 16
	// paceBeside bounds the rate while clients ask: 12.5 MiB/s with the default tick and chunk. Measured with three nodes on one disk and two
	// cores: p99 of writes rose to 1.7 times what it was, 1.1 ms, and with chunks of 256 KiB at the same or twice that rate to 1.9 or 2.2 times;
	// where the cores had other work without the halving to 3.5 times.
	paceBeside = paceUnit
	// paceAlone bounds it when nobody asks: 100 MiB/s, a whole window in each tick.
	paceAlone = windowChunks * paceUnit
	// paceClients is for how many ticks after a request clients count as present.
	paceClients = 20
	// paceRest is how many ticks lie between two halvings: what was sent before the first one has come back then.
	paceRest = 5
	// paceSlack is how much longer than twice its least a round trip may be: one tick, which is how finely chunks are sent.
	paceSlack = 10 * time.Millisecond
)

// newPace begins slowly: so that the first chunks show how long their way is while nobody is in it, and a busy machine is not met with more
// than it can do. It takes half a second to the full rate.
func newPace() pace { return pace{rate: paceLeast} }

// tick has time pass.
func (p *pace) tick() {
	p.clients, p.rest = max(p.clients-1, 0), max(p.rest-1, 0)
	p.rate = min(p.rate, p.most())
	p.saved = min(p.saved+p.rate, max(p.rate, paceUnit))
}

func (p *pace) most() int {
	if p.clients > 0 {
		return paceBeside
	}
	return paceAlone
}

// asked: clients ask something.
func (p *pace) asked() {
	p.clients = paceClients
	p.saved = min(p.saved, paceUnit)
}

// take reports whether a chunk may be sent now, and counts it.
func (p *pace) take() bool {
	if p.saved < paceUnit {
		return false
	}
	p.saved -= paceUnit
	return true
}

// stored: a chunk that was sent once was stored, so long after it was sent.
func (p *pace) stored(took time.Duration) {
	if took < 0 {
		return // the clock was set back
	}
	if p.way == 0 {
		p.way, p.least = took, took
	}
	p.way += (took - p.way) / 8
	p.least = min(p.way, p.least+(p.way-p.least)/256) // it follows slowly, should the way be longer now for good
	switch {
	case p.way <= 2*p.least+paceSlack:
		p.rate = min(p.rate+1, p.most())
	default:
		p.lost()
	}
}

// lost: a chunk takes too long, or was not stored.
func (p *pace) lost() {
	if p.rest == 0 {
		p.rate, p.rest = max(p.rate/2, paceLeast), paceRest
	}
}
