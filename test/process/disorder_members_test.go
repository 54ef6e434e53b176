package process

// Faults of disks that are lost or older than they should be, and changes of the membership, which are no fault but come in the
// middle of them.

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
)

// plannedGap bounds what a transfer, a graceful restart or a change of the membership may cost (L2: median 200 ms, p99 500 ms; a
// campaign runs several processes a core).
const plannedGap = time.Second

var memberFaults = []fault{
	{name: "disk lost", begin: loseDisk, worst: worstGap, loses: true},
	{name: "old folder put back", begin: putBack, worst: worstGap, alone: true},
	{name: "behind the log", needs: small, begin: fallBehind, worst: worstGap, alone: true},
	{name: "members added, removed", begin: growAndShrink, worst: plannedGap, alone: true},
	{name: "change with a node killed", begin: killInChange, worst: worstGap, alone: true},
	{name: "leadership handed over", begin: transfer, worst: plannedGap, alone: true},
	{name: "nodes restarted in turn", begin: restartAll, worst: plannedGap, alone: true},
}

func small(l layout) bool { return l.small }

// loseDisk: the node comes back under its old id, is refused with the remedy, and is replaced once the others can (D3, F23).
func loseDisk(d *disorder) strike {
	id, leads := d.node()
	d.c.wipe(id)
	return strike{what: titled(id, leads), undo: func() { d.c.start(id) }, repair: func() {
		d.c.refusedAs(id, "wiped")
		d.c.command("member", "replace", id)
	}}
}

// putBack: a copy of the folder from before the node's last starts takes its place. Peers that heard those starts refuse it; so this
// strikes alone, since nobody else must be struck with forgetfulness (F23, F13).
func putBack(d *disorder) strike {
	c, t := d.c, d.c.t
	id, leads := d.node()
	copied := t.TempDir()
	c.kill(id)
	require.NoError(t, os.CopyFS(copied, os.DirFS(c.dirs[id])))
	starts := 1 + d.r.IntN(2)
	for range starts {
		c.kill(id)
		c.start(id)
		c.linked(id)
		c.caughtUp(id)
	}
	c.wipe(id)
	return strike{what: fmt.Sprintf("%s, of %d starts before", titled(id, leads), starts), undo: func() {
		require.NoError(t, os.CopyFS(c.dirs[id], os.DirFS(copied)))
		c.start(id)
	}, repair: func() {
		c.refusesCopy(id, starts)
		c.wipe(id)
		c.start(id)
		c.refusedAs(id, "wiped")
		c.command("member", "replace", id)
	}}
}

// refusesCopy waits until all others refuse an old copy of a folder. The copy counts its starts from where it was made: in the one
// that the others have heard already it looks like a second process.
func (c *cluster) refusesCopy(id string, starts int) {
	for _, peer := range c.members {
		switch {
		case peer == id:
		case starts == 1:
			c.nodes[peer].logged(c.t, 15*time.Second, "message dropped", "the folder was copied", id)
		default:
			c.nodes[peer].logged(c.t, 15*time.Second, "message dropped", "an old backup", "raftbus member replace "+id)
		}
	}
	s := c.status(id)
	require.False(c.t, s.Ready, "%s takes part with an old copy of its folder", id)
	for _, l := range s.Links {
		require.NotEqual(c.t, "connected", l.State, "%s is linked to %s with an old copy of its folder", id, l.Peer)
	}
}

// linked waits until a node's links are all up: then all peers know of its start.
func (c *cluster) linked(id string) {
	require.Eventually(c.t, func() bool {
		s, ok := c.statuses()[id]
		return ok && allLinked(s)
	}, 15*time.Second, 20*time.Millisecond, "%s is not linked", id)
}

// fallBehind: a node is away while so much is written that the log it needs is gone. It gets a snapshot (F29).
func fallBehind(d *disorder) strike {
	id, leads := d.node()
	last := d.c.status(id).LogLast
	d.c.kill(id)
	d.c.writeUntilForgotten(id, last)
	return strike{what: titled(id, leads), undo: func() { d.c.start(id) }, repair: func() {
		d.c.caughtUp(id)
		require.Greater(d.c.t, d.c.status(id).LogFirst, last, "%s has its log from before: it got no snapshot", id)
	}}
}

// bulk is a value of which some fill a segment of the log.
var bulk = strings.Repeat("bulk", 8<<10)

// writeUntilForgotten writes until no other node's log reaches down to an index.
func (c *cluster) writeUntilForgotten(away string, index uint64) {
	nc := c.connect()
	defer nc.Close()
	i := 0
	require.Eventually(c.t, func() bool {
		for range 20 {
			i++
			_, _ = request(nc, time.Second, fmt.Sprintf("raftbus.kv.put.app.bulk%d", i%50), bulk, nil)
		}
		all := c.statuses()
		delete(all, away)
		for _, s := range all {
			if s.LogFirst <= index+1 {
				return false
			}
		}
		return len(all) > 0
	}, time.Minute, 100*time.Millisecond, "the logs are never cut:\n%s", c.describe())
}

// growAndShrink lets two nodes in, and later two leave that are drawn; one of them may lead (F27).
func growAndShrink(d *disorder) strike {
	c := d.c
	come := []string{d.newID(), d.newID()}
	c.grow(come...)
	return strike{what: listed(come), undo: func() {}, repair: func() {
		leave := c.followers(d.r, "")[:2]
		if d.r.IntN(2) == 0 { // one by one
			c.shrink(leave[0])
			leave = leave[1:]
		}
		c.shrink(leave...)
	}}
}

// newID is of a node that was never there.
func (d *disorder) newID() string {
	d.ids = max(d.ids, d.c.layout.nodes) + 1
	return fmt.Sprintf("n%d", d.ids)
}

// killInChange kills a node while another is let in: the command carries on, whoever leads (F27, I11).
func killInChange(d *disorder) strike {
	c := d.c
	comes := d.newID()
	c.join(comes)
	added := make(chan error, 1)
	go func() {
		_, err := c.try("member", "add", comes)
		added <- err
	}()
	time.Sleep(time.Duration(d.r.IntN(150)) * time.Millisecond) // somewhere within the change
	id, leads := d.node()
	c.kill(id)
	return strike{what: titled(id, leads), undo: func() { c.start(id) }, repair: func() {
		require.NoError(c.t, <-added)
		c.members = append(c.members, comes)
		c.converged(time.Minute)
		c.shrink(d.draw(c.members))
	}}
}

// transfer: every second time to one that is named.
func transfer(d *disorder) strike {
	args := []string{"leader", "transfer"}
	if d.r.IntN(2) == 0 {
		args = append(args, "--to", d.draw(d.c.followers(d.r, d.c.leader())))
	}
	p := startProbe(d.c.connect(), true, 0)
	d.c.command(args...)
	return strike{what: listed(args), undo: func() { d.lossless(p) }}
}

// restartAll restarts every node gracefully, one after the other.
func restartAll(d *disorder) strike {
	p := startProbe(d.c.connect(), true, 0)
	for _, id := range d.c.followers(d.r, "") {
		d.c.restart(id)
	}
	return strike{what: "all", undo: func() { d.lossless(p) }}
}

// lossless ends a probe, of which no request may be lost (L2).
func (d *disorder) lossless(p *probe) {
	asked, lost := p.finish()
	d.c.t.Logf("a client that asks again: %d requests, the slowest took %v", asked, rounded(p.slowest))
	require.Zero(d.c.t, lost, "a planned move lost a request: %s", p.failure)
}

// restartServerAgain kills and starts a NATS server again and again (F5).
func restartServerAgain(d *disorder) strike {
	s := d.server()
	times := 2 + d.r.IntN(3)
	for range times {
		s.kill()
		time.Sleep(time.Duration(d.r.IntN(700)) * time.Millisecond)
		d.c.startServer(s)
		time.Sleep(time.Duration(d.r.IntN(700)) * time.Millisecond)
	}
	return strike{what: fmt.Sprintf("%s %d times", s.name, times), undo: func() {}}
}

// pauseServerAgain stops and continues a NATS server again and again: what it holds floods out late (F6).
func pauseServerAgain(d *disorder) strike {
	s := d.server()
	times := 2 + d.r.IntN(3)
	for range times {
		d.signal(s, syscall.SIGSTOP)
		time.Sleep(time.Duration(d.r.IntN(1500)) * time.Millisecond)
		d.signal(s, syscall.SIGCONT)
		time.Sleep(time.Duration(d.r.IntN(300)) * time.Millisecond)
	}
	return strike{what: fmt.Sprintf("%s %d times", s.name, times), undo: func() {}}
}
