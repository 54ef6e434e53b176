package delivery

// Whose word reaches this node over NATS as that of clients does. Connections to clients may be with other servers than those between nodes: when these are
// parted a node leads on, and clients elsewhere find nobody (F7, F12). What nodes say to all comes the way that clients' requests come.

import (
	"sync"
	"time"

	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// echoMax is how much of a time without its own word a node counts: more than lies between two, and little of a pause.
const echoMax = 3 * watch.AnnounceEvery * time.Nanosecond

// earshot counts how long others are silent. Its time passes only while what this node says comes back to it: where that stays away nobody is silent.
// Safe for use by several goroutines.
type earshot struct {
	mu    sync.Mutex
	now   time.Duration                // the time that has passed
	at    time.Time                    // of the last own word
	heard map[rpc.NodeID]time.Duration // of those who were asked about
}

// echo takes that this node's own word has come back.
func (e *earshot) echo(at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now += min(at.Sub(e.at), echoMax)
	e.at = at
}

// hear takes a word of another node.
func (e *earshot) hear(node rpc.NodeID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, asked := e.heard[node]; asked {
		e.heard[node] = e.now
	}
}

// silence is for how long a node has not been heard, since it was first asked about.
func (e *earshot) silence(node rpc.NodeID) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, asked := e.heard[node]
	if !asked {
		if e.heard == nil {
			e.heard = map[rpc.NodeID]time.Duration{}
		}
		at = e.now
		e.heard[node] = at
	}
	return e.now - at
}

// Silence is for how long nothing that a node says to all has come over NATS, while what this one says has; counted since it was first asked.
func (s *Service) Silence(node rpc.NodeID) time.Duration { return s.earshot.silence(node) }
