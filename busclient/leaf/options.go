package leaf

// Who connects, to what, and who is told.

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	outboundBytesDefault = 8 << 20
	outboundBytesMin     = 64 << 10
	interestBytesDefault = 256 << 20
	watchTokensDefault   = 64
)

// Options describe a connection.
type Options struct {
	// URLs of the leafnode ports of one server, or of several of one cluster: see DeriveURL.
	URLs []string
	// Prefix and Node name the connection: raftbus/<prefix>/<node>/leaf.
	Prefix, Node string
	// NATS are options as for the other connections. Credentials, TLS and the dialler are taken from them, and nothing else.
	NATS []nats.Option

	// OutboundBytesMax bounds what waits to be written, and again what is being written; 0: 8 MiB. Smaller than the largest message
	// and its line it holds that one.
	OutboundBytesMax int
	// InterestBytesMax bounds the memory, about, for the subjects that clients listen on; 0: 256 MiB, for a million of them. Beyond
	// it the connection is given up.
	InterestBytesMax int
	// WatchTokensMax is how many tokens a subject has at most that Watch is called with; 0: 64. What clients listen on that needs more is passed over.
	WatchTokensMax int

	// Subject is what the connection subscribes to, a pattern perhaps; empty: nothing. OnMessage is called with what is published to it.
	Subject   string
	OnMessage func(Message)
	// OnStatus is told when the connection is up, or no longer. When it is up, Subject is subscribed to and Watch knows who listens.
	OnStatus func(up bool)
	// OnInterest is told about a subject of Watch when the first subscription takes it, or none is left. While the connection is
	// down it is told nothing; when it is up again, before OnStatus, what is different.
	OnInterest func(subject string, interested bool)
	// OnRoom is told that there is room again, after a Publish that failed with ErrFull.
	OnRoom func()
	// OnPayloadRefused is told that the server refuses a message which a client may send, as ClientsMaySend was told: that may have changed since. It is told
	// again some times, ever more seldom, while clients are told less.
	OnPayloadRefused func()

	Logger *slog.Logger // nil: silent

	regainAfter time.Duration // for tests that do not wait for what was denied
}

// Message is one that arrived. Header and Data hold until OnMessage returns.
type Message struct {
	Subject, Reply string
	Header, Data   []byte // Header as on the wire, with its first line; empty: none
}

// settings are Options that were looked at.
type settings struct {
	Options
	name      string
	nats      nats.Options
	endpoints endpoints
}

func (o Options) settings() (settings, error) {
	s := settings{Options: o, name: fmt.Sprintf("raftbus/%s/%s/leaf", o.Prefix, o.Node), nats: nats.GetDefaultOptions()}
	s.OutboundBytesMax = max(cmp.Or(o.OutboundBytesMax, outboundBytesDefault), outboundBytesMin)
	s.InterestBytesMax = cmp.Or(o.InterestBytesMax, interestBytesDefault)
	s.WatchTokensMax = cmp.Or(o.WatchTokensMax, watchTokensDefault)
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	if s.OnMessage == nil {
		s.OnMessage = func(Message) {}
	}
	if s.OnStatus == nil {
		s.OnStatus = func(bool) {}
	}
	if s.OnInterest == nil {
		s.OnInterest = func(string, bool) {}
	}
	if s.OnRoom == nil {
		s.OnRoom = func() {}
	}
	if s.OnPayloadRefused == nil {
		s.OnPayloadRefused = func() {}
	}
	return s, errors.Join(s.checkNames(), s.takeNATS(), s.takeURLs())
}

func (s *settings) checkNames() error {
	if s.Prefix == "" || s.Node == "" || !replyable(s.name) {
		return fmt.Errorf("leaf connection: prefix %q and node %q cannot name it: give both, without spaces", s.Prefix, s.Node)
	}
	if !replyable(s.Subject) {
		return fmt.Errorf("leaf connection: cannot subscribe %q: no spaces", s.Subject)
	}
	return nil
}

func (s *settings) takeNATS() error {
	for _, option := range s.NATS {
		if option == nil {
			continue
		}
		if err := option(&s.nats); err != nil {
			return fmt.Errorf("leaf connection: %w: check credentials and TLS files", err)
		}
	}
	return nil
}

func (s *settings) takeURLs() error {
	for _, list := range s.URLs {
		for u := range strings.SplitSeq(list, ",") {
			e, err := parseURL(strings.TrimSpace(u))
			if err != nil {
				return fmt.Errorf("leaf connection: URL number %d: %w", len(s.endpoints.given)+1, err)
			}
			s.endpoints.given = append(s.endpoints.given, e)
		}
	}
	given := s.endpoints.given
	if len(given) == 0 {
		return errors.New("leaf connection: no URL: give that of the NATS server's leafnode port")
	}
	rand.Shuffle(len(given), func(i, j int) { given[i], given[j] = given[j], given[i] }) // not all nodes to the same server
	return nil
}
