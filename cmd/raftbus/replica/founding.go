package replica

// A cluster whose first members all know the newest version of commands begins with it: none of them came from an older release, so there is
// no way back to keep open, and no administrator is asked (F28). That is so only in the run that saw the first boot through, and soon: a
// cluster that was begun with an older release among its members is being upgraded once they are newer, and `raftbus upgrade finish` ends that.

import (
	"context"
	"time"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	foundingLook = 20 * time.Millisecond  // once the first boot is through
	gatherLook   = 250 * time.Millisecond // before, which may be long
	foundingMax  = 15 * time.Second       // for a first leader that hears all: whoever is exchanged later is upgraded
	foundingOpen = 5 * time.Second        // for the Raise, of which a leader that was deposed may never hear
)

// founding is what a node knows of whether its cluster begins with the newest version.
type founding int

const (
	foundingWaits founding = iota // for the first boot's end, for this node to lead, or for members to answer
	foundingOver                  // this cluster does not, or it is for others to say
	foundingOpens                 // this node leads, and all members know the version
)

// judgeFounding judges by a node's status, and the version that it knows itself.
func judgeFounding(s node.Status, own uint64) founding {
	switch {
	case s.FirstBoot != "":
		return foundingWaits
	case !s.Founded:
		return foundingOver
	}
	knows, silent := map[rpc.NodeID]uint64{s.ID: own}, false
	for _, l := range s.Links {
		if l.State == "connected" {
			knows[l.Peer] = l.Commands
		}
	}
	for _, m := range s.Configuration.Members() {
		switch knows[m.ID] {
		case own:
		case 0: // it is not heard, or its start is not proven yet, or its release does not say
			silent = true
		default:
			return foundingOver
		}
	}
	if silent || s.Role != raft.Leader {
		return foundingWaits
	}
	return foundingOpens
}

// judgeInTime judges at a time. until is for how long there is a founding to wait for; zero: the first boot is not through yet.
func judgeInTime(s node.Status, own uint64, now time.Time, until *time.Time) founding {
	if s.Founded && until.IsZero() {
		*until = now.Add(foundingMax)
	}
	if !until.IsZero() && now.After(*until) {
		return foundingOver
	}
	return judgeFounding(s, own)
}

// openNewCluster opens a cluster that begins, and ends when that is done, or is not to be.
func (r *Replica) openNewCluster(ctx context.Context) {
	version, until, look := r.store.CommandVersion(), time.Time{}, gatherLook
	for r.store.Open() < version {
		judged := judgeInTime(r.node.Status(), version, time.Now(), &until)
		if judged == foundingOver {
			return
		}
		if !until.IsZero() {
			look = foundingLook
		}
		if judged == foundingOpens {
			r.logger.Info("a new cluster begins with the newest feature level: all members know it", "feature_level", version)
			opening, cancel := context.WithTimeout(ctx, foundingOpen)
			_ = r.open(opening, version) // whatever became of it is seen at the next look, here or at the next leader
			cancel()
		}
		r.awaitFounding(ctx, look)
		if ctx.Err() != nil {
			return
		}
	}
}

// awaitFounding waits for the next look: so long, or until this node leads.
func (r *Replica) awaitFounding(ctx context.Context, look time.Duration) {
	select {
	case <-r.elected:
	case <-time.After(look):
	case <-ctx.Done():
	}
}

// noteElected wakes who waits for this node to lead.
func (r *Replica) noteElected(leading bool) {
	if !leading {
		return
	}
	select {
	case r.elected <- struct{}{}:
	default:
	}
}
