package replica

// Whether clients reach a node (F12). One that they do not reach votes and follows as before, and hands over to one that they reach.

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/raft/rpc"
)

// deafAfter is how long the connection to clients may be down, or be refused what they ask at, before the node counts as one that no client reaches: NATS's
// servers restart in less.
const deafAfter = 3 * time.Second

// reached reports whether clients reach this node, as far as it knows.
func (r *Replica) reached() bool { return r.deaf() == "" && r.denied() == "" && r.parted() == "" }

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

// partedEvery is how often it is looked whether the node is parted.
const partedEvery = time.Second

// watchParted looks whether this node is parted from others.
func (r *Replica) watchParted(ctx context.Context) {
	for pause(ctx, partedEvery) == nil {
		silent := strings.Join(r.silent(), ", ")
		if before := r.apart.Swap(&silent); silent != "" && (before == nil || *before == "") {
			r.logger.Warn("nodes that are linked to this one are not heard where clients are: it leads only where no other can, look at the routes between NATS servers", "nodes", silent)
		}
	}
}

// parted are the voters that this node is parted from, where clients are; empty: none, or it is not known yet.
func (r *Replica) parted() string {
	if silent := r.apart.Load(); silent != nil {
		return *silent
	}
	return ""
}

// silent are the voters that are linked to this node, and not heard where clients are, if those that are heard there are no majority. Of the parts of a NATS
// cluster at most one has a majority of those connections, so nobody there finds itself parted, and leadership does not go round.
func (r *Replica) silent() (list []string) {
	s := r.node.Status()
	linked, heard := map[rpc.NodeID]bool{}, 0
	for _, l := range s.Links {
		linked[l.Peer] = l.State == "connected"
	}
	for _, m := range s.Configuration.Voters {
		switch {
		case string(m.ID) == r.o.ID, r.first().watches.Silence(m.ID) < deafAfter:
			heard++
		case linked[m.ID]:
			list = append(list, string(m.ID))
		}
	}
	if 2*heard > len(s.Configuration.Voters) {
		return nil
	}
	return list
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
