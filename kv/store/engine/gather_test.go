package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// noted is a database that notes what each commit hands down, and does not hold it.
type noted struct {
	DB
	commits [][]string
	err     error
	during  func() // called by a commit; may be nil
	before  func() // called by who waits for room for one; may be nil
}

func (n *noted) NewBatch() Batch                 { return &notedBatch{into: n} }
func (n *noted) NewView() View                   { return brokenView{} }
func (n *noted) Flush() error                    { return nil }
func (n *noted) Get([]byte) ([]byte, error)      { return nil, nil }
func (n *noted) Scan(_, _ []byte, _ visit) error { return nil }

type visit = func(key, value []byte) (more bool, err error)

type notedBatch struct {
	Batch
	into  *noted
	calls []string
}

func (b *notedBatch) note(call string, key []byte) { b.calls = append(b.calls, call+" "+string(key)) }
func (b *notedBatch) Set(key, _ []byte)            { b.note("set", key) }
func (b *notedBatch) Add(key, _ []byte)            { b.note("add", key) }
func (b *notedBatch) Delete(key []byte)            { b.note("delete", key) }
func (b *notedBatch) DeleteRange(from, to []byte)  { b.note("range "+string(from), to) }
func (b *notedBatch) Close()                       {}
func (b *notedBatch) Commit() error {
	b.into.commits = append(b.into.commits, b.calls)
	if b.into.during != nil {
		b.into.during()
	}
	return b.into.err
}

func (b *notedBatch) await() error {
	if b.into.before != nil {
		b.into.before()
	}
	return b.into.err
}

func gathering(t *testing.T, max int) (*gathered, *noted) {
	below := &noted{}
	db, err := Gather{max: max}.over(below, nil)
	require.NoError(t, err)
	return db.(*gathered), below
}

func commit(t *testing.T, g *gathered, changes func(Batch)) {
	b := g.NewBatch()
	changes(b)
	require.NoError(t, b.Commit())
}

func TestEachKeyIsHandedDownOnceAndInOrder(t *testing.T) {
	g, below := gathering(t, 1<<20)
	for i := range 10 {
		commit(t, g, func(b Batch) {
			b.Set([]byte("state"), []byte{byte(i)})
			b.Add(fmt.Appendf(nil, "entry %d", i), []byte("value"))
			if i > 0 {
				b.Delete(fmt.Appendf(nil, "entry %d", i-1))
			}
			b.Delete([]byte("old"))
		})
	}
	require.Empty(t, below.commits)
	require.Equal(t, []string{"entry 9", "old", "state"}, slices.Sorted(maps.Keys(g.pairs)), "what came and went takes no memory")
	require.NoError(t, g.Flush())
	require.Equal(t, [][]string{{"add entry 9", "delete old", "set state"}}, below.commits)
	require.NoError(t, g.Flush())
	require.Len(t, below.commits, 1)
	value, err := g.Get([]byte("state"))
	require.NoError(t, err)
	require.Equal(t, []byte{9}, value, "and is still here")
}

func TestMuchIsHandedDownAndForgotten(t *testing.T) {
	g, below := gathering(t, 10_000)
	for i := range 1000 {
		commit(t, g, func(b Batch) { b.Set(fmt.Appendf(nil, "key %d", i), make([]byte, 50)) })
		require.LessOrEqual(t, len(g.pairs), 10_000/(50+pairBytes))
		require.LessOrEqual(t, g.bytes, 10_000)
	}
	require.NoError(t, g.Flush())
	require.Equal(t, 1000, len(slices.Concat(below.commits...)))
	commit(t, g, func(b Batch) { b.DeleteRange([]byte("a"), []byte("z")) })
	require.Empty(t, g.pairs)
	require.Zero(t, g.bytes)
	require.Empty(t, g.ahead)
}

// What is told of memory is told at once, or not: of what is gathered, if it is small and nobody is at it.
func TestWhatIsHeldIsToldWithoutWaiting(t *testing.T) {
	g, _ := gathering(t, 1_000)
	commit(t, g, func(b Batch) { b.Set([]byte("k"), []byte("value")); b.Delete([]byte("gone")) })
	told := func(key string, most int, held bool, value []byte) {
		got, is := g.Held([]byte(key), most)
		require.Equal(t, held, is)
		require.Equal(t, value, got)
	}
	told("k", 5, true, []byte("value"))
	told("k", 4, false, nil)
	told("gone", 5, true, nil)
	told("other", 5, false, nil)
	value, _ := g.Held([]byte("k"), 5)
	value[0] = 'V'
	told("k", 5, true, []byte("value")) // the bytes were the caller's
	g.mu.Lock()
	told("k", 5, false, nil)
	g.mu.Unlock()
	commit(t, g, func(b Batch) { b.Set([]byte("much"), make([]byte, 1_000)) })
	told("k", 5, false, nil)
}

// A batch takes over the space of the one before, unless that has become much: the largest there ever was would stay in memory.
func TestTheSpaceOfALargeBatchIsNotKept(t *testing.T) {
	g, _ := gathering(t, 1<<20)
	kept := func(keys, bytes int) bool {
		b := g.NewBatch()
		for range keys {
			b.Delete(make([]byte, bytes))
		}
		require.NoError(t, b.Commit())
		b.Close()
		return g.spare.Swap(nil) != nil
	}
	require.True(t, kept(10, 10))
	require.False(t, kept(changesKept+1, 1))
	require.False(t, kept(2, keysKept))
}

// While the database below takes a range's deletion nobody reads: of two keys in it, one that is gathered would still be there after one that is
// not has gone.
func TestNobodySeesHalfOfARangesDeletion(t *testing.T) {
	g, below := gathering(t, 1<<20)
	commit(t, g, func(b Batch) { b.Set([]byte("k"), []byte("v")) })
	below.during = func() { require.False(t, g.mu.TryRLock()) }
	commit(t, g, func(b Batch) { b.DeleteRange([]byte("a"), []byte("z")) })
	require.Len(t, below.commits, 1)
	value, err := g.Get([]byte("k"))
	require.NoError(t, err)
	require.Nil(t, value)
}

// Until it takes it, which may be after a flush, they do: such a wait is not theirs.
func TestWhoReadsWaitsForNoFlush(t *testing.T) {
	g, below := gathering(t, 1<<20)
	commit(t, g, func(b Batch) { b.Set([]byte("k"), []byte("v")) })
	waited := 0
	below.before = func() {
		waited++
		require.True(t, g.mu.TryRLock())
		g.mu.RUnlock()
		value, err := g.Get([]byte("k"))
		require.NoError(t, err)
		require.Equal(t, []byte("v"), value)
	}
	commit(t, g, func(b Batch) { b.DeleteRange([]byte("a"), []byte("z")) })
	require.Equal(t, 1, waited)
	below.before, below.err = nil, errors.New("no flush succeeds")
	b := g.NewBatch()
	b.DeleteRange([]byte("a"), []byte("z"))
	require.ErrorIs(t, b.Commit(), below.err)
	require.Len(t, below.commits, 1, "nor is it tried then")
	require.True(t, g.mu.TryLock())
}

func TestADatabaseThatTookNothingIsBroken(t *testing.T) {
	g, below := gathering(t, 1<<20)
	commit(t, g, func(b Batch) { b.Set([]byte("k"), []byte("v")) })
	below.err = errors.New("no")
	require.ErrorIs(t, g.Flush(), below.err)
	b := g.NewBatch()
	b.Set([]byte("k"), []byte("w"))
	require.ErrorIs(t, b.Commit(), below.err)
	require.ErrorIs(t, g.Scan(nil, nil, nil), below.err)
	v := g.NewView()
	_, err := v.Get([]byte("k"))
	require.ErrorIs(t, err, below.err)
	require.ErrorIs(t, v.Scan(nil, nil, nil), below.err)
	require.NoError(t, v.Close())
	value, err := g.Get([]byte("k"))
	require.NoError(t, err)
	require.Equal(t, "v", string(value), "reads go on")
	require.Len(t, below.commits, 1)
}
