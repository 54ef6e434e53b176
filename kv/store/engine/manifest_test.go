package engine

import (
	"bytes"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/stretchr/testify/require"
)

// written is a manifest of records of these lengths, and where the last one begins.
func written(t *testing.T, lengths ...int) (content []byte, last int) {
	var b bytes.Buffer
	w := record.NewWriter(&b)
	for i, n := range lengths {
		_, err := w.WriteRecord(bytes.Repeat([]byte{byte('a' + i)}, n))
		require.NoError(t, err)
	}
	at, err := w.LastRecordOffset()
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes(), int(at)
}

func damage(t *testing.T, content []byte) int64 {
	at, err := damageIn(bytes.NewReader(content))
	require.NoError(t, err)
	return at
}

const undamaged = int64(-1)

// In a list of several blocks each byte that is another is noticed, wherever the next record begins, and in records that reach from one block into the next.
func TestDamageInALongListIsFound(t *testing.T) {
	for _, lengths := range [][]int{
		{20_000, 20_000, 20_000, 20_000},
		{70_000, 1},
		{1, 32<<10 - 2*headBytes - 1 - 6, 1}, // no room for another chunk in the first block
		{1, 70_000, 40_000},
	} {
		content, last := written(t, lengths...)
		require.Equal(t, undamaged, damage(t, content))
		for at := 0; at < len(content); at += 31 {
			content[at] ^= 0x10
			found := damage(t, content)
			content[at] ^= 0x10
			padding := content[at] == 0
			if !padding && (at < last+4 || at > last+5) { // a length that reaches beyond the end is what a power loss leaves
				require.GreaterOrEqual(t, found, int64(0), "byte %d of %v", at, lengths)
				require.LessOrEqual(t, found, int64(at), "of %v", lengths)
			}
		}
	}
}

// A power loss leaves of a last record that reaches over several blocks any sectors.
func TestATornRecordOfSeveralBlocksIsNoDamage(t *testing.T) {
	content, last := written(t, 100, 20_000, 80_000)
	for end := last; end < len(content); end += 101 {
		require.Equal(t, undamaged, damage(t, content[:end]), "ends at byte %d", end)
	}
	for from := last; from < len(content); from = from - from%sectorBytes + sectorBytes {
		partly := bytes.Clone(content)
		clear(partly[from:min(len(partly), from-from%sectorBytes+sectorBytes)])
		require.Equal(t, undamaged, damage(t, partly), "without the sector at byte %d", from)
	}
}

// A first record that is not whole was never the store's list.
func TestAListWithoutARecordIsDamaged(t *testing.T) {
	content, _ := written(t, 80_000)
	for _, end := range []int{0, 1, headBytes, 100, blockBytes, blockBytes + 100, 2 * blockBytes, len(content) - 1} {
		require.GreaterOrEqual(t, damage(t, content[:end]), int64(0), "of %d bytes", end)
	}
	require.Equal(t, int64(0), damage(t, make([]byte, 4096)))
}

func TestAListThatCannotBeReadIsNotTakenForWhole(t *testing.T) {
	content, _ := written(t, 80_000, 1)
	_, err := damageIn(io.MultiReader(bytes.NewReader(content), readerOf(io.ErrClosedPipe)))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func readerOf(err error) io.Reader {
	r, w := io.Pipe()
	_ = w.CloseWithError(err)
	return r
}
