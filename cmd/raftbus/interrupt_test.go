package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
)

// stuck is somebody at the other end who does nothing: whoever reads of it or writes to it waits, which it tells once.
type stuck struct {
	waits func()
	over  <-chan struct{}
}

func newStuck(t *testing.T, waits func()) stuck {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	return stuck{waits, over}
}

func (s stuck) Read([]byte) (int, error)    { return s.wait() }
func (s stuck) Write(p []byte) (int, error) { return s.wait() }

func (s stuck) wait() (int, error) {
	s.waits()
	<-s.over
	return 0, io.EOF
}

// The first signal ends a command that waits for its standard input.
func TestASignalEndsAReadOfStdin(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"backup", "verify", "-"},
		{"backup", "merge", "-", filepath.Join("testdata", "commands-2.rbb"), filepath.Join(dir, "merged")},
		{"restore", "-", "--dir", filepath.Join(dir, "n1"), "--id", "n1"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		root := newRoot(func(string) (string, bool) { return "", false })
		root.SetArgs(args)
		root.SetIn(newStuck(t, cancel))
		requireInterrupted(t, func() error { return root.ExecuteContext(ctx) })
	}
	require.Empty(t, namesIn(t, dir))
}

func TestASignalEndsTheReadOfAValue(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	requireInterrupted(t, func() error {
		_, err := valueOf(reader{ctx, newStuck(t, cancel)}, []string{"app", "color"}, 1000)
		return err
	})
}

// Nor does who does not read what a command prints hold it up.
func TestASignalEndsAWriteToStdout(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	cmd.SetOut(newStuck(t, cancel))
	out, err := newFile(cmd, "-")
	require.NoError(t, err)
	_, err = out.Write([]byte("a backup"))
	require.NoError(t, err)
	requireInterrupted(t, func() error { return out.end(nil) })
}

// What is printed for as long as there is something, or is much, ends as it would if it were read.
func TestASignalEndsACommandThatNobodyReads(t *testing.T) {
	conn := onBus(t)
	answers := map[string]string{
		"raftbus.kv.get.app.color":                            `{"bucket":"app","value":"blue"}`,
		"raftbus.kv.keys.app":                                 `{"bucket":"app","keys":["color"]}`,
		"raftbus.bucket.ls":                                   `{"buckets":["app"]}`,
		"raftbus.kv.history.app.color":                        `{"bucket":"app","entries":[{"revision":3,"operation":"put","value":"blue"}]}`,
		busclient.StatsSubject("raftbus", busclient.AllNodes): `{"node":"n1"}`,
	}
	for subject, answer := range answers {
		_, err := conn.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(answer)) })
		require.NoError(t, err)
	}
	watchedOnce(t, conn)
	require.NoError(t, conn.Flush())
	for args, want := range map[string]error{
		"kv watch app": nil, "kv watch app --json": nil, "kv watch app --current": context.Canceled, "top": nil, "top --once": context.Canceled,
		"kv get app color --raw": context.Canceled, "kv ls app": context.Canceled, "bucket ls --json": context.Canceled,
		"kv history app color": context.Canceled, "kv history app color --json": context.Canceled,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		err := execute(t, ctx, newStuck(t, cancel), append(strings.Fields(args), "--nats", conn.ConnectedUrl())...)
		require.ErrorIs(t, err, want, args)
	}
}

// Ctrl-C is no 'yes'.
func TestASignalAnswersAQuestion(t *testing.T) {
	terminal, tty, err := pty.Open()
	require.NoError(t, err)
	defer terminal.Close()
	defer tty.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	cmd.SetIn(tty)
	cmd.SetErr(&endAt{word: "Type 'yes'", end: cancel})
	answer := make(chan bool, 1)
	go func() { answer <- confirmed(cmd, "Remove it?") }()
	select {
	case yes := <-answer:
		require.False(t, yes)
	case <-time.After(patience):
		require.Fail(t, "it waits for an answer")
	}
}

// What is read of a file ends too, between two records of it.
func TestASignalEndsTheReadOfAFile(t *testing.T) {
	backup, folder := filepath.Join("testdata", "commands-2.rbb"), filepath.Join(t.TempDir(), "n1")
	require.NoError(t, execute(t, t.Context(), io.Discard, "restore", backup, "--dir", folder, "--id", "n1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"backup", "verify", backup}, {"log", "verify", "--dir", folder}, {"log", "dump", "--dir", folder}} {
		require.ErrorIs(t, execute(t, ctx, io.Discard, args...), context.Canceled, "%v", args)
	}
}

// requireInterrupted wants that a command ends, and says that it was interrupted.
func requireInterrupted(t *testing.T, command func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- command() }()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, exitError, exitCode(err))
	case <-time.After(patience):
		require.Fail(t, "the command does not end")
	}
}

// The first Ctrl-C asks for a clean end, which may take long; the second one kills.
func TestASecondSignalKills(t *testing.T) {
	t.Parallel()
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, os.Interrupt) // who ignores it, as a job in the background of a shell does, would have the command ignore it too
	defer signal.Stop(heard)
	conn := onBus(t)
	benchmark := exec.Command("raftbus", "bench", "put", "--api", "native", "--clients", "1", "--timeout", "20s", "--nats", conn.ConnectedUrl())
	began := make(chan struct{})
	interrupts := func(*nats.Msg) {
		<-began
		_ = benchmark.Process.Signal(os.Interrupt)
	}
	insists := func(*nats.Msg) { // the first signal may not have been seen to the end yet
		<-began
		for benchmark.Process.Signal(os.Interrupt) == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
	for subject, then := range map[string]func(*nats.Msg){
		"raftbus.bucket.add.raftbus-bench":  func(m *nats.Msg) { _ = m.Respond([]byte(`{"bucket":"raftbus-bench"}`)) },
		"raftbus.bucket.info.raftbus-bench": interrupts,
		"raftbus.bucket.rm.raftbus-bench":   insists, // it is not answered, for 20 s
	} {
		_, err := conn.Subscribe(subject, then)
		require.NoError(t, err)
	}
	require.NoError(t, conn.Flush())
	require.NoError(t, benchmark.Start())
	close(began)
	var ended *exec.ExitError
	require.ErrorAs(t, benchmark.Wait(), &ended)
	status := ended.Sys().(syscall.WaitStatus)
	require.True(t, status.Signaled(), ended)
	require.Equal(t, syscall.SIGINT, status.Signal())
}
