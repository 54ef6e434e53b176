package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

// What became of a request that brought no answer is said with its exit code: what was not done for sure is never called unknown, nor the other way round.
func TestExitCodesWithoutAnAnswer(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{native.ErrNoLeader, exitNoLeader, "nothing was done"},
		{native.ErrDenied, exitError, "nothing was done: use credentials that may do it"},
		{native.ErrUnheard, exitError, "nothing was done: give the --inbox-prefix of this user"},
		{native.ErrUnknown, exitTimeout, "may have been done or may yet be"},
	} {
		err := clientFailure(fmt.Errorf("%w: nats says so", c.err), "raftbus")
		require.Equal(t, c.code, exitCode(err))
		require.ErrorContains(t, err, c.text)
	}
}
