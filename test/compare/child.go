package main

// Server processes: started, watched, killed, and started again.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// server is a server of a system: what starts it, and its process while it runs.
type server struct {
	name    string
	command func() *exec.Cmd
	log     string
	cmd     *exec.Cmd
	done    chan struct{}
}

// start starts the process. It dies with this one.
func (s *server) start() error {
	if err := os.MkdirAll(filepath.Dir(s.log), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, done := s.command(), make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is ours, not theirs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	go func() {
		_ = cmd.Wait() // how it ends is seen by whoever stops it
		close(done)
	}()
	s.cmd, s.done = cmd, done
	return nil
}

func (s *server) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// kill is kill -9.
func (s *server) kill() {
	if s.running() {
		_ = s.cmd.Process.Kill() // it may just have ended
		<-s.done
	}
}

const stopPatience = 20 * time.Second

// stop asks it to end, and kills it if it does not.
func (s *server) stop() {
	if !s.running() {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(stopPatience):
		s.kill()
	}
}

// lastWords is the end of its log, for an error.
func (s *server) lastWords() string {
	const most = 600
	text, _ := os.ReadFile(s.log) // without a log there is nothing to add
	return s.name + ": " + string(text[max(0, len(text)-most):])
}

// poll tries until it works, for a minute at most.
func poll(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		one, cancelOne := context.WithTimeout(ctx, 2*time.Second)
		err := try(one)
		cancelOne()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
