package leaf

// Where a leaf connects to.

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// DefaultPort is where servers listen for leaf nodes, unless told otherwise.
const DefaultPort = 7422

// learnedMax bounds the servers of a cluster that are remembered from what one of them said.
const learnedMax = 64

// endpoint is one server.
type endpoint struct {
	address string // host:port
	tlsName string // that its certificate must have
	secure  bool
	user    *url.Userinfo
}

var schemes = map[string]bool{"nats": false, "nats-leaf": false, "leaf": false, "tls": true} // and whether TLS is wanted

// parseURL reads one address: nats-leaf://, nats://, tls:// or host:port. It may carry a password, so no error repeats it.
func parseURL(s string) (endpoint, error) {
	if !strings.Contains(s, "://") {
		s = "nats-leaf://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return endpoint{}, fmt.Errorf("a leafnode URL is not valid: write nats-leaf://host:port")
	}
	secure, known := schemes[u.Scheme]
	if !known {
		return endpoint{}, fmt.Errorf("a leafnode URL begins with %s://: write nats-leaf://host:port, or tls://host:port (no websocket)", u.Scheme)
	}
	port := u.Port()
	if port == "" {
		port = strconv.Itoa(DefaultPort)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return endpoint{}, fmt.Errorf("the port of a leafnode URL is no number from 1 to 65535")
	}
	return endpoint{net.JoinHostPort(u.Hostname(), port), u.Hostname(), secure, u.User}, nil
}

// DeriveURL is the leafnode URL that goes with the URL of a NATS server for clients, by default: its host, its user, TLS if it has
// TLS, and port 7422.
func DeriveURL(natsURL string) (string, error) {
	e, err := parseURL(natsURL)
	if err != nil {
		return "", fmt.Errorf("no leafnode URL follows from the NATS URL: %w", err)
	}
	u := url.URL{Scheme: "nats-leaf", User: e.user, Host: net.JoinHostPort(e.tlsName, strconv.Itoa(DefaultPort))}
	if e.secure {
		u.Scheme = "tls"
	}
	return u.String(), nil
}

// endpoints are the servers to try, one after the other: those that were given, and in turn with them those that they said belong
// to their cluster, which may be addresses that lead nowhere from here. Only the reader of the connection uses them.
type endpoints struct {
	given, learned []endpoint
	tried          int
}

func (e *endpoints) next() endpoint {
	n := e.tried
	e.tried++
	if len(e.learned) == 0 {
		return e.given[n%len(e.given)]
	}
	if n%2 == 0 {
		return e.given[n/2%len(e.given)]
	}
	return e.learned[n/2%len(e.learned)]
}

// learn takes what the server at an endpoint says about its cluster. The others are to be spoken to as this one is.
func (e *endpoints) learn(from endpoint, urls []string) {
	if len(urls) == 0 {
		return
	}
	e.learned = e.learned[:0]
	for _, u := range urls[:min(len(urls), learnedMax)] {
		other, err := parseURL(u)
		if err != nil || slices.ContainsFunc(e.given, func(g endpoint) bool { return g.address == other.address }) {
			continue
		}
		other.secure, other.user = from.secure, from.user
		if net.ParseIP(other.tlsName) != nil {
			other.tlsName = from.tlsName // a server says its address, and its certificate a name
		}
		e.learned = append(e.learned, other)
	}
}
