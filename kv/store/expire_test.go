package store

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// at applies commands as entries of one time.
func (f feeder) at(now time.Duration, commands ...command.Command) []Result {
	f.t.Helper()
	entries := make([]rpc.Entry, len(commands))
	for i, c := range commands {
		entries[i] = rpc.Entry{Index: f.store.Applied().Index + 1 + rpc.Index(i), Term: 1, Kind: rpc.EntryCommand, Time: int64(now), Data: c.Encode()}
	}
	answers, err := f.store.Apply(entries)
	require.NoError(f.t, err)
	results := make([]Result, len(answers))
	for i, answer := range answers {
		results[i] = answer.(Result)
	}
	return results
}

func (f feeder) due(now time.Duration, max int) []command.ExpireItem {
	f.t.Helper()
	items, err := f.store.Due(int64(now), max)
	require.NoError(f.t, err)
	return items
}

func (f feeder) nextDue() (time.Duration, bool) {
	f.t.Helper()
	next, any, err := f.store.NextDue()
	require.NoError(f.t, err)
	return time.Duration(next), any
}

func expire(items ...command.ExpireItem) command.Command {
	return command.Command{Expire: &command.Expire{Items: items}}
}

func putTTL(bucket, key string, ttl time.Duration) command.Command {
	return write(command.Write{Bucket: bucket, Key: key, Value: []byte("v"), TTL: ttl})
}

// Whatever a leader proposes, nothing expires before the log says that its time is over (F24).
func TestNothingExpiresEarly(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.at(time.Second, addBucket("app", command.Settings{TTL: 10 * time.Second, AllowTTL: true}), putTTL("app", "own", 5*time.Second), put("app", "aged", "v"),
			putTTL("app", "never", command.Never))
		own := command.ExpireItem{Bucket: "app", Incarnation: 1, Sequence: 1, Key: "own"}
		aged := command.ExpireItem{Bucket: "app", Incarnation: 1, Sequence: 2, Key: "aged"}
		lasting := command.ExpireItem{Bucket: "app", Incarnation: 1, Sequence: 3, Key: "never"}
		require.Equal(t, []command.ExpireItem{own, aged}, f.due(time.Hour, 10), "a clock far ahead")
		for _, c := range []struct {
			now   time.Duration
			count uint64
		}{{6*time.Second - 1, 0}, {6 * time.Second, 1}, {6 * time.Second, 0}, {11*time.Second - 1, 0}, {11 * time.Second, 1}, {time.Hour, 0}} {
			require.Equal(t, []Result{{Count: c.count}}, f.at(c.now, expire(own, aged, lasting)), c.now)
		}
		info, err := f.store.Bucket("app")
		require.NoError(t, err)
		require.EqualValues(t, 1, info.Entries)
		f.close()
	})
}

// A lock that is renewed once more under the same message id ends when the first renewal says: whoever holds it counts from then (README, locks).
func TestAWriteThatIsGivenAgainRenewsNothing(t *testing.T) {
	f := open(t, newMemory())
	renewal := write(command.Write{Bucket: "locks", Key: "job", Value: []byte("me"), TTL: 30 * time.Second, Condition: command.IfSequence, Sequence: 1, MsgID: "X"})
	f.at(0, addBucket("locks", command.Settings{AllowTTL: true, DuplicateWindow: 2 * time.Minute}), putTTL("locks", "job", 30*time.Second))
	first := f.at(10*time.Second, renewal)[0]
	again := f.at(25*time.Second, renewal)[0]
	require.True(t, again.Again)
	require.Equal(t, first.Sequence, again.Sequence)
	require.Empty(t, f.due(40*time.Second-1, 10))
	require.Len(t, f.due(40*time.Second, 10), 1)
	f.close()
}

// An item names an entry for good: not another of the key, nor of a bucket of the name.
func TestAnExpiryOfWhatIsGoneDoesNothing(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		settings := command.Settings{TTL: time.Second}
		f.at(0, addBucket("app", settings), put("app", "k", "1"))
		items := f.due(time.Minute, 10)
		require.Len(t, items, 1)
		f.at(time.Minute, put("app", "k", "2"))
		require.Equal(t, []Result{{}}, f.at(time.Minute, expire(items...)), "overwritten")
		f.at(time.Minute, removeBucket("app"), addBucket("app", settings), put("app", "k", "3"))
		require.Equal(t, []Result{{}}, f.at(time.Hour, expire(items...)), "another bucket")
		require.Equal(t, []Result{{}}, f.at(time.Hour, removeBucket("app"), expire(items...))[1:], "no bucket")
		require.Equal(t, 1, records(t, f.store), "nothing but the state record is left")
		f.close()
	})
}

func TestExpiryLeavesNoRecords(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.at(0, addBucket("app", command.Settings{AllowTTL: true, History: 2}))
		base := records(t, f.store)
		f.at(0, putTTL("app", "k", time.Second), putTTL("app", "k", 9*time.Second), putTTL("app", "k", 8*time.Second), putTTL("app", "l", time.Second))
		require.Equal(t, base+2+3+3, records(t, f.store), "two keys, three entries, and when they are over")
		f.at(time.Minute, expire(f.due(time.Minute, 10)...))
		require.Equal(t, base, records(t, f.store))
		f.at(time.Minute, putTTL("app", "k", time.Second))
		f.at(time.Minute, command.Command{PurgeBucket: &command.PurgeBucket{Name: "app"}})
		require.Equal(t, base, records(t, f.store))
		f.at(time.Minute, putTTL("app", "k", time.Second), removeBucket("app"))
		require.Equal(t, 1, records(t, f.store))
		f.close()
	})
}

// The schedule is never late, and does not have its caller ask for nothing again and again.
func TestNextDue(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		requireNext := func(want time.Duration) {
			t.Helper()
			f.due(want-1, 10)
			next, any := f.nextDue()
			require.True(t, any)
			require.Equal(t, want, next)
		}
		f.at(1, addBucket("plain", command.Settings{}), put("plain", "k", "v"))
		_, any := f.nextDue()
		require.False(t, any)
		f.at(time.Second, addBucket("app", command.Settings{AllowTTL: true}), putTTL("app", "a", time.Minute))
		requireNext(61 * time.Second)
		f.at(2*time.Second, putTTL("app", "b", time.Second))
		requireNext(3 * time.Second)
		f.at(2*time.Second, addBucket("aged", command.Settings{TTL: 500 * time.Millisecond}))
		requireNext(3 * time.Second)
		f.at(2*time.Second, put("aged", "k", "v"))
		requireNext(2500 * time.Millisecond)
		f.at(2*time.Second, command.Command{UpdateBucket: &command.UpdateBucket{Name: "aged", Settings: command.Settings{TTL: 100 * time.Millisecond}}})
		requireNext(2100 * time.Millisecond)
		f.close()
		f = open(t, d)
		requireNext(2100 * time.Millisecond)
		f.at(4*time.Second, expire(f.due(4*time.Second, 10)...))
		requireNext(61 * time.Second)
		f.at(4*time.Second, removeBucket("app"))
		f.due(time.Hour, 10)
		_, any = f.nextDue()
		require.False(t, any)
		f.close()
	})
}

// What comes with a snapshot expires too, also where somebody has asked for what is over in the state before (F24).
func TestWhatASnapshotBringsExpires(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		from, f := open(t, fresh()), open(t, fresh())
		from.at(time.Second, addBucket("app", command.Settings{AllowTTL: true}), putTTL("app", "k", time.Minute))
		_, any := f.nextDue()
		require.False(t, any)
		require.NoError(t, f.store.Restore(bytes.NewReader(streamOf(t, from.store))))
		require.Equal(t, []command.ExpireItem{{Bucket: "app", Incarnation: 1, Sequence: 1, Key: "k"}}, f.due(61*time.Second, 10))
		_, any = f.nextDue()
		require.True(t, any)
		from.close()
		f.close()
	})
}

// A bucket whose time is longer than any clock's is none that is due, and keeps nobody from what others have due.
func TestATimeThatNeverComes(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		d := newMemory()
		f := open(t, d)
		f.at(time.Second, addBucket("lasting", command.Settings{TTL: math.MaxInt64}), put("lasting", "k", "v"), put("lasting", "l", "v"))
		if reopened {
			f.close()
			f = open(t, d)
		}
		require.Empty(t, f.due(time.Hour, 10))
		f.at(time.Second, put("lasting", "k", "w"))
		_, any := f.nextDue()
		require.False(t, any, "nothing to look for")
		f.at(time.Second, addBucket("app", command.Settings{TTL: time.Second}), put("app", "k", "v"))
		items := f.due(time.Minute, 1)
		require.Len(t, items, 1)
		require.Equal(t, "app", items[0].Bucket)
		f.close()
	}
}

// Entries that never expire, and what is gone, are passed once, not with each look.
func TestTheScheduleGoesOnWhereItWas(t *testing.T) {
	f := open(t, newMemory())
	f.at(time.Second, addBucket("app", command.Settings{TTL: time.Second, AllowTTL: true}), putTTL("app", "a", command.Never), putTTL("app", "b", command.Never),
		put("app", "c", "v"), put("app", "d", "v"))
	require.Len(t, f.due(time.Minute, 1), 1)
	require.EqualValues(t, 3, f.store.schedule.tables[1].agedSeq)
	f.at(time.Minute, expire(f.due(time.Minute, 10)...))
	f.at(time.Hour, putTTL("app", "e", command.Never))
	require.Empty(t, f.due(2*time.Hour, 10))
	require.EqualValues(t, 5, f.store.schedule.tables[1].agedSeq)
	f.close()
}

// A command expires no more than it may, whichever time is over, and the rest comes with the next.
func TestAsManyAreOverAsWereAskedFor(t *testing.T) {
	f := open(t, newMemory())
	f.at(time.Second, addBucket("app", command.Settings{TTL: time.Hour, AllowTTL: true}), putTTL("app", "a", time.Second), putTTL("app", "b", time.Second),
		putTTL("app", "c", time.Second), put("app", "d", "v"), put("app", "e", "v"))
	for _, left := range []uint64{3, 1, 0} {
		items := f.due(2*time.Hour, 2)
		require.LessOrEqual(t, len(items), 2)
		f.at(2*time.Hour, expire(items...))
		require.Equal(t, left, f.entries("app"))
	}
	f.close()
}

func TestALookPassesABoundedNumberOfEntries(t *testing.T) {
	for name, c := range map[string]struct {
		count int
		value []byte
	}{"many": {scanMax, nil}, "large": {2, make([]byte, passedBytesMax/2)}, "one": {1, make([]byte, passedBytesMax+1)}} {
		t.Run(name, func(t *testing.T) { passesABoundedNumber(t, c.count, c.value) })
	}
}

// passesABoundedNumber looks twice, at some more than count entries that never end.
func passesABoundedNumber(t *testing.T, count int, value []byte) {
	f := open(t, newMemory())
	batch := []command.Command{addBucket("app", command.Settings{TTL: time.Second, AllowTTL: true})}
	for i := range count + 1 {
		batch = append(batch, write(command.Write{Bucket: "app", Key: name(i), Value: value, TTL: command.Never}))
	}
	f.at(time.Second, append(batch, put("app", "z", "v"))...)
	require.Empty(t, f.due(time.Hour, 10))
	next, any := f.nextDue()
	require.True(t, any)
	require.Zero(t, next, "to go on at once")
	require.EqualValues(t, count+1, f.store.schedule.tables[1].agedSeq)
	require.Len(t, f.due(time.Hour, 10), 1)
	f.close()
}

func TestTTLNeedsLeave(t *testing.T) {
	f := open(t, newMemory())
	f.at(0, addBucket("app", command.Settings{}))
	require.Equal(t, []Result{{Code: TTLDisabled}, {Code: TTLDisabled}}, f.at(0, putTTL("app", "k", time.Second), putTTL("app", "k", command.Never)))
	f.close()
}

func TestWithTTL(t *testing.T) {
	for before, after := range map[string]string{
		"":                                 "",
		"NATS/1.0\r\n\r\n":                 "NATS/1.0\r\n\r\n",
		"NATS/1.0\r\nA: b\r\n\r\n":         "NATS/1.0\r\nA: b\r\n\r\n",
		"NATS/1.0\r\nNats-TTL: 1s\r\n\r\n": "NATS/1.0\r\nNats-TTL: 7\r\n\r\n",
		"NATS/1.0\r\nNats-TTL:1\r\nA: Nats-TTL: 1\r\n\r\n":   "NATS/1.0\r\nA: Nats-TTL: 1\r\nNats-TTL: 7\r\n\r\n",
		"NATS/1.0\r\nA: b\r\nNats-TTL: 1s\r\nC: d\r\n\r\n":   "NATS/1.0\r\nA: b\r\nC: d\r\nNats-TTL: 7\r\n\r\n",
		"NATS/1.0\r\nX-Nats-TTL: 1\r\nNats-TTLs: 2\r\n\r\n":  "NATS/1.0\r\nX-Nats-TTL: 1\r\nNats-TTLs: 2\r\n\r\n",
		"NATS/1.0\r\nNats-TTL: 1s\r\nNats-TTL: 2s\r\n\r\n":   "NATS/1.0\r\nNats-TTL: 7\r\n\r\n",
		"NATS/1.0\r\nNats-TTL: 1s (not ended with two lines": "NATS/1.0\r\nNats-TTL: 7\r\n\r\n",
	} {
		require.Equal(t, after, string(withTTL([]byte(before), 7*time.Second)))
	}
}

// A command that is made of more than one apply may do keeps the leader busy in steps.
func TestALowerHistoryIsCarriedOutInSteps(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		f.at(0, addBucket("app", command.Settings{History: 3}))
		const keys = removedMax + 10
		var batch []command.Command
		for i := range 2 * keys {
			batch = append(batch, put("app", name(i%keys), "v"))
		}
		f.at(0, batch...)
		f.at(0, command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{History: 1}}})
		require.Equal(t, uint64(keys+10), f.entries("app"))
		f.close()
		f = open(t, d)
		next, any := f.nextDue()
		require.True(t, any)
		require.Zero(t, next)
		items := f.due(0, 10)
		require.Equal(t, []command.ExpireItem{{Bucket: "app", Incarnation: 1}}, items)
		require.Equal(t, []Result{{Count: 10}, {}}, f.at(0, expire(items...), expire(items...)))
		require.Equal(t, uint64(keys), f.entries("app"))
		require.Empty(t, f.due(time.Hour, 10))
		_, any = f.nextDue()
		require.False(t, any)
		f.close()
	})
}

// A history that is lowered again while that is carried out is lowered for all keys, also in a bucket that has other times to keep.
func TestAHistoryIsLoweredAgain(t *testing.T) {
	t.Parallel()
	f := open(t, newMemory())
	f.at(0, addBucket("app", command.Settings{History: 3, TTL: time.Hour}))
	const keys = removedMax + 10
	var batch []command.Command
	for i := range 3 * keys {
		batch = append(batch, put("app", name(i%keys), "v"))
	}
	f.at(0, batch...)
	lower := func(history uint64) command.Command {
		return command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{History: history, TTL: time.Hour}}}
	}
	f.at(0, lower(2))
	require.Equal(t, uint64(2*keys+10), f.entries("app"))
	next, any := f.nextDue()
	require.True(t, any)
	require.Zero(t, next, "at once, though there is a TTL")
	f.at(0, lower(1))
	for range 5 { // steps, of which two are enough
		if items := f.due(0, 10); len(items) > 0 {
			f.at(0, expire(items...))
		}
	}
	require.Empty(t, f.due(0, 10))
	require.Equal(t, uint64(keys), f.entries("app"))
	next, any = f.nextDue()
	require.True(t, any)
	require.NotZero(t, next, "the TTL is what is next")
	f.close()
}

func (f feeder) entries(bucket string) uint64 {
	info, err := f.store.Bucket(bucket)
	require.NoError(f.t, err)
	return info.Entries
}
