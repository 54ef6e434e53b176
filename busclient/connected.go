package busclient

// The connected state: calls go out, pings on both paths watch over the link, and the first sign of trouble breaks it. A
// link that is broken too soon costs a few pings; one that is broken too late costs calls that nobody will answer.

import (
	"time"

	"github.com/raftbus/raftbus/raft/model"
	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	// pingInterval is how often a connected link is pinged, on both paths.
	pingInterval = 250 * time.Millisecond
	// pingTimeout is how long the answer may take: a half-open connection is noticed within both together (F10).
	pingTimeout = 500 * time.Millisecond
	// pingBulkTimeout is longer: on the bulk connection a ping waits behind all that may be in flight, and a busy link is
	// not a broken one (F9, L7).
	pingBulkTimeout = 2 * time.Second
)

var pingTimeouts = [paths]time.Duration{control: pingTimeout, bulk: pingBulkTimeout}

// connectedState is the iClientState of a link whose pings pass.
type connectedState struct {
	rpc.IRaftRPC // the wire
	model        model.IEventDrivenModel[linkFields, linkEvent]
}

func newConnectedState(ctx iStateContext, wire rpc.IRaftRPC, f *linkFields) *connectedState {
	m := model.New[linkFields, linkEvent](f)
	m.Hook(evEntered, model.Writes(enterConnected))
	m.Hook(evWoke, model.Writes(schedulePing))
	m.Hook(evPassed, model.Writes(noteRTT))
	m.Hook(evBusDown, model.Writes(loseBus))
	m.Hook(evDoubted, model.Writes(askWho))

	breakUp := func(reason error) { ctx.become(broken, reason) }
	m.Hook(evWoke, model.Reads(pingBoth(ctx)))
	m.Hook(evAsked, model.Reads(func(f linkFields, _ linkEvent) { ctx.ping(control, f.visit) }))
	m.Hook(evDoubted, model.Reads(func(f linkFields, _ linkEvent) {
		if f.send {
			ctx.ping(control, f.visit)
		}
	}))
	m.Hook(evGone, model.Reads(func(linkFields, linkEvent) { breakUp(ErrNoResponders) }))
	m.Hook(evBusDown, model.Reads(func(linkFields, linkEvent) { breakUp(ErrBusDown) }))
	m.Hook(evLeft, model.Reads(func(_ linkFields, e linkEvent) { breakUp(e.err) }))
	m.Hook(evFailed, model.Reads(func(f linkFields, e linkEvent) {
		if e.visit == f.visit {
			breakUp(e.err)
		}
	}))
	return &connectedState{IRaftRPC: wire, model: m}
}

func (s *connectedState) raise(e linkEvent) { s.model.Raise(e) }

func enterConnected(f *linkFields, e linkEvent) {
	f.visit++
	f.since, f.wake = e.now, e.now.Add(pingInterval)
	f.reason = nil
}

func schedulePing(f *linkFields, e linkEvent) {
	if f.send = !e.now.Before(f.wake); f.send {
		f.wake = e.now.Add(pingInterval)
	}
}

// askWho has a ping leave that only the process which is there now can answer.
func askWho(f *linkFields, e linkEvent) {
	if f.send = e.now.Sub(f.probed) >= heardProbePause; f.send {
		f.probed = e.now
	}
}

func noteRTT(f *linkFields, e linkEvent) {
	if e.path == control {
		f.rtt = e.rtt
	}
}

func loseBus(f *linkFields, _ linkEvent) { f.bus = false }
