package command

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a command needs is read from its first bytes, and is what its decoder would refuse a lower version for (F28).
func TestNeeds(t *testing.T) {
	for _, c := range commands() {
		want := uint64(Base)
		if c.Raise != nil || c.PurgeBucket != nil && c.PurgeBucket.Incarnation > 0 || c.AddBucket != nil && c.AddBucket.Settings.ReadOnly || c.UpdateBucket != nil && c.UpdateBucket.Settings.ReadOnly ||
			c.RemoveConsumer != nil && c.RemoveConsumer.Changed > 0 {
			want = 3
		}
		require.Equal(t, want, Needs(c.Encode()), "%+v", c)
	}
	require.EqualValues(t, Base, Needs(nil))
	require.EqualValues(t, Base, Needs([]byte{8}))
}

// A build never takes part in what was opened to a version that it does not know.
func TestARaiseToAnUnknownVersionIsUnknown(t *testing.T) {
	later := Raise{Version: Version + 1}
	_, err := Decode(Command{Raise: &later}.Encode())
	require.ErrorIs(t, err, ErrUnknown)
	_, err = Decode(append([]byte{13<<3 | 2, 2}, field(1, later.Version)...)) // though it asks for no version itself
	require.ErrorIs(t, err, ErrUnknown)
}
