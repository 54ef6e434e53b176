package main

// A terminal that is drawn anew again and again, and read key by key. Plain ANSI: any terminal of the last decades has it.

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/raftbus/raftbus/cmd/raftbus/top"
)

// Escape codes: the alternate screen and no cursor, and back; to the top left; clear to the end of the line, and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// screen is the terminal of a process.
type screen struct {
	in, out *os.File
	fd      int
	before  *term.State
}

// newScreen takes over a terminal until Close. It fails where in or out is none, or knows no escape codes.
func newScreen(in, out *os.File) (*screen, error) {
	fd := int(in.Fd())
	if !isTerminal(in) || !isTerminal(out) || os.Getenv("TERM") == "dumb" {
		return nil, fmt.Errorf("no terminal")
	}
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	s := &screen{in: in, out: out, fd: fd, before: before}
	_, err = io.WriteString(out, enterScreen)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close gives the terminal back as it was.
func (s *screen) Close() {
	_, _ = io.WriteString(s.out, leaveScreen) // a terminal that is gone needs nothing
	_ = term.Restore(s.fd, s.before)
}

// run draws what w sees until ctx ends or somebody presses q.
func (s *screen) run(ctx context.Context, w *topWatch, sort string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &drawing{screen: s, sort: sort, help: func(sort string) string { return screenHelp(sort, w.interval) }}
	// Nothing can call back who reads a terminal: it ends with the key that it waits for, or with the process, which is about to.
	go func() {
		d.keys(s.in)
		cancel()
	}()
	return w.run(ctx, d.show)
}

// drawing is what is on the screen. Looks and keys come from two goroutines.
type drawing struct {
	screen *screen
	help   func(sort string) string

	mu   sync.Mutex
	sort string
	last *top.View
}

// keys reads keys until one of them ends the command, or there are no more. In raw mode Ctrl-C is a key.
func (d *drawing) keys(in io.Reader) {
	for key := make([]byte, 1); ; {
		if n, err := in.Read(key); err != nil || n == 1 && strings.Contains("qQ\x03", string(key)) {
			return
		}
		if key[0] == 's' {
			d.resort()
		}
	}
}

// resort draws the last look in the next order.
func (d *drawing) resort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sort = top.Sorts[(slices.Index(top.Sorts, d.sort)+1)%len(top.Sorts)]
	if d.last != nil {
		_ = d.draw() // the next look fails too, and says it
	}
}

func (d *drawing) show(v top.View) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = &v
	return d.draw()
}

// draw writes over what is there, in one write, so that nothing flickers.
func (d *drawing) draw() error {
	width, height, err := term.GetSize(int(d.screen.out.Fd()))
	if err != nil || width <= 0 || height < 3 {
		width, height = 80, 24
	}
	text := d.last.Text(top.Options{Sort: d.sort, Width: width, Height: height - 2, Color: true})
	text += "\n" + d.help(d.sort)
	text = strings.ReplaceAll(text, "\n", clearLine+"\r\n")
	_, err = io.WriteString(d.screen.out, home+text+clearLine+clearBelow)
	return err
}
