package sim

// A plan is what a seed has drawn before anything happens: how large the cluster is, how fast things go, what is wrong with the
// bus in general, and which kinds of faults there are and how often. Each seed leaves out most of them (swarm testing): what one
// fault would hide another run shows.

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

type plan struct {
	nodes  int // of the first configuration
	spares int // more, that can be added
	atOnce int // of them and of the members, that one change concerns at most
	timing config.Timing

	wakeMax      time.Duration // between something for a node and its turn
	applyMean    time.Duration
	diskMean     time.Duration
	segmentBytes int64
	keepLog      []int64 // of log, for members that were away: each node draws one
	chunkBytes   int     // of a snapshot that is sent; 0: as in production
	small        bool    // the core's bounds are, so that logs go in many messages, from the disk, and are applied in pages
	openDoor     bool    // nodes listen to everybody, whatever they are told
	eager        bool    // a write goes to all peers at once
	multicast    bool    // what peers are to get alike goes to them as one message
	bus          busPlan

	clients, burst, keys, buckets int
	thinkMean, patience           time.Duration
	valueMax                      int
	removals                      int // of buckets, in a thousand operations
	ids                           int // of ten writes, those with a message id
	window                        time.Duration
	expires                       bool          // entries do
	ttl, markerTTL                time.Duration // of buckets
	lives                         int           // of ten writes, those with a TTL of their own
	expireMax                     int           // entries that a leader proposes to expire at a time

	watchers  int
	hub       watch.Limits
	leafBytes int // that a leaf connection takes at once

	startMax time.Duration        // when the last node is started for the first time, at the latest
	chaos    time.Duration        // how long there are faults
	every    [kinds]time.Duration // between two faults of a kind, on average; 0: there are none
}

func (p *plan) members() (list []rpc.NodeID) {
	for i := range p.nodes {
		list = append(list, rpc.NodeID(fmt.Sprintf("n%d", i+1)))
	}
	return list
}

// pick draws one of several.
func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// drawPlan draws the plan of a seed.
func drawPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, streamPlan))
	p := &plan{
		nodes:        pick(r, 1, 2, 3, 3, 3, 3, 3, 4, 5, 5),
		timing:       drawTiming(r),
		wakeMax:      pick(r, 50*time.Microsecond, 500*time.Microsecond, 3*time.Millisecond),
		applyMean:    pick(r, 200*time.Microsecond, 2*time.Millisecond, 20*time.Millisecond),
		diskMean:     pick(r, 500*time.Microsecond, 3*time.Millisecond, 12*time.Millisecond),
		segmentBytes: pick[int64](r, 8<<10, 16<<10, 64<<10),
		keepLog:      pick(r, []int64{-1}, []int64{-1, 8 << 10}, []int64{8 << 10, 64 << 10}, []int64{-1, 1 << 30}, []int64{1 << 30}),
		chunkBytes:   pick(r, 0, chunkBytesMin),
		small:        r.IntN(2) == 0,
		openDoor:     r.IntN(5) == 0,
		clients:      1 + r.IntN(6), burst: pick(r, 1, 2, 6), keys: pick(r, 1, 3, 10), buckets: pick(r, 1, 2),
		thinkMean: pick(r, 20*time.Millisecond, 60*time.Millisecond, 200*time.Millisecond),
		patience:  pick(r, 300*time.Millisecond, time.Second, 3*time.Second),
		valueMax:  pick(r, 16, 300, 3000),
		removals:  pick(r, 0, 0, 1, 5),
		atOnce:    2,
		chaos:     between(r, 5*time.Second, 20*time.Second),
		eager:     seed%4 == 1,
	}
	if p.small { // what members that were away have missed must be sent within the time that L8 allows
		p.clients, p.burst = min(p.clients, 2), min(p.burst, 2)
	}
	if seed%judgedEvery == 0 { // Porcupine tries orders of what is open at once for one key
		p.clients, p.burst, p.keys = min(p.clients, 3), 1, 10
		p.thinkMean, p.patience = max(p.thinkMean, 60*time.Millisecond), 300*time.Millisecond
	}
	p.drawBus(r)
	p.drawFaults(r)
	p.startMax = pick(r, 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond, 4*time.Second)
	p.ids, p.window = pick(r, 0, 0, 2, 5), pick(r, 0, 300*time.Millisecond, 2*time.Second)
	if r.IntN(2) == 0 && seed%judgedEvery > 0 { // Porcupine knows of no expiry
		p.expires, p.lives, p.expireMax = true, pick(r, 0, 2, 6), pick(r, 1, 8, 512)
		p.keys = max(p.keys, pick(r, 3, 30)) // what is written again soon does not expire
		p.ttl, p.markerTTL = pick(r, 0, 200*time.Millisecond, 2*time.Second), pick(r, 0, 0, time.Second)
	}
	if r.IntN(2) == 0 {
		p.watchers, p.hub = 1+r.IntN(3), drawHub(r)
		p.leafBytes = 4*p.hub.PageBytes + 16<<10
	}
	if r := rand.New(rand.NewPCG(seed, streamMoves)); r.IntN(4) == 0 {
		p.drawMoves(r)
	}
	return p
}

// drawMoves has members come and go all the time, several at once, and faults strike just then. Little log is kept, so that who comes, or was
// away, gets snapshots.
func (p *plan) drawMoves(r *rand.Rand) {
	p.nodes, p.spares, p.atOnce = max(p.nodes, 3), 1+r.IntN(3), 4
	p.every[kindMembers], p.every[kindAmbush] = between(r, 100*time.Millisecond, time.Second), between(r, 100*time.Millisecond, time.Second)
	p.keepLog, p.segmentBytes, p.valueMax, p.chunkBytes = []int64{-1}, 8<<10, 3000, chunkBytesMin
	p.chaos = min(p.chaos, 15*time.Second)
	p.every[kindFlush], p.every[kindIsolate] = 300*time.Millisecond, between(r, time.Second, 4*time.Second)
}

// drawHub draws the bounds of hubs.
func drawHub(r *rand.Rand) watch.Limits {
	if r.IntN(2) == 0 {
		return watch.DefaultLimits()
	}
	return watch.Limits{
		Window: 4_000, PageBytes: 4_000, PageMax: 5, Reads: 2, RingBytes: 3_000, HeldBytes: 8_000, TurnBytes: 1_000, AsksMax: 8, ShareBytes: 400, EmptyMax: 2,
	}
}

// tune draws a node's bounds.
func (p *plan) tune(r *rand.Rand) func(*raft.Limits) {
	if !p.small {
		return nil
	}
	return func(l *raft.Limits) {
		l.AppendBytesMax = pick(r, 1000, 4000)
		l.FlyingMax = pick(r, 4, 64)
		l.FlyingBytesMax = pick(r, 8000, 4<<20)
		l.CacheBytesMax = pick(r, 4000, 32<<20)
		l.ApplyBytesMax = pick(r, 2000, 1<<20)
		l.ProposedBytesMax = 30_000 // what waits must be done within the time that L8 allows
	}
}

const chunkBytesMin = 1 << 10

// chunks is the size of chunks: small too where each message of the bus holds little, and may be lost.
func (p *plan) chunks() int {
	if p.bus.maxPayload < 1<<20 {
		return chunkBytesMin
	}
	return p.chunkBytes
}

// drawTiming draws the default periods, or shorter ones, with which more happens.
func drawTiming(r *rand.Rand) config.Timing {
	if r.IntN(4) == 0 {
		return config.DefaultTiming()
	}
	e := pick(r, 150*time.Millisecond, 300*time.Millisecond)
	return config.Timing{Tick: 10 * time.Millisecond, Heartbeat: e / 5, ElectionMin: e, ElectionMax: 2 * e}
}

func (p *plan) drawBus(r *rand.Rand) {
	b := &p.bus
	b.delayMin = pick(r, 50*time.Microsecond, 500*time.Microsecond)
	b.delayMean = pick(r, 100*time.Microsecond, time.Millisecond, 5*time.Millisecond)
	b.maxPayload = pick[int64](r, 1<<20, 1<<20, 2<<10)
	if r.IntN(2) == 0 {
		b.loss = pick(r, 0.01, 0.05, 0.3) * r.Float64()
	}
	if r.IntN(3) == 0 {
		b.repeat = 0.5 * r.Float64()
	}
	if r.IntN(4) == 0 {
		b.stray = pick(r, 0.01, 0.2)
	}
	b.reorder = r.IntN(2) == 0
	if r.IntN(3) == 0 {
		b.late, b.lateMax = pick(r, 0.001, 0.01), pick(r, time.Second, 10*time.Second, 2*time.Minute)
	}
	if r.IntN(3) == 0 {
		b.falseNobody = r.Float64()
	}
}

func (p *plan) drawFaults(r *rand.Rand) {
	for k := range kindAmbush {
		if r.IntN(3) == 0 {
			p.every[k] = between(r, 200*time.Millisecond, 5*time.Second)
		}
	}
	if p.every[kindMembers] > 0 {
		p.spares = 1 + r.IntN(3)
	}
}
