package replica

// Whether clients reach a node (F12). One that they do not reach votes and follows as before, and hands over to one that they reach.

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// deafAfter is how long the connection to clients may be down, or be refused what they ask at, before the node counts as one that no client reaches: NATS's
// servers restart in less.
const deafAfter = 3 * time.Second

// reached reports whether clients reach this node, as far as it knows.
func (r *Replica) reached() bool { return r.deaf() == "" && r.denied() == "" }

// deaf is for how long no client has reached this node, and why; empty: they do, or did just now. Of several accounts the first counts, since
// what is done once is done for that.
func (r *Replica) deaf() string {
	conn := r.first().conn
	up, since := conn.Up()
	if away := time.Since(since); !up && away >= deafAfter {
		return fmt.Sprintf("for %v: %s", away.Round(time.Second), conn.Stats().LastError)
	}
	return ""
}

// denied is a subject beside one that clients of the first account ask at, and for how long NATS has refused it to this node; empty: none.
func (r *Replica) denied() string {
	s := r.first()
	for _, subject := range s.canary {
		if away := s.conn.RefusedFor(subject); away >= deafAfter {
			return fmt.Sprintf("%s, for %v", subject, away.Round(time.Second))
		}
	}
	return ""
}

// release subscribes to the account's canaries, for as long as its connection lasts.
func (s *served) release() error {
	s.canary = s.kv.Canaries()
	for _, subject := range s.canary {
		if _, err := s.conn.NATS().Subscribe(subject, func(*nats.Msg) {}); err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	return nil
}
