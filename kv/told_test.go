package kv

// That NATS knows of a bucket that is gone is known only when it has said so.

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// slowServer is a NATS server that answers the second PING only when it is told to, and tells of it.
func slowServer(t *testing.T) (url string, asked, answer chan struct{}) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	asked, answer = make(chan struct{}), make(chan struct{})
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "INFO {\"max_payload\":1048576,\"headers\":true}\r\n")
		pings := 0
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if !strings.HasPrefix(lines.Text(), "PING") {
				continue
			}
			if pings++; pings == 2 {
				close(asked)
				<-answer
			}
			fmt.Fprintf(c, "PONG\r\n")
		}
	}()
	return "nats://" + l.Addr().String(), asked, answer
}

// Who comes second, while who came first still waits for NATS, waits too: else its client would find the subject listened to (L9).
func TestWhatIsLeftIsToldWhenNATSHasAnswered(t *testing.T) {
	url, asked, answer := slowServer(t)
	conn, err := nats.Connect(url)
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	s := &Service{conn: conn, logger: slog.New(slog.DiscardHandler), listening: listening{left: 1}, waits: waits{flushWait: time.Minute}}
	followed := make(chan struct{})
	go func() { s.followed("app"); close(followed) }()
	select {
	case <-asked:
	case <-time.After(5 * time.Second):
		require.Fail(t, "NATS is not asked")
	}
	require.Zero(t, s.toldLeft.Load())
	close(answer)
	<-followed
	require.EqualValues(t, 1, s.toldLeft.Load())
}
