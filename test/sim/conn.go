package sim

// A node's connection to the simulated bus, which is up or down as the world says.

import (
	"time"

	"github.com/raftbus/raftbus/busclient"
)

// conn is one connection of a node to the simulated bus: a busclient.Bus. It belongs to one life of the node.
type conn struct {
	bus    *bus
	node   *node
	path   connPath
	up     bool
	since  time.Time // by the node's clock
	subs   []subscription
	status []func(bool)
}

type subscription struct {
	pattern string
	handle  func(busclient.Delivery)
}

func newConn(b *bus, n *node, p connPath) *conn {
	return &conn{bus: b, node: n, path: p, since: n.clock.now()}
}

// set connects or disconnects. A connection that was lost may be back before anybody looked: then only since tells.
func (c *conn) set(up bool) {
	if c.up == up {
		return
	}
	c.up, c.since = up, c.node.clock.now()
	for _, changed := range c.status {
		changed(up)
	}
}

func (c *conn) Publish(subject, reply string, data []byte) error {
	if !c.up {
		return busclient.ErrBusDown
	}
	c.bus.send(c, subject, reply, data)
	return nil
}

func (c *conn) Subscribe(subject string, handle func(busclient.Delivery)) (func(), error) {
	c.subs = append(c.subs, subscription{subject, handle})
	return func() { c.subs = nil }, nil
}

func (c *conn) MaxPayload() int64           { return c.bus.plan.maxPayload }
func (c *conn) Up() (bool, time.Time)       { return c.up, c.since }
func (c *conn) OnStatus(changed func(bool)) { c.status = append(c.status, changed) }
func (c *conn) Flush(time.Duration) error   { return nil }
func (c *conn) OnDelivered(func(bool))      {}
func (c *conn) Cork()                       {}
func (c *conn) Uncork()                     {}

var _ busclient.Bus = (*conn)(nil)
