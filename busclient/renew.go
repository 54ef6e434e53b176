package busclient

// A connection that is made anew though it stands: its server has said that it is about to go (F8), or NATS may grant by now what it refused (F12).
// What is under way over it is lost with it, so who owns it finishes that first: see ConnOptions.Move.

import (
	"slices"

	"github.com/nats-io/nats.go"
)

// Renew makes the connection anew, with all that is subscribed: to another server, if there is one.
func (c *Conn) Renew() { _ = c.nc.ForceReconnect() } // fails only where the connection is closed

// askAgain has NATS be asked for what it refused.
func (c *Conn) askAgain() {
	c.log.Info("NATS may grant by now what it refused, asking again")
	c.move()
}

// lameDuck is told that the server ends all its connections in some seconds. Where there is no other, they are of use until then.
func (c *Conn) lameDuck(nc *nats.Conn) {
	at := nc.ConnectedUrl()
	if !slices.ContainsFunc(nc.Servers(), func(other string) bool { return other != at }) {
		c.log.Warn("the NATS server is shutting down (lame duck), and no other is known", "server", nc.ConnectedServerName())
		return
	}
	c.log.Warn("the NATS server is shutting down (lame duck), moving to another", "server", nc.ConnectedServerName())
	c.move()
}
