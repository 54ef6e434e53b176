package stamp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestText(t *testing.T) {
	require.Equal(t, "1970-01-01T00:00:00Z", Text(0))
	require.Equal(t, "2026-02-28T23:59:59.0000005Z", Text(1_772_323_199_000_000_500))
}
