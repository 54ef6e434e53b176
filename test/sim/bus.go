package sim

// The simulated message bus between nodes. It promises what a NATS does and no more: messages may be lost, late by minutes,
// repeated and out of order, links may be clogged or cut one way, and it may say 'no responders' of a node that is well (F1-F4,
// F9, K75). Each link, from a node to a node on one of its connections, has faults of its own.

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/rpc"
)

type bus struct {
	world *world
	r     *rand.Rand
	plan  *busPlan
	links map[linkKey]*link
	carried, lost,
	repeated, late, strayed uint64
	shared uint64 // of the carried ones, those to all
}

type linkKey struct {
	from, to rpc.NodeID
	path     connPath
}

// connPath is which of a node's connections: busclient has two.
type connPath int

const (
	control connPath = iota
	bulk
	connPaths
)

// link is one direction between two nodes on one connection.
type link struct {
	cut     bool          // nothing passes
	cuts    int           // how often it was cut: the end of an earlier cut mends nothing
	mute    bool          // a cut one never says 'no responders'
	clogged time.Duration // until then what is sent waits, and then all of it arrives
	last    time.Duration // when the last message arrives: the next one does later, unless links reorder
}

// busPlan is how bad the bus is in general.
type busPlan struct {
	delayMin, delayMean time.Duration // of a message: the least, and what is on average added
	loss, repeat        float64
	stray               float64 // the part of messages that reach somebody else too
	reorder             bool
	late                float64       // the part of messages that is held back
	lateMax             time.Duration // for how long at most (F4)
	falseNobody         float64       // the part of lost messages of which the bus says that nobody was there (K75)
	maxPayload          int64
}

func (b *bus) link(from, to rpc.NodeID, p connPath) *link {
	key := linkKey{from, to, p}
	l := b.links[key]
	if l == nil {
		l = &link{}
		b.links[key] = l
	}
	return l
}

func (b *bus) chance(p float64) bool { return p > 0 && b.r.Float64() < p }

// quiet ends the bus's own faults, but for what is on its way. Order comes back too: without it no message in parts arrives.
func (b *bus) quiet() {
	b.plan.reorder = false
	b.plan.loss, b.plan.repeat, b.plan.late, b.plan.falseNobody, b.plan.stray = 0, 0, 0, 0, 0
}

// ends finds who a subject is for and from: <prefix>.rpc.<to>.<from>.<rest>.
func ends(subject string) (to, from rpc.NodeID) {
	rest := subject[strings.IndexByte(subject, '.')+1:]
	rest = rest[strings.IndexByte(rest, '.')+1:]
	receiver, rest, _ := strings.Cut(rest, ".")
	sender, _, _ := strings.Cut(rest, ".")
	return rpc.NodeID(receiver), rpc.NodeID(sender)
}

// send takes a message on its way: to each node, if it is for all.
func (b *bus) send(c *conn, subject, reply string, data []byte) {
	b.carried++
	to, _ := ends(subject)
	if to != busclient.AllNodes {
		b.sendTo(c, to, subject, reply, data)
		return
	}
	b.shared++
	for _, n := range b.world.list {
		b.sendTo(c, n.id, subject, reply, data)
	}
}

// sendTo takes a message on its way to a node.
func (b *bus) sendTo(c *conn, to rpc.NodeID, subject, reply string, data []byte) {
	l := b.link(c.node.id, to, c.path)
	switch {
	case l.cut:
		b.lost++
		if !l.mute {
			b.nobody(c, reply)
		}
		return
	case b.chance(b.plan.loss):
		b.lost++
		if b.chance(b.plan.falseNobody) {
			b.nobody(c, reply)
		}
		return
	}
	d := busclient.Delivery{Subject: subject, Reply: reply, Data: bytes.Clone(data)}
	b.world.at(b.arrival(l), func() { b.arrive(c, to, d) })
	if b.chance(b.plan.stray) {
		b.stray(c, busclient.Delivery{Subject: subject, Reply: reply, Data: bytes.Clone(data)})
	}
	for b.chance(b.plan.repeat) {
		b.repeated++
		again := busclient.Delivery{Subject: subject, Reply: reply, Data: bytes.Clone(data)}
		b.world.at(b.world.now+b.delay(), func() { b.arrive(c, to, again) })
	}
}

func (b *bus) delay() time.Duration {
	d := b.plan.delayMin + time.Duration(b.r.ExpFloat64()*float64(b.plan.delayMean))
	if b.chance(b.plan.late) {
		b.late++
		d += time.Duration(b.r.Float64() * float64(b.plan.lateMax))
	}
	return d
}

// arrival draws when a message arrives.
func (b *bus) arrival(l *link) time.Duration {
	at := max(b.world.now+b.delay(), l.clogged)
	if !b.plan.reorder {
		at = max(at, l.last+1)
		l.last = at
	}
	return at
}

// arrive is a message at the server that its receiver listens to, if it does.
func (b *bus) arrive(from *conn, to rpc.NodeID, d busclient.Delivery) {
	n := b.world.nodes[to]
	if n == nil {
		b.nobody(from, d.Reply)
		return
	}
	heard := false
	for _, c := range n.conns {
		for i := range c.subs {
			if s := &c.subs[i]; c.up && matches(s.pattern, d.Subject) {
				heard = true
				b.world.deliver(n, s.handle, d)
			}
		}
	}
	if !heard && b.world.now >= n.missedFrom {
		b.nobody(from, d.Reply)
	}
}

// nobody tells who sent a request that nobody listens there. Of one to all it does not say so, since somebody does.
func (b *bus) nobody(c *conn, reply string) {
	if _, from := ends(reply); reply == "" || from == busclient.AllNodes {
		return
	}
	d := busclient.Delivery{Subject: reply, NoResponders: true}
	b.world.at(b.world.now+b.plan.delayMin+1, func() {
		for i := range c.subs {
			if s := &c.subs[i]; c.up && matches(s.pattern, reply) {
				b.world.deliver(c.node, s.handle, d)
			}
		}
	})
}

// matches reports whether a subject is one of a pattern, in which a token may be '*'.
func matches(pattern, subject string) bool {
	for {
		i, j := 0, 0
		if pattern != "" && pattern[0] == '*' {
			i, j = 1, strings.IndexByte(subject, '.')
			if j < 0 {
				j = len(subject)
			}
			if j == 0 {
				return false
			}
		}
		pattern, subject = pattern[i:], subject[j:]
		star := strings.IndexByte(pattern, '*')
		if star < 0 {
			return pattern == subject
		}
		if len(subject) < star || pattern[:star] != subject[:star] {
			return false
		}
		pattern, subject = pattern[star:], subject[star:]
	}
}
