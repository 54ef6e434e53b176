package kvclients

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

var told = regexp.MustCompile(`&apiError\{(\d+), (\d+), ("(?:[^"\\]|\\.)*")`)

// Errors of the JetStream API have NATS's numbers, and the codes that these have there: clients tell them apart by both, and some by their texts, which are
// NATS's where those do not vary; more may be said after them.
func TestErrorsAreThoseOfNATS(t *testing.T) {
	source, err := os.ReadFile("../../kv/jetstream/errors.go")
	require.NoError(t, err)
	errors := map[int]*server.ApiError{}
	for _, e := range server.ApiErrors {
		errors[int(e.ErrCode)] = e
	}
	found := told.FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(found), 50)
	for _, e := range found {
		number, err := strconv.Atoi(e[2])
		require.NoError(t, err)
		require.Contains(t, errors, number)
		theirs := errors[number]
		require.Equal(t, e[1], strconv.Itoa(theirs.Code), "of %d", number)
		text, err := strconv.Unquote(e[3])
		require.NoError(t, err)
		if !strings.Contains(theirs.Description, "{") && text != theirs.Description {
			require.True(t, strings.HasPrefix(text, theirs.Description+": "), "%d: %q, and there %q", number, text, theirs.Description)
		}
	}
}
