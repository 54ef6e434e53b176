package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/measure"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// wire is a bus that can be away.
type wire struct {
	mu   sync.Mutex
	up   bool
	sent []string
}

func (w *wire) Ready() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

func (w *wire) Publish(subject string, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var e Event
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	w.sent = append(w.sent, fmt.Sprintf("%s %s %s", subject, e.Peer, e.State))
	return nil
}

func (w *wire) set(up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up = up
}

func (w *wire) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.sent...)
}

// While the bus is away events wait, in order; what does not fit is counted, and nobody waits for room.
func TestEventsWaitForTheBusWithinBounds(t *testing.T) {
	r, bus := NewRecorder(), &wire{}
	for i := range eventsMax + 10 {
		r.Record(Event{Kind: KindLink, State: "broken", Peer: fmt.Sprint("n", i%4)})
	}
	require.Equal(t, Events{Dropped: 10}, r.Counts())
	require.EqualValues(t, 67, r.LinkBreaks("n1"), "what was not published is counted all the same")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		r.Publish(ctx, bus, "raftbus.event")
		close(ended)
	}()
	bus.set(true)
	require.Eventually(t, func() bool { return r.Counts().Published == eventsMax }, 5*time.Second, time.Millisecond)
	require.Equal(t, "raftbus.event.link n0 broken", bus.lines()[0])
	require.Equal(t, "raftbus.event.link n3 broken", bus.lines()[eventsMax-1])
	bus.set(false)
	r.Record(Event{Kind: KindLeader, Peer: "n2"})
	require.EqualValues(t, 1, r.LeaderChanges())
	cancel() // also while the bus is away
	<-ended
	require.Len(t, bus.lines(), eventsMax)
}

func TestBreaksAreBounded(t *testing.T) {
	var b breaks
	for i := range breaksMax + 5 {
		b.add(fmt.Sprint(i))
	}
	require.Len(t, b.count, breaksMax)
	require.EqualValues(t, 1, b.of("0"))
	require.Zero(t, b.of(fmt.Sprint(breaksMax+1)))
}

func TestDiskWatch(t *testing.T) {
	var h measure.Histogram
	var w DiskWatch
	at := time.Unix(1, 0)
	look := func(after, sync, underWay time.Duration, full bool) string {
		at = at.Add(after)
		if sync > 0 {
			h.Observe(sync)
		}
		said := ""
		for _, e := range w.Look(DiskSample{Time: at, Syncs: h.Read(), Syncing: underWay, Full: full}) {
			require.Equal(t, KindDisk, e.Kind)
			said += e.State + " "
		}
		return said
	}
	require.Empty(t, look(time.Second, time.Millisecond, 0, false))
	require.Empty(t, look(time.Second, SlowSync, 0, false), "at the bound it is not beyond it")
	require.Equal(t, "slow ", look(time.Second, SlowSync+1, 0, false))
	require.True(t, w.Slow())
	require.Empty(t, look(time.Second, 2*SlowSync, 0, false), "it is known")
	require.Empty(t, look(slowFor-1, time.Millisecond, 0, false))
	require.Equal(t, "ok ", look(1, 0, 0, false))
	require.False(t, w.Slow())
	require.Equal(t, "slow ", look(time.Second, 0, SlowSync, false), "one that hangs is not in the histogram")
	require.Empty(t, look(time.Minute, 0, time.Minute, false))
	require.Equal(t, "full ", look(time.Second, 0, time.Minute, true))
	require.Equal(t, "room ", look(time.Second, 0, time.Minute, false))
	require.Equal(t, "ok ", look(slowFor, 0, 0, false))
}

func TestHistogramThereAndBack(t *testing.T) {
	var h measure.Histogram
	h.Observe(3 * time.Millisecond)
	h.Observe(time.Hour)
	shown := FromMeasured(h.Read())
	require.EqualValues(t, 2, shown.Count)
	back, ok := shown.Measured()
	require.True(t, ok)
	require.Equal(t, h.Read().Counts, back.Counts)
	require.InDelta(t, h.Read().Sum, back.Sum, 1000)
	shown.Bounds = append([]float64{7}, shown.Bounds[1:]...)
	_, ok = shown.Measured()
	require.False(t, ok, "those of another build")
}
