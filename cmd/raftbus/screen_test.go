package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/term"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// On a real terminal keys work, and the terminal is given back as it was.
func TestScreenOfATerminal(t *testing.T) {
	terminal, tty, err := pty.Open()
	require.NoError(t, err)
	defer terminal.Close()
	defer tty.Close()
	require.NoError(t, pty.Setsize(terminal, &pty.Winsize{Rows: 20, Cols: 100}))
	before, err := term.GetState(int(tty.Fd()))
	require.NoError(t, err)

	conn := onBus(t)

	s, err := newScreen(tty, tty)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		w := &topWatch{conn: conn, subject: busclient.StatsSubject("raftbus", busclient.AllNodes), interval: time.Hour}
		ended <- s.run(context.Background(), w, "id")
	}()
	drawn := make(chan string, 1000)
	go func() { // ends when the terminal is closed
		for buffer := make([]byte, 4096); ; {
			n, err := terminal.Read(buffer)
			if err != nil {
				return
			}
			drawn <- string(buffer[:n])
		}
	}()
	await := func(text string) {
		t.Helper()
		for seen, end := "", time.After(patience); !strings.Contains(seen, text); {
			select {
			case part := <-drawn:
				seen += part
			case <-end:
				require.Fail(t, "not drawn", "%q, but %q", text, seen)
			}
		}
	}
	await("(now by id), every")
	_, err = terminal.WriteString("xs")
	require.NoError(t, err)
	await("(now by lag), every")
	_, err = terminal.WriteString("q")
	require.NoError(t, err)
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(patience):
		require.Fail(t, "q does not end it")
	}
	s.Close()
	after, err := term.GetState(int(tty.Fd()))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// A terminal that knows no escape codes is shown none, and is left as it was.
func TestNoScreenOnADumbTerminal(t *testing.T) {
	terminal, tty, err := pty.Open()
	require.NoError(t, err)
	defer terminal.Close()
	defer tty.Close()
	t.Setenv("TERM", "dumb")
	s, err := newScreen(tty, tty)
	require.Error(t, err)
	require.Nil(t, s)
}

func TestNoScreenWithoutATerminal(t *testing.T) {
	require.Nil(t, openScreen(&strings.Builder{}))
}

// A terminal is as good as a file for --json: lines come as they are, and it is left as it was.
func TestNoScreenForJSON(t *testing.T) {
	server := natstest.Run(t, embedded.Options{})
	cmd := exec.Command("raftbus", "top", "--json", "--nats", server.URL())
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TERM=xterm")
	terminal, err := pty.Start(cmd)
	require.NoError(t, err)
	defer terminal.Close()
	line, err := bufio.NewReader(terminal).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Equal(t, "{", line[:1], "%q", line)
}
