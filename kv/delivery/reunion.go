package delivery

// When the hub is told that the leaf connection is up again. Watchers hear from it at once that messages may be missing, and make their
// consumers anew. If that finds nobody, since a NATS server that was started anew has this node again and not yet the leader, nats.go tries
// again ten seconds later. So the hub is told once the leader has been heard over NATS since, and said that it listens to clients, or this node
// leads and listens: who was just elected does not yet, nor does who drains.

import (
	"sync"
	"time"

	"github.com/raftbus/raftbus/kv/internal/bell"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// reuniteWithin is how long the leader is waited for: if there is none, nobody can be told to wait less.
const reuniteWithin = 2 * time.Second

// reunion is safe for use by several goroutines.
type reunion struct {
	bell  bell.Bell // rings when the connection is up
	mu    sync.Mutex
	since time.Time // the connection is up, and the hub does not know; zero: it knows
}

// status takes what the leaf connection says. It waits for nobody: it is the connection that would.
func (s *Service) status(up bool) {
	s.up.Store(up)
	s.reunion.mu.Lock()
	defer s.reunion.mu.Unlock()
	if !up {
		s.reunion.since = time.Time{}
		s.inbox.turned(watch.LeafDown{})
		return
	}
	s.reunion.since = time.Now()
	s.reunion.bell.Ring() // the warden sees whether it is time to tell the hub
}

// apart is since when the connection is up of which the hub does not know; zero: there is none.
func (s *Service) apart() time.Time {
	s.reunion.mu.Lock()
	defer s.reunion.mu.Unlock()
	return s.reunion.since
}

// reunite tells the hub if it is time to, of which a node that was heard to listen, if any, may be the reason. It may wait, for who begins to listen.
func (s *Service) reunite(heard rpc.NodeID) {
	since := s.apart()
	if since.IsZero() {
		return
	}
	leader, late := s.o.Leader(), time.Since(since) >= reuniteWithin
	if found := heard != "" && heard == leader; !found && !late && !s.reached(leader) {
		return
	}
	s.reunion.mu.Lock()
	defer s.reunion.mu.Unlock()
	if s.reunion.since.Equal(since) { // it is the same connection still
		s.reunion.since = time.Time{}
		s.inbox.turned(watch.LeafUp{})
	}
}

// reached reports whether this node leads, and clients reach it.
func (s *Service) reached(leader rpc.NodeID) bool {
	return leader == s.o.Node && s.o.Listens() && s.o.Conn.IsConnected()
}
