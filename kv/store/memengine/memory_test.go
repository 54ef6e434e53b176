package memengine

// The suite that Pebble passes too is in kv/store/engine and kv/store. Here is what only a Memory can do.

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store/engine"
)

func openWith(t *testing.T, m *Memory, value string) engine.DB {
	db, err := m.Open()
	require.NoError(t, err)
	set(t, db, value)
	return db
}

func set(t *testing.T, db engine.DB, value string) {
	b := db.NewBatch()
	b.Set([]byte("k"), []byte(value))
	require.NoError(t, b.Commit())
}

func left(t *testing.T, m *Memory) string {
	db, err := m.Crash().Open()
	require.NoError(t, err)
	value, err := db.Get([]byte("k"))
	require.NoError(t, err)
	return string(value)
}

func TestACrashLosesWhatWasNotFlushed(t *testing.T) {
	m := New()
	db := openWith(t, m, "1")
	require.Empty(t, left(t, m))
	require.NoError(t, db.Flush())
	set(t, db, "2")
	require.Equal(t, "1", left(t, m))
	require.NoError(t, m.Flush())
	require.Equal(t, "2", left(t, m))
	set(t, db, "3")
	require.NoError(t, db.Close())
	require.NoError(t, m.Flush(), "nothing is open")
	require.Equal(t, "2", left(t, m))
	require.Error(t, db.Flush(), "closed")
}

// A Memory that crashed and the one it was go on apart.
func TestWhatACrashLeftIsItsOwn(t *testing.T) {
	m := New()
	db := openWith(t, m, "1")
	require.NoError(t, db.Flush())
	other := m.Crash()
	db2 := openWith(t, other, "2")
	require.NoError(t, db2.Flush())
	set(t, db, "3")
	require.NoError(t, db.Flush())
	require.Equal(t, "3", left(t, m))
	require.Equal(t, "2", left(t, other))
}

func TestPointsShowWhatACrashLeaves(t *testing.T) {
	m := New()
	db := openWith(t, m, "old")
	type sight struct {
		at   Point
		left string
	}
	var seen []sight
	m.At = func(p Point) error {
		seen = append(seen, sight{p, left(t, m)})
		return nil
	}
	require.NoError(t, db.Flush())
	prepared, err := m.Prepare()
	require.NoError(t, err)
	set(t, prepared, "new")
	require.NoError(t, prepared.Flush())
	require.NoError(t, m.Switch(prepared))
	require.Equal(t, []sight{
		{BeforeFlush, ""}, {AfterFlush, "old"}, {BeforeFlush, "old"}, {AfterFlush, "old"}, {BeforeSwitch, "old"}, {AfterSwitch, "new"},
	}, seen)
}

func TestAnUnflushedDatabaseIsLostWithItsSwitch(t *testing.T) { // so that a test sees who forgets to flush
	m := New()
	db := openWith(t, m, "old")
	require.NoError(t, db.Flush())
	prepared, err := m.Prepare()
	require.NoError(t, err)
	set(t, prepared, "new")
	require.NoError(t, m.Switch(prepared))
	require.Empty(t, left(t, m))
}

func TestAFailedDatabaseStaysSo(t *testing.T) {
	cause := errors.New("no space")
	for failing, durable := range map[Point]string{BeforeFlush: "", AfterFlush: "1"} {
		m := New()
		db := openWith(t, m, "1")
		m.At = func(p Point) error {
			if p == failing {
				return cause
			}
			return nil
		}
		require.ErrorIs(t, m.Flush(), cause, "by itself")
		m.At = nil
		require.ErrorIs(t, db.Err(), cause)
		require.ErrorIs(t, db.Flush(), cause)
		b := db.NewBatch()
		b.Set([]byte("k"), []byte("2"))
		require.ErrorIs(t, b.Commit(), cause)
		value, err := db.Get([]byte("k"))
		require.NoError(t, err)
		require.Equal(t, "1", string(value), "reads go on")
		require.Equal(t, durable, left(t, m))
	}
}
