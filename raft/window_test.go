package raft

// How much is on its way to a peer, over ways of all kinds (L7).

import (
	"testing"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/stretchr/testify/require"
)

// line is the way to n2, a peer that answers at once: it carries so many bytes a tick, one after the other, and each takes so many ticks besides.
type line struct {
	*solo
	rate, delay int
	disk        int // ticks that the peer takes to store what came
	way         []parcel
	answers     []parcel
	storing     []parcel
	free        int // bytes that it may carry still in this tick
	have        rpc.Index

	sent    int    // bytes of entries, what was sent again too
	longest uint64 // what an AppendLog was on its way at most
}

// parcel is an AppendLog, or the answer to it, and when it left.
type parcel struct {
	prev, last rpc.Index
	bytes      int
	at         uint64
}

// over gives a leader a line of so many bytes a second, and ticks of delay, to a peer whose disk takes so many, and writes for so many ticks as much
// as it has room for.
func over(t *testing.T, rate, delay, disk, ticks int) *line {
	l := &line{solo: established(t, 1), rate: rate / 100, delay: delay, disk: disk, have: 1}
	for range ticks {
		l.take(l.turn(l.propose(), Tick{}, Received{rpc.Message{From: "n3", To: "n1", Term: 2, Body: &rpc.HeartbeatReturn{Last: l.log.last}}}))
		l.take(l.synced())
		l.take(l.ack("n3", l.log.last))
		for l.applied < l.commit {
			l.turn(ApplyDone{l.applying})
		}
		l.carry()
		require.Equal(t, Leader, l.role)
	}
	return l
}

// propose keeps 4 MiB of entries of a kilobyte before what n2 has.
func (l *line) propose() Propose {
	return Propose{Proposals: func() (list []Proposal) {
		for n := int(l.log.last - l.have); n < 4<<10; n++ {
			list = append(list, Proposal{Data: make([]byte, 1<<10)})
		}
		return list
	}()}
}

func (l *line) take(out *Effects) {
	for _, body := range to("n2", out.Send) {
		switch cmd := body.(type) {
		case *rpc.AppendLogCommand:
			bytes := sizeOf(cmd.Entries)
			l.sent += bytes
			l.way = append(l.way, parcel{cmd.Prev.Index, cmd.Prev.Index + rpc.Index(len(cmd.Entries)), bytes, l.now})
		case *rpc.HeartbeatCommand:
			l.hear("n2", 2, &rpc.HeartbeatReturn{Last: l.have})
		}
	}
}

// carry has the line carry what it can in a tick.
func (l *line) carry() {
	for l.free = min(l.free+l.rate, 2*l.rate); len(l.way) > 0 && l.way[0].bytes <= l.free; l.way = l.way[1:] {
		l.free -= l.way[0].bytes
		l.answers = append(l.answers, l.way[0])
	}
	if len(l.way) > 0 {
		l.way[0].bytes, l.free = l.way[0].bytes-l.free, 0
	}
	for len(l.answers) > 0 && l.now >= l.answers[0].at+uint64(l.delay) {
		p := l.answers[0]
		l.answers = l.answers[1:]
		l.longest = max(l.longest, l.now-p.at)
		if p.prev <= l.have {
			l.have = max(l.have, p.last)
			l.storing = append(l.storing, parcel{last: p.last, at: l.now})
		}
	}
	for len(l.storing) > 0 && l.now >= l.storing[0].at+uint64(l.disk) {
		p := l.storing[0]
		l.storing = l.storing[1:]
		l.take(l.ack("n2", p.last))
	}
}

// Whatever the way carries is used, next to nothing is sent twice, and what else is to go over it waits for a second at most: a link whose pings are not
// answered for two is broken.
func TestAWayIsUsedAndNeverFull(t *testing.T) {
	for name, w := range map[string]struct{ rate, delay, disk, seconds int }{
		"64 KiB a second":     {64 << 10, 1, 0, 60},
		"256 KiB a second":    {256 << 10, 1, 0, 60},
		"10 Mbit/s":           {1_250_000, 1, 0, 30},
		"10 Mbit/s, 200 ms":   {1_250_000, 20, 0, 30},
		"100 Mbit/s, 50 ms":   {12_500_000, 5, 0, 10},
		"400 Mbit/s, at once": {50_000_000, 0, 0, 2},
		"400 Mbit/s, 300 ms":  {50_000_000, 30, 0, 10},
		"a disk of a second":  {12_500_000, 1, 100, 20},
	} {
		t.Run(name, func(t *testing.T) {
			seconds := w.seconds
			l := over(t, w.rate, w.delay, w.disk, 100*seconds)
			carried := int(l.have) * (1<<10 + rpc.EntryOverheadBytes)
			possible := min(w.rate*seconds, l.limits.FlyingBytesMax*100*seconds/max(w.delay+w.disk, 1))
			require.Greater(t, carried, possible*3/4)
			require.Less(t, l.sent, carried*11/10+2*l.limits.FlyingBytesMax)
			require.LessOrEqual(t, l.longest, uint64(100+2*w.delay))
		})
	}
}

// What little load comes through at once says nothing of what the way carries: the next burst begins as small as the first.
func TestAWindowThatIsNotUsedDoesNotGrow(t *testing.T) {
	s := established(t, 1)
	for range 1000 {
		s.turn(Propose{Proposals: []Proposal{{Data: make([]byte, 1<<10)}}})
		s.ack("n2", s.log.last)
	}
	s.turn(Propose{Proposals: []Proposal{{Data: make([]byte, 1<<10)}}})
	w := &s.office.peers["n2"].window
	require.Equal(t, windowLeast, w.bytes(&s.limits))
	w.size = 1 << 20
	s.turn(Failed{"n2", rpc.MethodAppendLog, s.log.last})
	require.Equal(t, windowLeast, w.bytes(&s.limits), "after a loss too")
}

// Entries that are read from the disk go one message at a time, where answers are quicker than the disk. That half a window is not full then is no reason
// to keep messages as small as they are.
func TestAWindowGrowsWhileEntriesAreLoaded(t *testing.T) {
	s := established(t, 1)
	s.limits.CacheBytesMax = 1
	list := make([]Proposal, 3<<10)
	for i := range list {
		list[i].Data = make([]byte, 1<<10)
	}
	s.turn(Propose{Proposals: list})
	s.synced()
	s.ack("n3", s.log.last)
	p := s.office.peers["n2"]
	out := s.ack("n2", p.next-1)
	full := 4 * s.limits.AppendBytesMax
	for loads := 0; len(out.Loads) > 0; loads++ {
		require.Less(t, loads, 50, "%d bytes at a time", p.window.bytes(&s.limits))
		l := out.Loads[0]
		n := min(int(l.To-l.From), max(l.MaxBytes/(1<<10+rpc.EntryOverheadBytes), 1))
		entries := make([]rpc.Entry, n)
		for i := range entries {
			entries[i] = rpc.Entry{Index: l.From + rpc.Index(i), Term: 2, Kind: rpc.EntryCommand, Data: list[0].Data}
		}
		out = s.turn(Loaded{Load: l, Entries: entries})
		if more := s.ack("n2", p.next-1); len(more.Loads) > 0 {
			out = more
		}
		require.LessOrEqual(t, p.window.bytes(&s.limits), full+s.limits.AppendBytesMax, "no more than loads need: what comes from memory then would be a flood")
	}
	require.Equal(t, s.log.last, p.match)
}

// What was only slow, and was taken for lost, shows how long the way is by when it left at first. What was lost does not: of that its call has told.
func TestALateAnswerCountsFromTheFirstSending(t *testing.T) {
	s := established(t, 1)
	w := &s.office.peers["n2"].window
	s.turn(Propose{Proposals: []Proposal{{Data: []byte("a")}}})
	s.synced()
	s.ack("n3", 2)
	left := s.now
	for range 3 * s.Core.ticks.Heartbeat {
		s.turn(Tick{})
		s.hear("n2", 2, &rpc.HeartbeatReturn{Last: 1})
	}
	require.False(t, s.office.peers["n2"].replicating, "it is taken for lost")
	s.ack("n2", 2)
	require.Equal(t, s.now-left, w.way)

	s = slow(t)
	w = &s.office.peers["n2"].window
	s.turn(Failed{"n2", rpc.MethodAppendLog, s.log.last})
	s.awaitEntries()
	s.ack("n2", 3)
	require.Zero(t, w.way)
}

// An answer that took two seconds, as of one whose disk hung, says that the way is as long. A loss after it is found out nevertheless while the leader is
// in office: one whose entries nobody acknowledges for so long steps down (K60).
func TestALossAfterALateAnswerCostsNoOffice(t *testing.T) {
	for name, lost := range map[string]func(*solo){
		"nothing is heard": func(*solo) {},
		"the call failed":  func(s *solo) { s.turn(Failed{"n2", rpc.MethodAppendLog, s.log.last}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := established(t, 1)
			s.turn(Propose{Proposals: make([]Proposal, 1)})
			s.synced()
			s.ack("n3", 2)
			for range s.Core.ticks.ElectionMax - 10 {
				s.turn(Tick{})
				s.hear("n3", 2, &rpc.HeartbeatReturn{Last: 2})
			}
			s.ack("n2", 2)
			require.Greater(t, s.office.peers["n2"].window.way, uint64(s.Core.ticks.ElectionMin))
			s.turn(Propose{Proposals: make([]Proposal, 1)})
			s.synced()
			lost(s)
			s.awaitEntries()
			s.ack("n2", 3)
			require.Equal(t, rpc.Index(3), s.commit)
		})
	}
}

// A quick answer says little of the next: the way is taken for shorter only by and by, or what is slow now and then would be taken for lost each time.
func TestAWayIsForgottenSlowly(t *testing.T) {
	ticks := defaultTicks()
	var w window
	for _, took := range []uint64{45, 45, 1} {
		w.time(took, took)
	}
	require.GreaterOrEqual(t, w.patience(&ticks), uint64(80))
}
