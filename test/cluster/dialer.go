package cluster

// Faults of the network for clusters within one process: connections to NATS that a test cuts or clogs. Each node has a wire of its own, so one may be
// ill while the others are well. Bytes are held back or lost, never changed.

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Wire is a node's network to NATS: it can be cut (connections close, none can be made) or clogged (connections stay, and
// nothing passes: half-open, F10). It is a nats.CustomDialer.
type Wire struct {
	mu    sync.Mutex
	free  *sync.Cond
	cut   bool
	clog  bool
	conns map[*wireConn]bool
}

// NewWire makes a wire that works.
func NewWire() *Wire {
	w := &Wire{conns: map[*wireConn]bool{}}
	w.free = sync.NewCond(&w.mu)
	return w
}

var errCut = errors.New("the wire is cut")

// Dial implements nats.CustomDialer.
func (w *Wire) Dial(network, address string) (net.Conn, error) {
	w.mu.Lock()
	refused := w.cut || w.clog
	w.mu.Unlock()
	if refused {
		return nil, errCut
	}
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return nil, err
	}
	return w.take(conn)
}

// take makes a connection one of the wire, or closes it if the wire has been cut since it was dialled: Cut did not know of it.
func (w *Wire) take(conn net.Conn) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut || w.clog {
		_ = conn.Close() // nothing was sent over it
		return nil, errCut
	}
	c := &wireConn{Conn: conn, wire: w}
	w.conns[c] = true
	return c, nil
}

// Cut closes all connections and refuses new ones, until Heal.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		_ = c.Conn.Close()
	}
}

// Clog lets nothing pass in either direction, until Heal; what is written meanwhile is lost.
func (w *Wire) Clog() {
	w.mu.Lock()
	w.clog = true
	w.mu.Unlock()
}

// Heal lets everything pass again. Connections that were clogged are gone: a stream with a hole in it is none.
func (w *Wire) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.clog {
		for c := range w.conns {
			_ = c.Conn.Close()
		}
	}
	w.cut, w.clog = false, false
	w.free.Broadcast()
}

// wireConn is one connection over a wire.
type wireConn struct {
	net.Conn
	wire *Wire
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	for c.wire.clog && c.wire.conns[c] {
		c.wire.free.Wait()
	}
	return n, err
}

func (c *wireConn) Write(p []byte) (int, error) {
	c.wire.mu.Lock()
	clogged := c.wire.clog
	c.wire.mu.Unlock()
	if clogged {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *wireConn) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.conns, c)
	c.wire.free.Broadcast()
	c.wire.mu.Unlock()
	return c.Conn.Close()
}
