package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/node"
)

// runUntilReady runs a command in this process, and ends it when it prints that it is ready.
func runUntilReady(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &endAt{word: "ready", end: cancel}
	err = execute(t, ctx, out, args...)
	return out.String(), err
}

// execute runs a command in this process until it ends by itself or because of ctx.
func execute(t *testing.T, ctx context.Context, stdout io.Writer, args ...string) error {
	t.Helper()
	return executeSaying(t, ctx, stdout, io.Discard, args...)
}

func executeSaying(t *testing.T, ctx context.Context, stdout, stderr io.Writer, args ...string) error {
	t.Helper()
	root := newRoot(func(string) (string, bool) { return "", false })
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		require.FailNow(t, "the command does not end", "%v", args)
		return nil
	}
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

// What a flag says reaches the node, each in its own place.
func TestANodeIsAsItsFlagsSay(t *testing.T) {
	f, flags := &nodeFlags{}, pflag.NewFlagSet("node", pflag.ContinueOnError)
	f.register(flags)
	require.NoError(t, flags.Parse([]string{
		"--id", "n1", "--members", "n1,n2", "--join", "--dir", "data", "--prefix", "p", "--eager", "--multicast", "--keep-log", "-1", "--insecure",
		"--js-domain", "d", "--serve-default-api", "--leaf", "nats://leaf:7422",
		"--requests-max", "7", "--request-bytes-max", "1MiB", "--client-share", "9", "--watches-max", "5",
	}))
	want := replica.Options{
		ID: "n1", Members: []string{"n1", "n2"}, Join: true, Dir: "data", Prefix: "p", Eager: true, Multicast: true, KeepLogBytes: -1,
		ClusterKey: []byte("current"), OtherKey: []byte("another"), Domain: "d", DefaultAPI: true,
		Bounds: replica.Bounds{Requests: 7, RequestBytes: 1 << 20, ClientPercent: 9, Watches: 5},
		NATS:   replica.NATSOptions{URLs: []string{"nats://bus:4222"}, LeafURLs: []string{"nats://leaf:7422"}},
	}
	require.Equal(t, want, f.options(natsopt.Target{URLs: []string{"nats://bus:4222"}}, &secrets{current: []byte("current"), another: []byte("another")}))
	for flag, of := range map[string]func(replica.Options) bool{
		"--eager":     func(o replica.Options) bool { return o.Eager && !o.Multicast && o.RefuseOpenBus },
		"--multicast": func(o replica.Options) bool { return o.Multicast && !o.Eager && o.RefuseOpenBus },
	} {
		f, flags := &nodeFlags{}, pflag.NewFlagSet("node", pflag.ContinueOnError)
		f.register(flags)
		require.NoError(t, flags.Parse([]string{flag}))
		require.True(t, of(f.options(natsopt.Target{}, &secrets{})), flag)
	}
}

// A bound is one that counts: what is beyond those of a node, or would wrap around, is refused with what may be given.
func TestBoundsThatANodeCannotHaveAreRefused(t *testing.T) { // Q12
	bounded := func(flag, value string) error {
		f, flags := &boundFlags{}, pflag.NewFlagSet("node", pflag.ContinueOnError)
		f.register(flags)
		require.NoError(t, flags.Parse([]string{flag, value}))
		return f.check()
	}
	for _, c := range []struct {
		flag, most string
		beyond     []string
	}{
		{"--requests-max", "65536", []string{"65537", "-1", strconv.Itoa(math.MaxInt)}},
		{"--request-bytes-max", "64MiB", []string{"67108865", "1GiB", strconv.Itoa(math.MaxInt)}},
		{"--watches-max", "1000000000", []string{"1000000001", "-1", strconv.Itoa(math.MaxInt)}},
		{"--client-share", "100", []string{"101", "0", "-1"}},
	} {
		require.NoError(t, bounded(c.flag, c.most))
		for _, value := range c.beyond {
			err := bounded(c.flag, value)
			require.ErrorContains(t, err, c.flag)
			require.Equal(t, exitUsage, exitCode(err), "%s %s", c.flag, value)
			if c.flag != "--client-share" {
				require.ErrorContains(t, err, c.most)
			}
		}
	}
}

func TestDevEndsWithNothingLeftRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	folder := t.TempDir()
	stdout, err := runUntilReady(t, "dev", "--port", "0", "--dir", folder)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(stdout, "\n"), "more than one line on stdout: %s", stdout)
}

// Nobody is left to take over when a whole cluster ends: that is nothing to warn of. What was asked before is answered.
func TestTheEndOfAWholeClusterIsNoWarning(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, nodes := range []string{"1", "3", "3", "3"} {
		ctx, cancel := context.WithCancel(t.Context())
		var said bytes.Buffer
		err := executeSaying(t, ctx, &endAt{word: "ready", end: cancel}, &said, "dev", "--port", "0", "--nodes", nodes, "--dir", t.TempDir())
		cancel()
		require.NoError(t, err)
		require.NotContains(t, said.String(), "leadership was not handed over", "%s nodes", nodes)
	}
}

func TestAStartThatFailsLeavesNothingRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	data := t.TempDir()
	for _, id := range []string{"n1", "n3"} {
		require.NoError(t, os.Mkdir(filepath.Join(data, id), 0o700))
	}
	held, err := folder.Open(vfs.Default, filepath.Join(data, "n2"), "n2")
	require.NoError(t, err)
	_, err = runUntilReady(t, "dev", "--port", "0", "--dir", data)
	require.ErrorIs(t, err, folder.ErrInUse)
	require.Equal(t, exitConflict, exitCode(err))
	require.NoError(t, held.Close())
}

// A signal during the start is a clean end.
func TestAnEndDuringTheStartIsNoError(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, execute(t, ctx, io.Discard, "dev", "--port", "0", "--dir", t.TempDir()))
}

func TestErrorsAreOneLineAndSaidOnce(t *testing.T) {
	var out bytes.Buffer
	err := errors.Join(usagef("one: do this"), usagef("one: do this"), errors.New("two: do that"))
	require.Equal(t, exitUsage, report(&out, err))
	require.Equal(t, "raftbus: error: one: do this; two: do that\n", out.String())
	out.Reset()
	require.Equal(t, exitError, report(&out, fmt.Errorf("asking: %w", context.Canceled)))
	require.Equal(t, "raftbus: error: interrupted\n", out.String())
}

// A service manager does not start a node again for what it would only meet again (deploy/systemd): the exit code says so, however the error came.
func TestExitCodesOfNodes(t *testing.T) {
	for code, errs := range map[int][]error{
		exitConflict: {
			folder.ErrInUse, folder.ErrOtherNode, node.ErrOtherMembers, busclient.ErrDuplicateNode, replica.ErrForeignCluster, replica.ErrLostFolder,
			kv.ErrJetStream, &os.SyscallError{Syscall: "bind", Err: syscall.EADDRINUSE},
		},
		exitRefused:     {replica.ErrOpenBus},
		exitUnavailable: {nats.ErrNoServers, nats.ErrNoResponders},
		exitTimeout:     {context.DeadlineExceeded, nats.ErrTimeout},
		exitError:       {errors.New("the disk failed"), context.Canceled},
	} {
		for _, err := range errs {
			require.Equal(t, code, exitCode(errors.Join(fmt.Errorf("node n1: %w", err), errors.New("and more"))), "%v", err)
		}
	}
}

// A node that stopped by itself ends with the code of that, whatever came of stopping it: a disk that failed may hang then.
func TestExitCodeOfANodeWhoseDiskHangs(t *testing.T) {
	disk, hangs := errors.New("the disk failed"), fmt.Errorf("node n1: its disk did not finish in time: %w", context.DeadlineExceeded)
	require.Equal(t, exitError, exitCode(endedBy(disk, hangs)))
	require.Equal(t, exitConflict, exitCode(endedBy(busclient.ErrDuplicateNode, hangs)))
	require.Equal(t, exitTimeout, exitCode(endedBy(nil, hangs)))
	require.Equal(t, exitError, exitCode(endedBy(disk, nil)))
	require.NoError(t, endedBy(nil, nil))
	require.Regexp(t, "^the disk failed\n.*in time", endedBy(disk, hangs).Error())
}

// The unit gives a stop longer than it takes, with what is let go of after the node: or it would be killed.
func TestTheUnitAwaitsAStop(t *testing.T) {
	unit, err := os.ReadFile("../../deploy/systemd/raftbus@.service")
	require.NoError(t, err)
	found := regexp.MustCompile(`\nTimeoutStopSec=(\d+)\n`).FindSubmatch(unit)
	require.NotNil(t, found)
	bound, err := time.ParseDuration(string(found[1]) + "s")
	require.NoError(t, err)
	require.Less(t, stopTime+7*time.Second, bound, "as the unit says")
}

// Who ends a node while its disk hangs at the start is not kept waiting: what waits for that disk cannot be cut short (F22, L9).
func TestAStartOnADiskThatHangsEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	heal, hangs := make(chan struct{}), make(chan struct{})
	defer close(heal)
	var once sync.Once
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if filepath.Base(op.Path) == "identity" {
			once.Do(func() { close(hangs) })
			<-heal
		}
		return nil
	}))
	logger := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-hangs
		cancel()
	}()
	ended := make(chan error, 1)
	go func() {
		_, err := startAll(ctx, []replica.Options{{ID: "n1", Members: []string{"n1"}, Dir: "data", FS: disk, Logger: logger}}, 50*time.Millisecond)
		ended <- err
	}()
	select {
	case err := <-ended:
		require.ErrorContains(t, err, "node n1: the start did not end: the disk of data hangs or is slow, or the look-up of an address of NATS: look at both")
	case <-time.After(patience):
		require.Fail(t, "it waits for the disk")
	}
}
