package busclient

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func openRound(id uint64, bytes int, ended map[uint64]error) round {
	return round{id: id, method: rpc.MethodAppendLog, path: bulk, bytes: bytes, deadline: time.Unix(int64(id), 0),
		done: func(o outcome) {
			if _, again := ended[id]; again {
				panic("done was called twice")
			}
			ended[id] = o.err
		}}
}

func TestBytesInFlightAreBounded(t *testing.T) {
	r, ended := newRounds(nil), map[uint64]error{}
	require.NoError(t, r.begin(openRound(1, inFlightBytesMax+1, ended)), "one message alone may be larger: it could never be sent otherwise")
	require.ErrorIs(t, r.begin(openRound(2, 1, ended)), ErrTooManyInFlight)
	heartbeat := openRound(3, 1, ended)
	heartbeat.path = control
	require.NoError(t, r.begin(heartbeat), "the bound of one connection does not stop the other")

	_, ok := r.end(1, func(round) bool { return true })
	require.True(t, ok)
	require.NoError(t, r.begin(openRound(4, inFlightBytesMax-1, ended)))
	require.NoError(t, r.begin(openRound(5, 1, ended)))
	require.ErrorIs(t, r.begin(openRound(6, 1, ended)), ErrTooManyInFlight)
}

func TestCallsInFlightAreBoundedAndPingsApart(t *testing.T) {
	r, ended := newRounds(nil), map[uint64]error{}
	for id := range uint64(inFlightCallsMax) {
		require.NoError(t, r.begin(openRound(id, 1, ended)))
	}
	require.ErrorIs(t, r.begin(openRound(5000, 1, ended)), ErrTooManyInFlight)
	heartbeat := openRound(5001, 1, ended)
	heartbeat.path = control
	require.NoError(t, r.begin(heartbeat))
	for id := range uint64(inFlightPingsMax) {
		ping := openRound(6000+id, 1, ended)
		ping.ping = true
		require.NoError(t, r.begin(ping))
	}
	ping := openRound(7000, 1, ended)
	ping.ping = true
	require.ErrorIs(t, r.begin(ping), ErrTooManyInFlight)
}

func TestARoundEndsOnceAndOnlyIfItFits(t *testing.T) {
	r, ended := newRounds(nil), map[uint64]error{}
	require.NoError(t, r.begin(openRound(1, 1, ended)))
	_, ok := r.end(1, func(round) bool { return false })
	require.False(t, ok, "a return that does not fit leaves the round open")
	_, ok = r.end(2, func(round) bool { return true })
	require.False(t, ok)
	_, ok = r.end(1, func(round) bool { return true })
	require.True(t, ok)
	_, ok = r.end(1, func(round) bool { return true })
	require.False(t, ok)
}

func TestDeadlinesEndRounds(t *testing.T) {
	r, ended := newRounds(nil), map[uint64]error{}
	for id := range uint64(3) {
		require.NoError(t, r.begin(openRound(id, 1, ended)))
	}
	require.True(t, r.expire(time.Unix(1, 0)))
	require.Equal(t, map[uint64]error{0: ErrTimeout, 1: ErrTimeout}, ended)
	require.False(t, r.expire(time.Unix(2, 0)))
}

func TestRefusingEndsCallsAndSparesPings(t *testing.T) {
	r, ended, broke := newRounds(nil), map[uint64]error{}, errors.New("broke")
	ping := openRound(2, 1, ended)
	ping.ping = true
	require.NoError(t, r.begin(openRound(1, 1, ended)))
	require.NoError(t, r.begin(ping))

	r.refuse(broke)
	require.Equal(t, map[uint64]error{1: broke}, ended)
	require.ErrorIs(t, r.begin(openRound(3, 1, ended)), broke)
	ping = openRound(4, 1, ended)
	ping.ping = true
	require.NoError(t, r.begin(ping))

	r.accept()
	require.NoError(t, r.begin(openRound(5, inFlightBytesMax, ended)), "what ended is no more in flight")
	r.fail(ErrBusDown)
	require.ErrorIs(t, ended[5], ErrBusDown)
	r.close(ErrClosed)
	r.accept()
	require.ErrorIs(t, r.begin(openRound(6, 1, ended)), ErrClosed)
}

// Rounds that end together end in the order in which they began: a simulated run can be had again.
func TestRoundsEndInTheirOrder(t *testing.T) {
	table, order := newRounds(nil), []uint64{}
	for id := range uint64(50) {
		require.NoError(t, table.begin(round{id: id, done: func(outcome) { order = append(order, id) }}))
	}
	table.fail(ErrBusDown)
	require.Len(t, order, 50)
	require.IsIncreasing(t, order)
}
