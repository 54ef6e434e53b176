package snapfile

// What a node finds in the place of a snapshot: nonsense is an error or no snapshot, never a panic, and never costs much more memory than it is long.

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzSnapshotFile(f *testing.F) {
	whole := storedSnapshot(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-20])
	f.Add(whole[:40])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := NewReader(bytes.NewReader(raw))
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			return
		}
		n, err := io.Copy(io.Discard, r)
		require.LessOrEqual(t, n, int64(len(raw)))
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			require.False(t, r.whole)
			return
		}
		require.True(t, r.whole)
	})
}
