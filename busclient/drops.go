package busclient

// What was dropped, and why: counted always, logged once per peer and fault.

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/raftbus/raftbus/raft/rpc"
)

// toldMax bounds what is remembered of which drops were logged: senders choose their own names.
const toldMax = 256

type drops struct {
	log    *slog.Logger
	counts [faults]atomic.Uint64
	mu     sync.Mutex
	told   map[toldKey]bool
}

type toldKey struct {
	peer rpc.NodeID
	why  fault
}

// drop counts a message dropped. The explanation is made only when it will be logged.
func (d *drops) drop(peer rpc.NodeID, why fault, explain func() string) {
	d.counts[why].Add(1)
	if d.first(toldKey{peer, why}) {
		d.log.Warn("message dropped", "peer", peer, "reason", why.String(), "remedy", explain())
	}
}

func (d *drops) first(k toldKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told[k] || len(d.told) >= toldMax {
		return false
	}
	d.told[k] = true
	return true
}

// forget makes all faults of a peer news again: it is another one now, or none.
func (d *drops) forget(peer rpc.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for why := noFault; why < faults; why++ {
		delete(d.told, toldKey{peer, why})
	}
}

// count counts a drop that is no news: a late return follows each timeout.
func (d *drops) count(why fault) { d.counts[why].Add(1) }

func (d *drops) byName() map[string]uint64 {
	names := map[string]uint64{}
	for f := malformed; f < faults; f++ {
		names[f.String()] = d.counts[f].Load()
	}
	return names
}
