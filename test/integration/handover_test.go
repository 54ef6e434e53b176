package integration

import (
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/stalltest"
	"github.com/raftbus/raftbus/test/cluster"
)

// writer writes one value after another, each until it is answered, and measures how long that took.
type writer struct {
	stop  chan struct{}
	group sync.WaitGroup
	times []time.Duration
	slow  []string // when there was one that took long, and how long
	fails []string
}

// slowWrite is from when on a write is told of by itself.
const slowWrite = 250 * time.Millisecond

func newWriter(nc *nats.Conn) *writer {
	w := &writer{stop: make(chan struct{})}
	w.group.Go(func() {
		for i := 0; ; i++ {
			w.write(nc, strconv.Itoa(i)) // one at least, whenever it is stopped
			select {
			case <-w.stop:
				return
			default:
			}
		}
	})
	return w
}

// write retries what certainly was not done: nobody listened. Anything else that is no success is a failure, also an answer that is lost: one that
// is only late, on a busy machine, is none.
func (w *writer) write(nc *nats.Conn, value string) {
	began := time.Now()
	for {
		r, err := cluster.Ask(nc, 10*time.Second, put+"w", value)
		switch {
		case errors.Is(err, nats.ErrNoResponders) && time.Since(began) < 10*time.Second:
			time.Sleep(2 * time.Millisecond) // a client's retry, not a wait for an event
			continue
		case err != nil:
			w.fails = append(w.fails, err.Error())
		case r.Error != nil:
			w.fails = append(w.fails, r.Error.Text)
		}
		took := time.Since(began)
		w.times = append(w.times, took)
		if took > slowWrite {
			w.slow = append(w.slow, began.UTC().Format("15:04:05.000 ")+took.String())
		}
		return
	}
}

func (w *writer) end() {
	close(w.stop)
	w.group.Wait()
}

// Planned hand-overs, by a transfer and by a stop, fail no write of a client that retries, and cost it little time (L2).
func TestHandOverFailsNoWrite(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 3)
	w := newWriter(nc)
	for range 5 {
		c.Transfer("")
	}
	c.Transfer(c.Members[(slices.Index(c.Members, c.Leader())+1)%3])
	for range 3 {
		old := c.Leader()
		c.Stop(old)
		c.Leader(old)
		c.Start(old)
		c.Applied(old)
	}
	w.end()
	require.Empty(t, w.fails)
	slices.Sort(w.times)
	t.Logf("%d writes, the slowest %v", len(w.times), w.times[max(0, len(w.times)-9):])
}

var (
	snapshotMiB    = flag.Int("snapshot-mib", 16, "MiB of state that TestComesBackBySnapshot has sent")
	snapshotBeside = flag.Duration("snapshot-beside", 300*time.Millisecond, "for how long TestComesBackBySnapshot writes before and after it, to compare")
	snapshotRounds = flag.Int("snapshot-rounds", 1, "how often TestComesBackBySnapshot has it sent")
	snapshotJudge  = flag.Bool("snapshot-judge", false, "have TestComesBackBySnapshot judge times too, on a machine with nothing else to do: writers' p99 at most doubled, heartbeats not late")
)

// flushedMiB is so much that the store flushes it at once, and not when ten seconds are over: the log may be compacted then.
const flushedMiB = 26

// A node that was away while more was written than the log keeps comes back by a snapshot, writers hardly notice, and heartbeats
// are in time (L7): what writers notice is measured beside what they have without one, before and after it in the same run, so that what
// else the machine does falls on both.
func TestComesBackBySnapshot(t *testing.T) {
	c, nc := serving(t, 3, func(o *replica.Options) { o.KeepLogBytes = -1 })
	beside, meanwhile := &writer{}, &writer{}
	beatsBeside, beatsMeanwhile := &beats{}, &beats{}
	var stalled time.Duration // at most, meanwhile
	calm := func() {
		beside.during(nc, func() {
			defer beatsBeside.watch(t, nc)()
			time.Sleep(*snapshotBeside)
		})
	}
	value := make([]byte, 256<<10)
	noise := rand.NewChaCha8([32]byte{})
	for range *snapshotRounds {
		away := c.Members[(slices.Index(c.Members, c.Leader())+1)%3]
		c.Stop(away)
		first := c.Nodes[c.Leader()].Status().LogLast
		for i := range max(*snapshotMiB, flushedMiB) * 4 {
			_, _ = noise.Read(value) // never fails
			c.Must(nc, put+"big"+strconv.Itoa(i%(*snapshotMiB*4)), string(value))
		}
		leader := c.Nodes[c.Leader()]
		last, term := leader.Status().LogLast, leader.Status().Term
		require.Eventually(t, func() bool { return leader.Status().LogFirst > first }, 30*time.Second, 10*time.Millisecond, "the log is not compacted")
		calm() // to compare with
		began := time.Now()
		meanwhile.during(nc, func() {
			ended := make(chan struct{})
			stalls := stalltest.Until(ended)
			defer func() {
				close(ended)
				stalled = max(stalled, stalls.Longest())
			}()
			defer beatsMeanwhile.watch(t, nc)()
			c.Start(away)
			require.Eventually(t, func() bool { return c.Nodes[away].Status().Applied >= last }, max(120*time.Second, time.Duration(*snapshotMiB)*300*time.Millisecond), 10*time.Millisecond)
		})
		t.Logf("%d MiB caught up in %v; its log begins at %d", *snapshotMiB, time.Since(began), c.Nodes[away].Status().LogFirst)
		require.Greater(t, c.Nodes[away].Status().LogFirst, first)
		c.Applied(away)
		require.Equal(t, term, leader.Status().Term, "heartbeats were so late that there was an election")
		calm()
	}
	for name, w := range map[string]*writer{"without": beside, "meanwhile": meanwhile} {
		p99 := w.p99()
		t.Logf("%s: %d writes, median %v, p99 %v, the slowest %v; slow: %v", name, len(w.times), w.times[len(w.times)/2], p99, w.times[len(w.times)-1], w.slow)
		require.Empty(t, w.fails)
	}
	without, p99, longest := beatsBeside.p99(), beatsMeanwhile.p99(), slices.Max(beatsMeanwhile.gaps)
	t.Logf("heartbeats, after the one before: without p99 %v; meanwhile %d, p99 %v, at most %v; the machine stood still for %v",
		without, len(beatsMeanwhile.gaps), p99, longest, stalled)
	require.Less(t, longest, config.DefaultTiming().ElectionMin+stalled, "a heartbeat was so late that there could have been an election")
	if *snapshotJudge {
		require.LessOrEqual(t, meanwhile.p99(), 2*beside.p99(), "writers noticed")
		require.Less(t, p99, max(2*config.DefaultTiming().Heartbeat, 2*without), "heartbeats were late")
	}
}

// beats is how long after the one before the heartbeats of a leader came to each of its followers, as somebody beside them sees it.
type beats struct {
	gaps []time.Duration
}

// watch listens until its result is called, which waits for a few heartbeats.
func (b *beats) watch(t *testing.T, nc *nats.Conn) (end func()) {
	last, gaps := map[string]time.Time{}, 0
	ended, enough := make(chan struct{}), make(chan struct{})
	sub, err := nc.Subscribe("raftbus.rpc.*.*.Heartbeat", func(m *nats.Msg) {
		now := time.Now()
		if before, heard := last[m.Subject]; heard {
			b.gaps = append(b.gaps, now.Sub(before))
			if gaps++; gaps == 3 {
				close(enough)
			}
		}
		last[m.Subject] = now
	})
	require.NoError(t, err)
	sub.SetClosedHandler(func(string) { close(ended) })
	return func() {
		select {
		case <-enough:
		case <-time.After(30 * time.Second):
			require.Fail(t, "no heartbeats are heard")
		}
		require.NoError(t, sub.Unsubscribe())
		<-ended
	}
}

func (b *beats) p99() time.Duration {
	slices.Sort(b.gaps)
	return b.gaps[len(b.gaps)*99/100]
}

// p99 is how long all but one in a hundred of the writes took, at most.
func (w *writer) p99() time.Duration {
	slices.Sort(w.times)
	return w.times[len(w.times)*99/100]
}

// during writes while something is done.
func (w *writer) during(nc *nats.Conn, do func()) {
	more := newWriter(nc)
	do()
	more.end()
	w.times, w.slow, w.fails = append(w.times, more.times...), append(w.slow, more.slow...), append(w.fails, more.fails...)
}
