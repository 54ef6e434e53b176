package leaf

// What a server says, in every form, whole and in pieces, right and wrong.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func (op operation) String() string {
	return fmt.Sprintf("%d %q %q %q %q %q %q", op.kind, op.text, op.subject, op.queue, op.reply, op.header, op.data)
}

// parse reads all, and returns what was read and why no more.
func parse(r io.Reader, payloadMax int) (ops []string, err error) {
	p := newParser(r)
	p.payloadMax = payloadMax
	for {
		op, err := p.next()
		if err != nil {
			return ops, err
		}
		ops = append(ops, op.String())
	}
}

func TestEveryFormIsRead(t *testing.T) {
	for _, c := range []struct {
		said string
		want operation
	}{
		{"PING\r\n", operation{kind: opPing}},
		{"PONG\n", operation{kind: opPong}},
		{"+OK\r\n", operation{kind: opOK}},
		{"INFO {\"a\": 1} \r\n", operation{kind: opInfo, text: []byte("{\"a\": 1} ")}},
		{"-ERR 'Authorization Violation'\r\n", operation{kind: opErr, text: []byte("Authorization Violation")}},
		{"LS+ a.b\r\n", operation{kind: opInterest, subject: []byte("a.b")}},
		{"LS+ a.b  q\t3\r\n", operation{kind: opInterest, subject: []byte("a.b"), queue: []byte("q")}},
		{"LS- a.b\r\n", operation{kind: opNoInterest, subject: []byte("a.b")}},
		{"LS- a.b q\r\n", operation{kind: opNoInterest, subject: []byte("a.b"), queue: []byte("q")}},
		{"LMSG a 2\r\nhi\r\n", operation{kind: opMessage, subject: []byte("a"), data: []byte("hi")}},
		{"LMSG a 0\r\n\r\n", operation{kind: opMessage, subject: []byte("a")}},
		{"LMSG a r 2\r\n\r\n\r\n", operation{kind: opMessage, subject: []byte("a"), reply: []byte("r"), data: []byte("\r\n")}},
		{"HMSG a 3 5\r\nN\r\nhi\r\n", operation{kind: opMessage, subject: []byte("a"), header: []byte("N\r\n"), data: []byte("hi")}},
		{"HMSG a r 3 3\r\nN\r\n\r\n", operation{kind: opMessage, subject: []byte("a"), reply: []byte("r"), header: []byte("N\r\n")}},
		{"LMSG a 11\r\n12345678901\r\n", operation{kind: opTooLarge, subject: []byte("a")}},
	} {
		ops, err := parse(strings.NewReader(c.said+"PING\r\n"), 10)
		require.ErrorIs(t, err, io.EOF, c.said)
		require.Equal(t, []string{c.want.String(), operation{kind: opPing}.String()}, ops, c.said)
	}
}

func TestWhatNoServerSaysIsAnError(t *testing.T) {
	for _, said := range []string{
		"\r\n", "ping\r\n", "MSG a 1 0\r\n\r\n", "LS+\r\n", "LS+ a q\r\n", "LS+ a q 1 x\r\n", "LS- \r\n", "LS- a q 1\r\n",
		"LMSG\r\n", "LMSG a\r\n", "LMSG 1\r\n", "LMSG a -1\r\n", "LMSG a x\r\n", "LMSG a 9999999999\r\n", "LMSG a 99999999\r\n", "LMSG a b c 0\r\n\r\n",
		"LMSG a + r 0\r\n\r\n", "LMSG a + r q 0\r\n\r\n", "LMSG a | q 0\r\n\r\n", "HMSG a | q 3 3\r\nN\r\n\r\n", "LMSG a 2\r\nhi!\r\n", "HMSG a 3\r\nN\r\n\r\n", "HMSG a 4 3\r\nN\r\n\r\n", "HMSG a -1 3\r\n", "HMSG 1 2\r\nhi\r\n",
	} {
		ops, err := parse(strings.NewReader(said+"PING\r\n"), 10)
		require.ErrorIs(t, err, errForeign, "%q", said)
		require.Empty(t, ops, "%q", said)
	}
}

// A line may be long, and no longer; what is announced is not taken before it comes.
func TestMemoryIsTakenAsBytesArrive(t *testing.T) {
	long := "INFO " + strings.Repeat("x", lineBytesMax-10)
	ops, err := parse(strings.NewReader(long+"\r\n"), 0)
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, ops, 1)
	_, err = parse(strings.NewReader(long+long), 0)
	require.ErrorContains(t, err, "longer than")

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = parse(strings.NewReader("LMSG a 67108864\r\nno more"), messageBytesMax)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

// FuzzParser: whatever is said, in whatever pieces it comes, is read alike, and takes memory in proportion.
func FuzzParser(f *testing.F) {
	f.Add([]byte(greetingLine + welcomeLine + "LS+ $LDS.x\r\nLS+ _INBOX.a.*\r\nLS+ q g 1\r\nLS- q g\r\nPING\r\nPONG\r\n"))
	f.Add([]byte("LMSG a + r q1 q2 2\r\nhi\r\nHMSG a | q 12 13\r\nNATS/1.0\r\n\r\nx\r\n-ERR 'no'\r\n"))
	f.Add([]byte("LMSG a 300\r\n"))
	f.Add([]byte("LMSG a 67108864\r\nno more"))
	f.Fuzz(func(t *testing.T, said []byte) {
		const payloadMax = 200
		whole, wholeErr := parse(bytes.NewReader(said), payloadMax)
		pieces, piecesErr := parse(iotest.OneByteReader(bytes.NewReader(said)), payloadMax)
		require.Equal(t, whole, pieces)
		require.Equal(t, errors.Is(wholeErr, errForeign), errors.Is(piecesErr, errForeign))
		require.True(t, errors.Is(wholeErr, errForeign) || errors.Is(wholeErr, io.EOF) || errors.Is(wholeErr, io.ErrUnexpectedEOF), "%v", wholeErr)

		p := newParser(bytes.NewReader(said))
		p.payloadMax = payloadMax
		for {
			op, err := p.next()
			if err != nil {
				break
			}
			require.LessOrEqual(t, len(op.header)+len(op.data), payloadMax)
		}
		require.LessOrEqual(t, cap(p.line), 4*len(said)+1024)
		require.LessOrEqual(t, cap(p.payload), 4*payloadMax+1024)
	})
}

// FuzzGreeting: no INFO makes what cannot be worked with.
func FuzzGreeting(f *testing.F) {
	f.Add([]byte(strings.TrimPrefix(greetingLine, "INFO ")))
	f.Add([]byte(`{"max_payload":-1,"leafnode_urls":["nats-leaf://[::1]:7422",""],"import":{"allow":["a.>","","."],"deny":["*"]},"export":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		g, err := parseGreeting(text)
		if err != nil {
			return
		}
		e := endpoints{given: []endpoint{{address: "127.0.0.1:7422", tlsName: "n"}}}
		e.learn(e.given[0], g.LeafURLs)
		require.LessOrEqual(t, len(e.learned), learnedMax)
		for range 2*len(e.learned) + 2 {
			require.NotEmpty(t, e.next().address)
		}
		newPermissions(g.Import).allows("a.b")
		newPermissions(g.Export).allows("a.>")
	})
}

// FuzzMessage: what may be published makes one message, that is read as it was meant.
func FuzzMessage(f *testing.F) {
	f.Add("_INBOX.x", ack(5, "$KV.app.the.key"), []byte("NATS/1.0\r\n\r\n"), []byte("value"))
	f.Add("a", "", []byte{}, []byte("\r\nLS+ >\r\n"))
	f.Add("a b", "r\r\n", []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, subject, reply string, header, data []byte) {
		if !publishable(subject) || !replyable(reply) {
			return
		}
		p := newParser(bytes.NewReader(appendMessage(nil, subject, reply, header, data)))
		p.payloadMax = messageBytesMax
		op, err := p.next()
		require.NoError(t, err)
		require.Equal(t, opMessage, op.kind)
		require.Equal(t, subject, string(op.subject))
		require.Equal(t, reply, string(op.reply))
		require.Equal(t, string(header), string(op.header))
		require.Equal(t, string(data), string(op.data))
		_, err = p.next()
		require.ErrorIs(t, err, io.EOF, "and nothing else")
		require.False(t, hasWildcard(subject))
	})
}
