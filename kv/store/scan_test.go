package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/subject"
)

func pattern(t *testing.T, patterns ...string) subject.Filter {
	t.Helper()
	f, err := subject.Parse(patterns...)
	require.NoError(t, err)
	return f
}

func sequences(entries []Entry) []uint64 {
	var list []uint64
	for _, e := range entries {
		list = append(list, e.Sequence)
	}
	return list
}

var header = []byte("NATS/1.0\r\nA: b\r\n\r\n")

func TestHeadersAreKept(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		f.apply(addBucket("app", command.Settings{}), write(command.Write{Bucket: "app", Key: "k", Value: []byte("v"), Header: header}))
		f.close()
		f = open(t, d)
		want := Entry{Key: "k", Value: []byte("v"), Sequence: 1, Revision: 2, Time: 2000, Header: header}
		for _, get := range []func() (Entry, error){
			func() (Entry, error) { return f.store.Get("app", "k") },
			func() (Entry, error) { return f.store.Last("app", "k") },
			func() (Entry, error) { return f.store.Message("app", 1) },
			func() (Entry, error) { return f.store.LastMatch("app", pattern(t), nil) },
			func() (Entry, error) { return f.store.LastMatch("app", pattern(t, "*"), nil) },
			func() (Entry, error) { return f.store.Next("app", 0, pattern(t), nil) },
			func() (Entry, error) { return f.store.Next("app", 1, pattern(t, "k"), nil) },
		} {
			got, err := get()
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		info, err := f.store.Bucket("app")
		require.NoError(t, err)
		require.Equal(t, EntrySize("k", header, []byte("v")), info.Bytes)
		f.close()
	})
}

// mixed is a bucket with gaps: 1 a.x, 3 b (deleted), 5 a.x, 6 a.y (empty), 7 a.x, 8 c.
func mixed(f feeder) {
	f.apply(addBucket("app", command.Settings{History: 3}),
		put("app", "a.x", "1"), put("app", "gone", "2"), del("app", "b"), put("app", "gone", "4"), put("app", "a.x", "5"),
		put("app", "a.y", ""), put("app", "a.x", "7"), put("app", "c", "8"))
	f.apply(write(command.Write{Bucket: "app", Key: "gone", Op: command.Purge, Rollup: command.RollupKey}))
}

func TestReadsBySequence(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		mixed(f)
		for sequence, want := range map[uint64]error{0: NoEntry, 1: nil, 2: NoEntry, 3: nil, 4: NoEntry, 9: nil, 10: NoEntry} {
			e, err := f.store.Message("app", sequence)
			require.Equal(t, want, err, sequence)
			if err == nil {
				require.Equal(t, sequence, e.Sequence)
			}
		}
		last, err := f.store.Last("app", "b")
		require.NoError(t, err)
		require.Equal(t, Entry{Key: "b", Op: command.Delete, Value: []byte{}, Sequence: 3, Revision: 4, Time: 4000}, last)
		_, err = f.store.Last("app", "none")
		require.ErrorIs(t, err, NoEntry)
		_, err = f.store.Last("none", "b")
		require.ErrorIs(t, err, NoBucket)
		for _, c := range []struct {
			from    uint64
			pattern []string
			want    uint64
		}{{0, nil, 1}, {2, nil, 3}, {2, []string{"a.*"}, 5}, {2, []string{"a.x"}, 5}, {6, []string{"a.x"}, 7}, {8, []string{"a.*"}, 0}, {0, []string{"none"}, 0}, {10, nil, 0}} {
			e, err := f.store.Next("app", c.from, pattern(t, c.pattern...), nil)
			require.Equal(t, c.want, e.Sequence, c)
			if c.want == 0 {
				require.ErrorIs(t, err, NoEntry, c)
			}
		}
		for text, want := range map[string]uint64{">": 9, "a.*": 7, "*": 9, "a.y": 6, "*.*": 7, "none.*": 0} {
			e, err := f.store.LastMatch("app", pattern(t, text), nil)
			require.Equal(t, want, e.Sequence, text)
			if want == 0 {
				require.ErrorIs(t, err, NoEntry, text)
			}
		}
		_, err = f.store.LastMatch("none", pattern(t), nil)
		require.ErrorIs(t, err, NoBucket)
		f.close()
	})
}

func TestPagesOfWhicheverBucketItIs(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		mixed(f)
		for _, c := range []struct {
			from     uint64
			pattern  string
			max, mem int
			want     []uint64
			next     uint64 // 0: no more
		}{
			{0, ">", 10, 1000, []uint64{1, 3, 5, 6, 7, 8, 9}, 0},
			{0, ">", 3, 1000, []uint64{1, 3, 5}, 6},
			{6, ">", 10, 1000, []uint64{6, 7, 8, 9}, 0},
			{0, "a.>", 10, 1000, []uint64{1, 5, 6, 7}, 0},
			{0, "a.x", 10, 1000, []uint64{1, 5, 7}, 0},
			{2, "a.x", 1, 1000, []uint64{5}, 7},
			{0, "a.x", 10, 0, []uint64{1}, 5},
			{0, ">", 10, 6, []uint64{1, 3}, 5},
			{10, ">", 10, 1000, nil, 0},
			{0, "none.*", 10, 1000, nil, 0},
		} {
			page, err := f.store.Page(Query{Bucket: "app", From: c.from, Filter: pattern(t, c.pattern), Max: c.max, MaxBytes: c.mem})
			require.NoError(t, err)
			require.Equal(t, c.want, sequences(page.Entries), c)
			require.Equal(t, c.next == 0, page.Done, c)
			if c.next == 0 {
				c.next = 10
			}
			require.Equal(t, c.next, page.Next, c)
			require.EqualValues(t, 10, page.At)
		}
		f.close()
	})
}

func TestAPageLooksAtABoundedNumberOfEntries(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		commands := []command.Command{addBucket("app", command.Settings{})}
		for i := range scanMax + 10 {
			commands = append(commands, put("app", fmt.Sprintf("x%d", i), "v"))
		}
		f.apply(append(commands, put("app", "z.z", "v"))...)
		page, err := f.store.Page(Query{Bucket: "app", Filter: pattern(t, "z.*"), Max: 10, MaxBytes: 1000})
		require.NoError(t, err)
		require.Equal(t, EntryPage{Next: scanMax + 1, Last: scanMax + 11, At: f.store.Applied().Index}, page)
		e, err := f.store.Next("app", 0, pattern(t, "z.*"), nil)
		require.NoError(t, err)
		require.EqualValues(t, scanMax+11, e.Sequence)

		info, err := f.store.Bucket("app")
		require.NoError(t, err)
		q := Query{Bucket: "app", Incarnation: info.Incarnation, Filter: pattern(t, fmt.Sprint("x", scanMax), "z.*"), Max: 10, MaxBytes: 1000}
		first, err := f.store.Page(q)
		require.NoError(t, err)
		require.Empty(t, first.Entries)
		require.Equal(t, []uint64{scanMax + 1, scanMax + 11}, sequences(readPages(t, f.store, q)), "the next page begins with the entry that this one has no time for")
		f.close()
	})
}

func TestState(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		state := func() State {
			got, err := f.store.State("app")
			require.NoError(t, err)
			info, err := f.store.Bucket("app")
			require.NoError(t, err)
			require.Equal(t, info, got.BucketInfo)
			require.Equal(t, f.store.Applied().Index, got.At)
			got.BucketInfo, got.At = BucketInfo{}, 0
			return got
		}
		f.one(addBucket("app", command.Settings{}))
		require.Equal(t, State{}, state())
		for i := range 10 {
			f.one(put("app", "k", "v"))
			at := int64(i+2) * 1000
			require.Equal(t, State{First: uint64(i + 1), FirstTime: at, LastTime: at}, state())
		}
		f.one(put("app", "l", "v"))
		f.apply(put("app", "l", "v"), put("app", "l", "v"))
		require.Equal(t, State{First: 10, FirstTime: 11000, LastTime: 14000, Gaps: 2}, state())
		f.one(put("app", "k", "v"))
		require.Equal(t, State{First: 13, FirstTime: 14000, LastTime: 15000}, state())
		_, err := f.store.State("none")
		require.ErrorIs(t, err, NoBucket)
		f.close()
	})
}

func TestAnEqualBucketMayBeAddedAgain(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		s := command.Settings{History: 2, Echo: []byte("x"), Metadata: map[string]string{"a": "b"}}
		again := command.Command{AddBucket: &command.AddBucket{Name: "app", Settings: s, AcceptEqual: true}}
		require.Equal(t, Result{Revision: 1}, f.one(again))
		require.Equal(t, Result{Again: true, Revision: 1}, f.one(again))
		require.Equal(t, Result{Code: BucketExists}, f.one(addBucket("app", s)))
		s.Echo = nil
		require.Equal(t, Result{Code: BucketExists}, f.one(command.Command{AddBucket: &command.AddBucket{Name: "app", Settings: s, AcceptEqual: true}}))
		f.close()
	})
}

func TestUpdateBucket(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		update := func(s command.Settings, changed uint64) command.Command {
			return command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: s, Changed: changed}}
		}
		require.Equal(t, Result{Code: NoBucket}, f.one(update(command.Settings{}, 0)))
		f.apply(addBucket("app", command.Settings{}), put("app", "k", "v"))
		require.Equal(t, Result{Code: SettingsChanged, Current: 1}, f.one(update(command.Settings{}, 9)))
		require.Equal(t, Result{Revision: 3}, f.one(update(command.Settings{History: 2, Description: "d"}, 1)))
		require.Equal(t, Result{Code: SettingsChanged, Current: 3}, f.one(update(command.Settings{}, 1)))
		f.close()
		f = open(t, d)
		info, err := f.store.Bucket("app")
		require.NoError(t, err)
		require.Equal(t, command.Settings{History: 2, Description: "d"}, info.Settings)
		require.EqualValues(t, 3, info.Changed)
		require.EqualValues(t, 1, info.Incarnation)
		f.apply(put("app", "k", "v"), put("app", "k", "v"))
		info, err = f.store.Bucket("app")
		require.NoError(t, err)
		require.EqualValues(t, 2, info.Entries)
		f.close()
	})
}

func TestMessageSizeAndLastSequence(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(addBucket("app", command.Settings{MaxMessageSize: uint64(len(header)) + 2}))
		require.Equal(t, Done, f.one(write(command.Write{Bucket: "app", Key: "k", Header: header, Value: []byte("12")})).Code)
		require.Equal(t, Result{Code: MessageTooLarge, Limit: uint64(len(header)) + 2}, f.one(write(command.Write{Bucket: "app", Key: "k", Header: header, Value: []byte("123")})))
		zero, one := uint64(0), uint64(1)
		require.Equal(t, Result{Code: WrongLastSequence, Current: 1}, f.one(write(command.Write{Bucket: "app", Key: "l", LastSequence: &zero})))
		require.Equal(t, Result{Sequence: 2, Revision: 3}, f.one(write(command.Write{Bucket: "app", Key: "l", LastSequence: &one})))
		f.close()
	})
}
