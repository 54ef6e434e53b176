package process

// One running process of a test: a raftbus node or a NATS server.

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type program struct {
	cmd  *exec.Cmd
	past string // the logs of earlier lives
	log  *logBuffer
	done chan struct{} // closed when it has ended
	err  error
}

// run starts a program, as the next life of an earlier one if that is not nil.
func run(t *testing.T, earlier *program, env []string, args ...string) *program {
	p := &program{cmd: exec.Command(args[0], args[1:]...), log: &logBuffer{}, done: make(chan struct{})}
	if earlier != nil {
		p.past = earlier.history() + "--- started again ---\n"
	}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = p.log, p.log, append(os.Environ(), env...)
	dieWithUs(p.cmd)
	require.NoError(t, p.cmd.Start())
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	return p
}

func (p *program) signal(t *testing.T, s os.Signal) { require.NoError(t, p.cmd.Process.Signal(s)) }

// kill ends it with SIGKILL, also while it is stopped, and waits until it is gone.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks it to end, and waits until it has.
func (p *program) stop(t *testing.T, within time.Duration) {
	p.signal(t, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(within):
		require.Fail(t, "does not stop", "%v\n%s", p.cmd.Args, p.log)
	}
}

// history is all that it and its earlier lives wrote, or the end of it.
func (p *program) history() string {
	all := p.past + p.log.String()
	return all[max(0, len(all)-logBytesMax):]
}

// ended reports whether the process is gone.
func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// said counts the lines of this life that hold all of the words.
func (p *program) said(words ...string) (count int) {
	for line := range strings.Lines(p.log.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			count++
		}
	}
	return count
}

// logged waits until this life has written a line that holds all of the words.
func (p *program) logged(t *testing.T, within time.Duration, words ...string) {
	require.Eventually(t, func() bool { return p.said(words...) > 0 }, within, 20*time.Millisecond, "no line with %q in:\n%s", words, p.log)
}

// logBytesMax is how much of a log is kept; of more the older half is forgotten.
const logBytesMax = 8 << 20

// logBuffer collects a process's output while tests read it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *logBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.b.Len() > logBytesMax {
		s.b.Next(s.b.Len() / 2)
	}
	return s.b.Write(p)
}

func (s *logBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
