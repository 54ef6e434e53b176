package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

// What was written lately is read as Last reads it, and of all else it is said that Last is to be asked.
func TestWhatIsHeldIsReadAsLastReadsIt(t *testing.T) {
	f := open(t, pebbleDisk{vfs.NewMem()})
	same := func(bucket, key string) {
		t.Helper()
		want, wantErr := f.store.Last(bucket, key)
		got, err := f.store.LastHeld(bucket, key)
		require.Equal(t, wantErr, err)
		require.Equal(t, want, got)
	}
	asked := func(bucket, key string) {
		t.Helper()
		_, err := f.store.LastHeld(bucket, key)
		require.Equal(t, ErrNotHeld, err)
	}
	asked("app", "k")
	f.apply(addBucket("app", command.Settings{History: 2}), put("app", "k", "1"), put("app", "k", "2"), put("app", "l", "1"), del("app", "l"), put("app", "m", "1"))
	same("app", "k")
	same("app", "l")
	f.one(purge(command.PurgeBucket{Filter: "m"}))
	_, err := f.store.Last("app", "m")
	require.Equal(t, NoEntry, err)
	same("app", "m")
	asked("app", "never")
	asked("none", "k")
	f.apply(put("app", "small", string(make([]byte, heldBytesMax-100))), put("app", "large", string(make([]byte, heldBytesMax))))
	same("app", "small")
	asked("app", "large")
	f.apply(removeBucket("app"))
	asked("app", "k")
	f.apply(addBucket("app", command.Settings{}), put("app", "k", "3"))
	same("app", "k")
	f.close()
	asked("app", "k")
}

// Beside writes it says nothing that was never true, and nothing older than what it has said.
func TestWhatIsHeldIsNeverOlderThanBefore(t *testing.T) {
	f := open(t, pebbleDisk{vfs.NewMem()})
	f.apply(addBucket("app", command.Settings{}), put("app", "k", "0"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 5_000 {
			f.apply(put("app", "k", fmt.Sprint(i)))
		}
	}()
	var last uint64
	held := 0
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		least := f.store.Moment().Revision
		e, err := f.store.LastHeld("app", "k")
		require.NotEqual(t, NoEntry, err)
		if err == nil {
			require.GreaterOrEqual(t, e.Revision, max(least, last))
			last, held = e.Revision, held+1
		}
	}
	require.NotZero(t, held)
	f.close()
}
