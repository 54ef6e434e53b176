package busclient

// The broken state: every call fails at once and nothing is queued, since what waits here would be stale when it left.
// Probes, a ping on each path, go out with back-off and jitter; when both have passed, the link is connected.

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/raftbus/raftbus/raft/model"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Between two probes lie probeFirst, then twice that, up to probeLast, each longer by a random part of itself, up to a
// half: less than 250 ms always, because a peer that is back should not have to wait (design section 4).
const (
	probeFirst = 10 * time.Millisecond
	probeLast  = 160 * time.Millisecond
	// heardProbePause bounds the probes that a talkative peer can cause, or who speaks in its name.
	heardProbePause = 20 * time.Millisecond
)

// brokenState is the iClientState of a link that cannot be used.
type brokenState struct {
	model model.IEventDrivenModel[linkFields, linkEvent]
	why   atomic.Pointer[error] // what calls are answered with: read by callers on any goroutine
}

func newBrokenState(ctx iStateContext, f *linkFields, random *rand.Rand) *brokenState {
	m := model.New[linkFields, linkEvent](f)
	s := &brokenState{model: m}
	s.explain(brokenError(ctx.Peer(), f.reason))

	m.Hook(evEntered, model.Writes(enterBroken))
	m.Hook(evBusDown, model.Writes(stopProbing))
	m.Hook(evPassed, model.Writes(noteGood))
	m.Hook(evFailed, model.Writes(noteBad))
	m.Hook(evWoke, model.Writes(func(f *linkFields, e linkEvent) {
		probeIf(f, e, !f.wake.IsZero() && !e.now.Before(f.wake), random)
	}))
	for _, kind := range []model.EventKind{evHeard, evDoubted} {
		m.Hook(kind, model.Writes(func(f *linkFields, e linkEvent) {
			probeIf(f, e, f.bus && e.now.Sub(f.probed) >= heardProbePause, random)
		}))
	}
	m.Hook(evBusUp, model.Writes(func(f *linkFields, e linkEvent) {
		f.bus, f.probes = true, 0
		probeIf(f, e, true, random)
	}))

	for _, kind := range []model.EventKind{evWoke, evHeard, evDoubted, evBusUp} {
		m.Hook(kind, model.Reads(pingBoth(ctx)))
	}
	m.Hook(evAsked, model.Reads(func(f linkFields, _ linkEvent) { ctx.ping(control, f.visit) }))
	m.Hook(evPassed, model.Reads(func(f linkFields, _ linkEvent) {
		if f.good[control] && f.good[bulk] {
			ctx.become(connected, nil)
		}
	}))
	for _, kind := range []model.EventKind{evEntered, evFailed, evBusDown} {
		m.Hook(kind, model.Reads(func(f linkFields, _ linkEvent) { s.explain(brokenError(ctx.Peer(), f.reason)) }))
	}
	return s
}

func (s *brokenState) raise(e linkEvent) { s.model.Raise(e) }

func (s *brokenState) explain(err error) { s.why.Store(&err) }

// brokenError is ErrConnectionBroken, with the reason.
func brokenError(peer rpc.NodeID, reason error) error {
	return fmt.Errorf("%w: %s: %w", ErrConnectionBroken, peer, reason)
}

func enterBroken(f *linkFields, e linkEvent) {
	f.visit++
	f.since, f.reason = e.now, e.err
	f.good, f.probes = [paths]bool{}, 0
	f.wake = time.Time{}
	if f.bus {
		f.wake = e.now // the first probe leaves at once
	}
}

func stopProbing(f *linkFields, _ linkEvent) {
	f.bus, f.good = false, [paths]bool{}
	f.wake = time.Time{}
	f.reason = ErrBusDown
}

func noteGood(f *linkFields, e linkEvent) {
	noteRTT(f, e)
	if e.visit == f.visit && f.bus {
		f.good[e.path] = true
	}
}

func noteBad(f *linkFields, e linkEvent) {
	if e.visit == f.visit && f.bus {
		f.good[e.path], f.reason = false, e.err
	}
}

// probeIf has a probe leave, and schedules the next. Probes do not wait for one another: on a lossy path the answer to
// one in two may never come.
func probeIf(f *linkFields, e linkEvent, due bool, random *rand.Rand) {
	if f.send = due; !due {
		return
	}
	pause := min(probeFirst<<min(f.probes, 10), probeLast)
	pause += time.Duration(random.Int64N(int64(pause / 2)))
	f.probes++
	f.probed, f.wake = e.now, e.now.Add(pause)
}

// All calls fail at once.

func (s *brokenState) Heartbeat(rpc.Term, *rpc.HeartbeatCommand, rpc.Done[*rpc.HeartbeatReturn]) error {
	return *s.why.Load()
}

func (s *brokenState) AppendLog(rpc.Term, *rpc.AppendLogCommand, rpc.Done[*rpc.AppendLogReturn]) error {
	return *s.why.Load()
}

func (s *brokenState) CommitLog(rpc.Term, *rpc.CommitLogCommand, rpc.Done[*rpc.CommitLogReturn]) error {
	return *s.why.Load()
}

func (s *brokenState) RequestVote(rpc.Term, *rpc.RequestVoteCommand, rpc.Done[*rpc.RequestVoteReturn]) error {
	return *s.why.Load()
}

func (s *brokenState) InstallSnapshot(rpc.Term, *rpc.InstallSnapshotCommand, rpc.Done[*rpc.InstallSnapshotReturn]) error {
	return *s.why.Load()
}

func (s *brokenState) TimeoutNow(rpc.Term, *rpc.TimeoutNowCommand, rpc.Done[*rpc.TimeoutNowReturn]) error {
	return *s.why.Load()
}
