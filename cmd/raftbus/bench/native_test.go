package bench

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRefusalsAreThePublishedOnes(t *testing.T) {
	page, err := os.ReadFile("../../../kv/ERRORS.md")
	require.NoError(t, err)
	for _, row := range []string{"| 30001 | 404 | no bucket |", "| 30002 | 409 | bucket exists |", "| 30003 | 404 | key not found |", "| 30005 | 409 | wrong revision |"} {
		require.Contains(t, string(page), row)
	}
	require.ErrorIs(t, &Refusal{ErrCode: 30005}, ErrConflict)
	require.NotErrorIs(t, &Refusal{ErrCode: 30012}, ErrConflict)
}
