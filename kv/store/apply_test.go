package store

import (
	"bytes"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/leaktest"
	"github.com/raftbus/raftbus/raft/rpc"
)

func TestMain(m *testing.M) {
	// A few random histories on each run; more with -rapid.checks=1000.
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

func TestWhatCannotBeAppliedStopsTheNodeAndChangesNothing(t *testing.T) { // F28, K32
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(addBucket("app", command.Settings{}))
		before := sumOf(t, f.store)
		good := rpc.Entry{Index: 2, Term: 1, Kind: rpc.EntryCommand, Data: put("app", "k", "v").Encode()}
		for name, bad := range map[string]rpc.Entry{
			"a newer command":    {Index: 3, Term: 1, Kind: rpc.EntryCommand, Data: []byte{0x08, 0x02}},
			"a malformed one":    {Index: 3, Term: 1, Kind: rpc.EntryCommand, Data: []byte{0x22, 0x05}},
			"a gap":              {Index: 4, Term: 1, Kind: rpc.EntryNoop},
			"one that was there": {Index: 2, Term: 1, Kind: rpc.EntryNoop},
		} {
			_, err := f.store.Apply([]rpc.Entry{good, bad})
			require.Error(t, err, name)
			require.Equal(t, before, sumOf(t, f.store), name)
		}
		f.one(put("app", "k", "v"))
		f.close()
	})
}

// Raft's own entries count, whatever they carry: the node judges their kinds before they come here.
func TestEntriesThatAreNoCommandsCount(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		results, err := f.store.Apply([]rpc.Entry{
			{Index: 1, Term: 1, Kind: rpc.EntryNoop, Time: 10},
			{Index: 2, Term: 1, Kind: rpc.EntryCommand, Time: 20, Data: addBucket("app", command.Settings{}).Encode()},
			{Index: 3, Term: 2, Kind: rpc.EntryConfiguration, Time: 30, Data: addBucket("not a command", command.Settings{}).Encode()},
		})
		require.NoError(t, err)
		require.Equal(t, []any{nil, Result{Revision: 1}, nil}, results)
		results, err = f.store.Apply([]rpc.Entry{{Index: 4, Term: 3, Kind: rpc.EntryConfiguration, Data: []byte("\xff")}})
		require.NoError(t, err)
		require.Equal(t, []any{nil}, results)
		require.EqualValues(t, 30, f.store.Time(), "an entry that says an earlier time does not set the log's back")
		f.close()
		f = open(t, d)
		require.Equal(t, rpc.EntryID{Term: 3, Index: 4}, f.store.Applied())
		page, err := f.store.Buckets("", "", 10)
		require.NoError(t, err)
		require.Equal(t, []string{"app"}, page.Names)
		_, err = f.store.Apply([]rpc.Entry{{Index: 6, Term: 3, Kind: rpc.EntryConfiguration}})
		require.Error(t, err, "a gap")
		require.Equal(t, Result{Revision: 2}, f.one(addBucket("b", command.Settings{})))
		info, err := f.store.Bucket("b")
		require.NoError(t, err)
		require.EqualValues(t, 5000, info.Created)
		f.close()
	})
}

func TestABucketMadeAnewSeesNothingOfTheOld(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		both := func() {
			_, err := f.store.Get("app", "old")
			require.ErrorIs(t, err, KeyNotFound)
			require.Equal(t, Result{Code: KeyNotFound}, f.one(write(command.Write{Bucket: "app", Key: "old", Op: command.Delete, Condition: command.IfPresent})))
		}
		f.apply(addBucket("app", command.Settings{}), put("app", "old", "1"))
		f.apply(removeBucket("app"), addBucket("app", command.Settings{History: 2}))
		both()
		info, err := f.store.Bucket("app")
		require.NoError(t, err)
		require.Equal(t, BucketInfo{Name: "app", Settings: command.Settings{History: 2}, Created: 4000, Incarnation: 4, Changed: 4}, info)
		// In one batch with what it removes.
		f.apply(put("app", "old", "1"), removeBucket("app"), addBucket("app", command.Settings{}), put("app", "new", "2"))
		both()
		e, err := f.store.Get("app", "new")
		require.NoError(t, err)
		require.EqualValues(t, 1, e.Sequence, "the bucket's sequence begins again")
		require.EqualValues(t, 8, e.Revision, "the cluster's does not")
		f.apply(removeBucket("app"))
		require.Equal(t, 1, records(t, f.store), "a removed bucket leaves nothing but the state record")
		f.close()
	})
}

func records(t *testing.T, s *Store) (count int) {
	t.Helper()
	v, err := s.snapshot()
	require.NoError(t, err)
	require.NoError(t, v.each(func(_, _ []byte) error { count++; return nil }))
	require.NoError(t, v.Close())
	return count
}

func TestHistoryKeepsWhatItSays(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(addBucket("app", command.Settings{History: 3}))
		base := records(t, f.store)
		for i := range 10 {
			f.apply(put("app", "k", "v"), put("app", "k", "w"))
			require.Equal(t, base+1+min(3, 2*i+2), records(t, f.store), "three entries and the key's record")
		}
		f.one(write(command.Write{Bucket: "app", Key: "k", Op: command.Purge, Rollup: command.RollupKey}))
		require.Equal(t, base+2, records(t, f.store), "a purge leaves its own entry only")
		f.close()
	})
}

func TestAFullBucketTakesDeletes(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(addBucket("app", command.Settings{MaxBytes: EntrySize("k", nil, []byte("12345"))}))
		require.Equal(t, Done, f.one(put("app", "k", "12345")).Code)
		require.Equal(t, BucketFull, f.one(put("app", "l", "")).Code)
		require.Equal(t, Done, f.one(put("app", "k", "54321")).Code, "what it displaces makes room")
		require.Equal(t, BucketFull, f.one(put("app", "k", "123456")).Code)
		require.Equal(t, Done, f.one(del("app", "k")).Code, "a delete of what is there makes room, in the end")
		require.Equal(t, Done, f.one(del("app", "k")).Code)
		require.Equal(t, BucketFull, f.one(del("app", "l")).Code, "or names that never were could fill it without end")
		require.Equal(t, BucketFull, f.one(write(command.Write{Bucket: "app", Key: "k", Op: command.Delete, Header: make([]byte, 10)})).Code)
		f.one(addBucket("past", command.Settings{History: 2, MaxBytes: EntrySize("k", nil, []byte("12345"))}))
		require.Equal(t, Done, f.one(put("past", "k", "12345")).Code)
		require.Equal(t, BucketFull, f.one(put("past", "k", "")).Code)
		require.Equal(t, Done, f.one(del("past", "k")).Code, "though it displaces nothing yet")
		f.close()
	})
}

// From feature level 3 on a bucket with more than it is to have takes what leaves it no larger, and deletes with the headers of KV clients.
func TestABucketBeyondItsBoundTakesWhatEasesIt(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{}), put("app", "k", "12345"), put("app", "l", "1"), put("app", "m", "1"))
		f.one(command.Command{UpdateBucket: &command.UpdateBucket{Name: "app", Settings: command.Settings{MaxBytes: 1}}})
		kvDelete := func(key string, header int) command.Command {
			return write(command.Write{Bucket: "app", Key: key, Op: command.Delete, Header: make([]byte, header)})
		}
		for _, c := range []command.Command{put("app", "k", "1234"), kvDelete("l", 31)} {
			require.Equal(t, BucketFull, f.one(c).Code, "members of an older release judge likewise")
		}
		f.one(command.Command{Raise: &command.Raise{Version: 3}})
		for _, c := range []command.Command{put("app", "k", "54321"), put("app", "k", "1234"), kvDelete("l", 256), write(command.Write{Bucket: "app", Key: "m", Op: command.Purge, Rollup: command.RollupKey, Header: make([]byte, 60)})} {
			require.Equal(t, Done, f.one(c).Code)
		}
		for _, c := range []command.Command{put("app", "k", "12345"), put("app", "new", ""), kvDelete("new", 31), kvDelete("k", 257), {Write: &command.Write{Bucket: "app", Key: "k", Op: command.Delete, Value: make([]byte, 10)}}} {
			require.Equal(t, BucketFull, f.one(c).Code)
		}
		state, err := f.store.State("app")
		require.NoError(t, err)
		all := write(command.Write{Bucket: "app", Key: "k", Op: command.Put, Rollup: command.RollupBucket, Value: make([]byte, state.Bytes-EntrySize("k", nil, nil))})
		require.Equal(t, Done, f.one(all).Code, "it displaces all keys")
		all.Write.Value = append(all.Write.Value, 0)
		require.Equal(t, BucketFull, f.one(all).Code)
		f.close()
	})
}

func TestReadsRunWhileEntriesAreApplied(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{}), put("app", "k", "0"), put("app", "l", "0"))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for last := uint64(0); ; {
					select {
					case <-stop:
						return
					default:
					}
					e, err := f.store.Get("app", "k")
					if err != nil || e.Sequence < last {
						t.Errorf("%v, %d after %d", err, e.Sequence, last)
						return
					}
					last = e.Sequence
					if page, err := f.store.Keys("app", "", "", 10); err != nil || len(page.Names) != 2 {
						t.Errorf("%v, %v", err, page)
						return
					}
				}
			})
		}
		for i := range 500 { // history 1: each put removes the entry that a reader may be about to read
			f.apply(put("app", "k", fmt.Sprint(i)))
			if i%100 == 50 {
				require.NoError(t, f.store.Flush())
			}
			if i%200 == 150 {
				require.NoError(t, f.store.Restore(bytes.NewReader(streamOf(t, f.store))))
			}
		}
		close(stop)
		wg.Wait()
		f.close()
	})
}

func TestPagesOfNames(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.apply(addBucket("app", command.Settings{}), addBucket("apq", command.Settings{}), addBucket("b", command.Settings{}))
		for _, key := range []string{"a", "b.1", "b.2", "b.3", "c", "~"} {
			f.apply(put("app", key, "v"), put("b", "x"+key, "v"))
		}
		f.one(del("app", "b.2"))
		for _, c := range []struct {
			prefix, after string
			limit         int
			want          Page
		}{
			{"", "", 10, Page{Names: []string{"a", "b.1", "b.3", "c", "~"}, After: "~"}},
			{"", "", 2, Page{Names: []string{"a", "b.1"}, More: true, After: "b.1"}},
			{"", "b.1", 2, Page{Names: []string{"b.3", "c"}, More: true, After: "c"}},
			{"b.", "", 10, Page{Names: []string{"b.1", "b.3"}, After: "b.3"}},
			{"b.", "a", 10, Page{Names: []string{"b.1", "b.3"}, After: "b.3"}},
			{"b.", "", 1, Page{Names: []string{"b.1"}, More: true, After: "b.1"}},
			{"b.", "", 0, Page{More: true}},
			{"c", "b", 10, Page{Names: []string{"c"}, After: "c"}},
			{"b.", "b.1", 10, Page{Names: []string{"b.3"}, After: "b.3"}},
			{"b.", "b.1", 1, Page{Names: []string{"b.3"}, After: "b.3"}},
			{"b.", "c", 10, Page{}},
			{"x", "", 10, Page{}},
			{"", "~~", 10, Page{}},
		} {
			page, err := f.store.Keys("app", c.prefix, c.after, c.limit)
			require.NoError(t, err)
			require.Equal(t, c.want, page, c)
		}
		page, err := f.store.Buckets("ap", "app", 10)
		require.NoError(t, err)
		require.Equal(t, []string{"apq"}, page.Names)
		_, err = f.store.Keys("none", "", "", 1)
		require.ErrorIs(t, err, NoBucket)
		f.close()
	})
}

func TestAPageLooksAtABoundedNumberOfRecords(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		f := open(t, fresh())
		f.one(addBucket("app", command.Settings{}))
		const deleted = scanMax + 10
		commands := make([]command.Command, 0, deleted)
		for i := range deleted {
			commands = append(commands, del("app", fmt.Sprintf("d%06d", i)))
		}
		f.apply(commands...)
		f.one(put("app", "z", "v"))
		page, err := f.store.Keys("app", "", "", 10)
		require.NoError(t, err)
		require.Equal(t, Page{More: true, After: fmt.Sprintf("d%06d", scanMax-1)}, page)
		page, err = f.store.Keys("app", "", page.After, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"z"}, page.Names)
		f.close()
	})
}

func TestLargeValues(t *testing.T) {
	onEachEngine(t, func(t *testing.T, fresh func() disk) {
		d := fresh()
		f := open(t, d)
		value := strings.Repeat("0123456789abcdef", 1<<16)
		f.apply(addBucket("app", command.Settings{}), put("app", "k", value))
		stream := streamOf(t, f.store)
		f.close()
		f = open(t, d)
		require.NoError(t, f.store.Restore(bytes.NewReader(stream)))
		e, err := f.store.Get("app", "k")
		require.NoError(t, err)
		require.Equal(t, value, string(e.Value))
		f.close()
	})
}
