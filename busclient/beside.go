package busclient

// Two connections that are of use only together, as those of a node to its peers: a link needs both. At two servers they need the way between these too,
// and one route that is cut may leave no quorum of nodes with a link, though each hears some server that hears its peers' (F7, L4). So the one goes where the
// other is. NATS's client takes any server for each by itself, and stays there.

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// besideLook is how often it is looked whether both are at one server.
	besideLook = 250 * time.Millisecond
	// besideAfter is for how long they may be apart, and how long a server is not sought again that was not reached. The wait for another attempt to bring
	// them together is twice as long each time.
	besideAfter = time.Second
	// besideTries bounds the attempts: the server may let nobody else in, or their address may lead to any of several.
	besideTries = 6
	// besideLasts is how long they must be together for attempts to begin anew.
	besideLasts = time.Minute
)

// place is a server; empty: none.
type place struct {
	id    string
	hosts [2]string // under which it may be reached: surely, unless others stand between, and as it was asked for
}

// placeOf is where a connection is.
func placeOf(nc *nats.Conn) place {
	return place{id: nc.ConnectedServerId(), hosts: [2]string{nc.ConnectedAddr(), hostOf(nc.ConnectedUrl())}}
}

// here is where the connection is by what was told last. NATS's client itself may not be asked: it has others wait while it connects.
func (c *Conn) here() (at place) {
	if p := c.at.Load(); p != nil {
		at = *p
	}
	return at
}

// besideOptions has NATS's client begin where the other connection is, and go there first when it connects anew.
func besideOptions(other *Conn, urls []string) ([]string, []nats.Option) {
	options := []nats.Option{nats.ReconnectToServer(besideServer(other))}
	at := other.nc.ConnectedUrl()
	if at == "" {
		return urls, options
	}
	var first, rest []string
	for one := range strings.SplitSeq(strings.Join(urls, ","), ",") {
		if hostOf(one) == hostOf(at) {
			first = append(first, one)
		} else {
			rest = append(rest, one)
		}
	}
	if len(first) == 0 { // one that others told of: it is found as it is told again, with the name that its certificate has
		return urls, options
	}
	return append(first, rest...), append(options, nats.DontRandomize())
}

// besideServer chooses the server of the other connection. Not at each attempt, so that those between go to others; nor if this one was lost there just
// now: that server may be dying, and the other connection be lost in a moment.
func besideServer(other *Conn) nats.ReconnectToServerHandler {
	var sought time.Time
	seeks := 0
	return func(pool []nats.Server, last nats.ServerInfo) (*nats.Server, time.Duration) {
		at := other.here()
		if at.id == "" || at.id == last.ID || time.Since(sought) < besideAfter {
			return nil, 0
		}
		sought = time.Now()
		seeks++
		for n := range at.hosts {
			host := at.hosts[(n+seeks+1)%2] // either goes first in turn: with TLS the one may be what no certificate names
			for i := range pool {
				if pool[i].URL.Host == host {
					return &pool[i], 0
				}
			}
		}
		return nil, 0
	}
}

// follow makes the connection anew when it is not where the other one is, until it ends.
func (c *Conn) follow(other *Conn) {
	tick := time.NewTicker(besideLook)
	defer tick.Stop()
	for p := (pursuit{}); ; {
		select {
		case <-c.closed:
			return
		case <-tick.C:
		}
		switch p.look(c.here(), other.here(), time.Now()) {
		case goThere:
			c.log.Info("moving to the NATS server of the other connection to the peers")
			c.Renew()
		case giveUp:
			c.log.Warn("the two connections to the peers stay at two NATS servers: if the way between these is lost, so are the links to peers. Name each server by an address of its own")
		}
	}
}

// pursuit is what is known of two connections that should be at one server.
type pursuit struct {
	to       string // the server of the one that is followed
	since    time.Time
	together bool // since then, or apart; at no time, if since is zero
	tries    int
}

// advice is what is to be done about it.
type advice int

const (
	stay advice = iota
	goThere
	giveUp // said once
)

func (p *pursuit) look(here, there place, now time.Time) advice {
	if here.id == "" || there.id == "" {
		p.since = time.Time{}
		return stay
	}
	if there.id != p.to {
		*p = pursuit{to: there.id}
	}
	if together := here.id == there.id; p.since.IsZero() || together != p.together {
		p.since, p.together = now, together
	}
	lasted := now.Sub(p.since)
	switch {
	case p.together && lasted >= besideLasts:
		p.tries = 0
	case p.together || p.tries > besideTries || lasted < besideAfter<<p.tries:
	case p.tries == besideTries:
		p.tries++
		return giveUp
	default:
		p.tries++
		p.since = now
		return goThere
	}
	return stay
}
