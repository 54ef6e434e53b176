package kv

// Expiry. The leader proposes what is over by the cluster's clock; when it is applied, the log's time decides, so that no node's own
// clock ends anything early (design section 6). Of the services of a node the first account's does it, for all.

import (
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	// expiryPeriod is how late an expiry may be noticed.
	expiryPeriod = 50 * time.Millisecond
	// expiryMax bounds one command. The next is proposed when it was applied: what expires by the million leaves room for writes.
	expiryMax = 512
	// expiryWaitMax is how long a proposal may be under way before another is made. A leader that was deposed, and hears nothing of its own,
	// does not wait so long.
	expiryWaitMax = 5 * time.Second
)

// expirer proposes expiries while this node leads.
func (s *Service) expirer() {
	defer s.wg.Done()
	tick := time.NewTicker(expiryPeriod)
	defer tick.Stop()
	for {
		due := tick.C
		if !isLeading(s.epoch.Load()) {
			due = nil // a timer that nobody waits for wakes nobody
		}
		select {
		case <-s.stop:
			return
		case <-s.elected:
		case <-due:
			for s.expireSome() {
			}
		}
	}
}

// expireSome proposes what is over, and reports whether more may be, at once: it was as much as may be proposed at a time, and went.
func (s *Service) expireSome() bool {
	if !isLeading(s.epoch.Load()) {
		return false
	}
	now := max(s.node.Clock(), s.store.Time()) // the log's is ahead where the voters' clocks were put back
	if next, any, err := s.store.NextDue(); err != nil || !any || next > now {
		return false
	}
	items, err := s.store.Due(now, expiryMax)
	if err != nil || len(items) == 0 {
		return false
	}
	return s.proposeExpiry(items) && len(items) >= expiryMax
}

// proposeExpiry reports whether anything went by it.
func (s *Service) proposeExpiry(items []command.ExpireItem) bool {
	done := make(chan any, 1)
	data := command.Command{Expire: &command.Expire{Items: items}}.Encode()
	if s.node.Propose(data, func(result any, _ rpc.EntryID) { done <- result }) != nil {
		return false
	}
	timeout := time.NewTimer(s.expiryWait)
	defer timeout.Stop()
	select {
	case result := <-done:
		outcome, ok := result.(store.Result)
		return ok && outcome.Count > 0
	case <-timeout.C:
	case <-s.elected: // it was deposed, even if it leads again by now
	case <-s.stop:
	}
	return false
}
