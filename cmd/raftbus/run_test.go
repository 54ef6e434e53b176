package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// runUntilReady runs a command in this process, and ends it when it prints that it is ready.
func runUntilReady(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &endAt{word: "ready", end: cancel}
	root := newRoot(func(string) (string, bool) { return "", false })
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(io.Discard)
	err = root.ExecuteContext(ctx)
	return out.String(), err
}

// endAt calls end when it is written a word.
type endAt struct {
	bytes.Buffer
	word string
	end  func()
}

func (w *endAt) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.word) {
		w.end()
	}
	return n, err
}

func TestDevEndsWithNothingLeftRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	folder := t.TempDir()
	stdout, err := runUntilReady(t, "dev", "--port", "0", "--dir", folder)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(stdout, "\n"), "more than one line on stdout: %s", stdout)
}

func TestAStartThatFailsLeavesNothingRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	folder := t.TempDir()
	_, err := runUntilReady(t, "dev", "--port", "0", "--dir", folder, "--nodes", "1")
	require.NoError(t, err)
	_, err = runUntilReady(t, "dev", "--port", "0", "--dir", folder, "--nodes", "3")
	require.Equal(t, exitConflict, exitCode(err))
}

// A signal during the start is a clean end.
func TestAnEndDuringTheStartIsNoError(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root := newRoot(func(string) (string, bool) { return "", false })
	root.SetArgs([]string{"dev", "--port", "0", "--dir", t.TempDir()})
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	require.NoError(t, root.ExecuteContext(ctx))
}

func TestTheFirstCauseIsNoEcho(t *testing.T) {
	cause, echo := errors.New("cause"), context.Canceled
	require.NoError(t, firstCause([]error{nil, nil}))
	require.Equal(t, cause, firstCause([]error{echo, nil, cause}))
	require.Equal(t, echo, firstCause([]error{nil, echo}))
}

func TestErrorsAreOneLineAndSaidOnce(t *testing.T) {
	var out bytes.Buffer
	err := errors.Join(usagef("one: do this"), usagef("one: do this"), errors.New("two: do that"))
	require.Equal(t, exitUsage, report(&out, err))
	require.Equal(t, "raftbus: error: one: do this; two: do that\n", out.String())
}
