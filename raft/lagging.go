package raft

// A state machine that lags: it hangs, or is being replaced by a snapshot, which takes minutes where that is large. The core of such a node is sound, and
// nothing here keeps it from voting and acknowledging, so elections by themselves see nothing of it; but as a leader it would answer no write and no read
// until that is over, beside voters that could (L2, L5). A driver whose own work the hang holds up may have it be as one that is cut off (node/spot.go).
// It is about liveness only.

import "github.com/raftbus/raftbus/raft/rpc"

// hangMax is after how many ticks a write of the log that is not durable, and a run of entries that is not applied, are taken to hang.
func (c *Core) hangMax() uint64 { return 2 * uint64(c.ticks.ElectionMax) }

// atOneRun reports whether the state machine has been at one run of entries for so long. Runs are bounded (Limits.ApplyBytesMax), so a sound machine
// takes a small part of the time after which it is taken to hang, whatever it has to catch up with.
func (c *Core) atOneRun(ticks uint64) bool { return c.applying > c.applied && c.now-c.handed >= ticks }

func (c *Core) stateHangs() bool { return c.atOneRun(c.hangMax()) }

// lags reports whether this node had better not lead because of its state machine.
func (c *Core) lags() bool { return c.lagsAfter(c.hangMax()) }

// AboutToLag is what peers are told: an election timeout before anything follows from a hang. A leader whose own hangs so knows in time of those that began to
// wait when it did, as all do whose disks are alike: to leave leading to one of them would help nobody.
func (c *Core) AboutToLag() bool { return c.lagsAfter(c.hangMax() - uint64(c.ticks.ElectionMin)) }

// lagsAfter is never so of one that is a majority by itself, which leads all the same: nobody else can, and whoever waits for it would wait for longer.
func (c *Core) lagsAfter(ticks uint64) bool {
	return (c.install.active || c.atOneRun(ticks)) && !c.quorum.have(func(id rpc.NodeID) bool { return id == c.id })
}

// Replaceable reports whether a voter could take over and answer at once, as far as this leader knows. If none can it stays: without it nobody would lead.
// What is committed a leader knows only once its first entry is: until then others need that, and with it all before.
func (c *Core) Replaceable() bool {
	id := c.Successor()
	return id != "" && c.office.peers[id].match >= max(c.commit, c.office.first)
}

// somebodyLed notes that a node led until now, or may have, as far as one knows that was off the bus. What else restarts the election timer, as a campaign in
// vain does, says nothing of that: who alone can lead then tries again as soon as anybody does.
func (c *Core) somebodyLed() { c.election.neededAt = c.now + c.election.timeout + c.hangMax() }

// needed reports whether nobody has led for so long that nobody else can: this node's log may be the only one that can win. Then it leads although it
// lags, until the others' logs are as long and one of them takes over: to forbid it for good could leave all without a leader.
func (c *Core) needed() bool { return c.now >= c.election.neededAt }
