package busclient

// A connection that is made anew though it stands: its server has said that it is about to go (F8), or NATS may grant by now what it refused (F12).
// What is under way over it is lost with it, so who owns it finishes that first: see ConnOptions.Move.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
)

// otherRetry is how often another server is looked for by a connection whose own is about to go.
const otherRetry = 250 * time.Millisecond

// infoBytesMax bounds what a server says of itself: all others of its cluster, too.
const infoBytesMax = 1 << 20

// Renew makes the connection anew, with all that is subscribed: to another server, if there is one.
func (c *Conn) Renew() {
	c.mu.Lock()
	nc := c.nc
	c.mu.Unlock()
	if nc != nil { // else it is only being made
		_ = nc.ForceReconnect() // fails only where the connection is closed
	}
}

// askAgain has NATS be asked for what it refused.
func (c *Conn) askAgain() {
	c.log.Info("NATS may grant by now what it refused, asking again")
	c.move()
}

// lameDuck is told that the server ends all its connections in some seconds, and again with all else that the server says of its cluster.
func (c *Conn) lameDuck(nc *nats.Conn) {
	before := nc.Stats().Reconnects
	if c.left == before+1 {
		return
	}
	c.left = before + 1
	c.log.Warn("the NATS server is shutting down (lame duck)", "server", nc.ConnectedServerName())
	c.leaving.Go(func() { c.leave(nc, before) })
}

// leave moves to another server once one is there. Until then the old one is of use: it lets nobody in any more.
func (c *Conn) leave(nc *nats.Conn, before uint64) {
	for said := false; nc.IsConnected() && nc.Stats().Reconnects == before; said = true {
		if c.reachesAnother(nc) {
			c.log.Info("moving to another NATS server")
			c.move()
			return
		}
		if !said {
			c.log.Warn("no other NATS server answers, staying until this one goes")
		}
		select {
		case <-c.closed:
		case <-time.After(otherRetry):
		}
	}
}

// reachesAnother reports whether another server takes connections. That it is known says little: it may be down, or be the same one. Nor does the address
// of this one: it may lead to several.
func (c *Conn) reachesAnother(nc *nats.Conn) bool {
	at, id := hostOf(nc.ConnectedUrl()), nc.ConnectedServerId()
	for _, other := range nc.Servers() {
		host := hostOf(other)
		if at == "" || c.closing.Load() {
			return false
		}
		if socket, err := c.lane.dialer.Dial("tcp", host); err == nil {
			another := host != at || isAnother(socket, id)
			_ = socket.Close()
			if another {
				return true
			}
		}
	}
	return false
}

// isAnother reports whether a server other than the one with this id has answered. One that waits for TLS says nothing, and so does who is none.
func isAnother(socket net.Conn, id string) bool {
	_ = socket.SetReadDeadline(time.Now().Add(connectTimeout))
	line, _ := bufio.NewReader(io.LimitReader(socket, infoBytesMax)).ReadBytes('\n')
	var info struct {
		ID string `json:"server_id"`
	}
	said, greeted := bytes.CutPrefix(line, []byte("INFO "))
	return greeted && json.Unmarshal(said, &info) == nil && info.ID != "" && info.ID != id
}

// hostOf is the host and port of a server's URL; empty: there is none.
func hostOf(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	return u.Host
}
