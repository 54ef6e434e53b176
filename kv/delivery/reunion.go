package delivery

// When the hub is told that the leaf connection is up again. Watchers hear from it at once that messages may be missing, and make their
// consumers anew. If that finds nobody, since a NATS server that was started anew has this node again and not yet the leader, nats.go tries
// again ten seconds later. So the hub is told once the leader has been heard over NATS since, and said that it listens to clients, or this node
// leads and listens: who was just elected does not yet, nor does who drains.

import (
	"sync"
	"time"

	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// reuniteWithin is how long the leader is waited for: if there is none, nobody can be told to wait less.
const reuniteWithin = 2 * time.Second

// reunion is safe for use by several goroutines.
type reunion struct {
	mu    sync.Mutex
	since time.Time // the connection is up, and the hub does not know; zero: it knows
}

// status takes what the leaf connection says.
func (s *Service) status(up bool) {
	s.up.Store(up)
	s.reunion.mu.Lock()
	if s.reunion.since = time.Now(); !up {
		s.reunion.since = time.Time{}
		s.inbox.turned(watch.LeafDown{})
	}
	s.reunion.mu.Unlock()
	s.reunite("")
}

// reunite tells the hub if it is time to, of which a node that was heard to listen, if any, may be the reason.
func (s *Service) reunite(heard rpc.NodeID) {
	s.reunion.mu.Lock()
	defer s.reunion.mu.Unlock()
	if s.reunion.since.IsZero() {
		return
	}
	leader := s.o.Leader()
	listens, found := leader == s.o.Node && s.o.Listens() && s.o.Conn.IsConnected(), heard != "" && heard == leader
	if listens || found || time.Since(s.reunion.since) >= reuniteWithin {
		s.reunion.since = time.Time{}
		s.inbox.turned(watch.LeafUp{})
	}
}
