package kvclients

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

var told = regexp.MustCompile(`&apiError\{(\d+), (\d+), "`)

// Errors of the JetStream API have NATS's numbers, and the codes that these have there: clients tell them apart by both.
func TestErrorsAreThoseOfNATS(t *testing.T) {
	source, err := os.ReadFile("../../kv/jetstream/errors.go")
	require.NoError(t, err)
	codes := map[int]int{}
	for _, e := range server.ApiErrors {
		codes[int(e.ErrCode)] = e.Code
	}
	found := told.FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(found), 50)
	for _, e := range found {
		number, err := strconv.Atoi(e[2])
		require.NoError(t, err)
		require.Equal(t, e[1], strconv.Itoa(codes[number]), "of %d", number)
	}
}
