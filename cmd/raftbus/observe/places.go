package observe

// Places for connections by HTTP. There are so many, and who comes when all are taken does not wait for one: it takes the place of a connection
// that says nothing. Else as many silent ones as there are places would keep out who asks whether a node lives, and it would be started again,
// though it is well.
//
// Whose place is taken: of the host that has most of them, the connection that has been waited for longest. So one host displaces
// none of a host that has fewer, however many it opens; many hosts displace each other, and who asks as soon as it is connected is displaced only by as many
// new connections as there are places, in that moment. What a connection is being answered by work (Server.bounded) it keeps its place for: those are fewer
// than there are places.

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
)

// places is a listener that holds so many connections at once.
type places struct {
	net.Listener
	number int // more than there are busy ones at once

	lock sync.Mutex
	held []*place // who was accepted or answered last is last
}

// place is a connection that has one.
type place struct {
	net.Conn
	of   *places
	host string
	busy bool // guarded by places.lock
}

func (p *places) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	next := &place{Conn: conn, of: p, host: hostOf(conn)}
	if displaced := p.take(next); displaced != nil {
		_ = displaced.Close() // it is only to be gone
	}
	return next, nil
}

// take gives a connection a place, and returns the one that had it, if any.
func (p *places) take(next *place) (displaced *place) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if len(p.held) >= p.number {
		displaced = p.dispensable()
		p.leave(displaced)
	}
	p.held = append(p.held, next)
	return displaced
}

// dispensable is the connection that goes next.
func (p *places) dispensable() (chosen *place) {
	of := map[string]int{}
	for _, h := range p.held {
		of[h.host]++
	}
	for _, h := range p.held {
		if !h.busy && (chosen == nil || of[h.host] > of[chosen.host]) {
			chosen = h
		}
	}
	return chosen
}

func (p *places) leave(h *place) {
	p.held = slices.DeleteFunc(p.held, func(other *place) bool { return other == h })
}

// Close gives the place back.
func (h *place) Close() error {
	h.of.lock.Lock()
	h.of.leave(h)
	h.of.lock.Unlock()
	return h.Conn.Close()
}

// answering says whether a connection is being answered what takes work. Who has been answered is waited for anew.
func (h *place) answering(busy bool) {
	h.of.lock.Lock()
	defer h.of.lock.Unlock()
	h.busy = busy
	if i := slices.Index(h.of.held, h); i >= 0 && !busy {
		h.of.held = append(slices.Delete(h.of.held, i, i+1), h)
	}
}

// waitedForAnew has each connection that was answered, a probe's too, be the last to go.
func waitedForAnew(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer placeOf(r).answering(false)
		next.ServeHTTP(w, r)
	})
}

type placeKey struct{}

// withPlace remembers the connection of requests.
func withPlace(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, placeKey{}, conn)
}

// placeOf is the connection that a request came by.
func placeOf(r *http.Request) *place { return r.Context().Value(placeKey{}).(*place) }

func hostOf(conn net.Conn) string {
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	return host
}
