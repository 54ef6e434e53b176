package main

// Reads and writes that may wait for ever, for a person or for another program, and end with the command all the same.

import (
	"bytes"
	"context"
	"io"

	"github.com/spf13/cobra"
)

// reader reads until ctx ends.
type reader struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (r reader) Read(p []byte) (int, error) {
	own := make([]byte, len(p)) // p is the caller's again once this returns
	n, err := within(r.ctx, func() (int, error) { return r.Reader.Read(own) })
	return copy(p, own[:n]), err
}

// writer writes until ctx ends.
type writer struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) {
	own := bytes.Clone(p)
	return within(w.ctx, func() (int, error) { return w.w.Write(own) })
}

// stdout is a command's standard output for as long as the command lasts: who reads it may hang.
func stdout(cmd *cobra.Command) io.Writer { return writer{cmd.Context(), cmd.OutOrStdout()} }

// within does something that nothing can call back, for as long as ctx lasts: its goroutine ends with what it waits for, or with the process, which
// is about to.
func within(ctx context.Context, do func() (int, error)) (int, error) {
	type outcome struct {
		n   int
		err error
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	done := make(chan outcome, 1)
	go func() {
		n, err := do()
		done <- outcome{n, err}
	}()
	select {
	case o := <-done:
		return o.n, o.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
