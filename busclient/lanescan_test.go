package busclient

// What a lane takes out of what a server sends, whatever it is and wherever it is cut.

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// scanned is what a scanner made of a stream.
type scanned struct {
	deliveries []Delivery
	passed     []byte
	final      []string
}

// newScanning knows the sids 7 and 8.
func newScanning(into *scanned) *scanner {
	ours := map[string]*subscriber{"7": {}, "8": {}}
	return &scanner{
		find:  func(sid []byte) *subscriber { return ours[string(sid)] },
		hand:  func(_ *subscriber, d Delivery, _ []byte) { into.deliveries = append(into.deliveries, d) },
		final: func(text string) { into.final = append(into.final, text) },
	}
}

// scan feeds pieces, each in memory that is used again.
func scan(pieces [][]byte) (result scanned) {
	s := newScanning(&result)
	var buffer, out []byte
	for _, piece := range pieces {
		buffer = append(buffer[:0], piece...)
		out = s.feed(buffer, out[:0])
		result.passed = append(result.passed, out...)
		clear(buffer[:cap(buffer)])
	}
	result.passed = append(result.passed, s.stop(nil)...)
	return result
}

// addMessage draws a message, which is the lane's or the client's.
func (r *scanned) addMessage(t *rapid.T) (operation string) {
	word := rapid.StringMatching(`[a-z]{1,8}(\.[A-Z_]{1,6}){0,3}`)
	d := Delivery{Subject: word.Draw(t, "subject"), Data: []byte(rapid.StringOf(rapid.RuneFrom([]rune("x \r\nMSG7"))).Draw(t, "data"))}
	if rapid.Bool().Draw(t, "with reply") {
		d.Reply = word.Draw(t, "reply")
	}
	sid := rapid.SampledFrom([]string{"7", "8", "6", "77"}).Draw(t, "sid")
	names := strings.Join(strings.Fields(d.Subject+" "+sid+" "+d.Reply), " ")
	operation = fmt.Sprintf("MSG %s %d\r\n%s\r\n", names, len(d.Data), d.Data)
	if rapid.Bool().Draw(t, "with header") {
		header := rapid.SampledFrom([]string{"NATS/1.0 503\r\n\r\n", "NATS/1.0 503 No Responders\r\n\r\n", "NATS/1.0\r\na: 503\r\n\r\n", "NATS/1.0 5031\r\n\r\n"}).Draw(t, "header")
		d.NoResponders = len(d.Data) == 0 && (strings.HasPrefix(header, "NATS/1.0 503\r") || strings.HasPrefix(header, "NATS/1.0 503 "))
		operation = fmt.Sprintf("HMSG %s %d %d\r\n%s%s\r\n", names, len(header), len(header)+len(d.Data), header, d.Data)
	}
	if sid == "7" || sid == "8" {
		r.deliveries = append(r.deliveries, d)
	} else {
		r.passed = append(r.passed, operation...)
	}
	return operation
}

// addOther draws what is the client's; over is true when the lane gives up there.
func (r *scanned) addOther(t *rapid.T) (operation string, over bool) {
	long := strings.Repeat("x", 2*controlLineMax)
	kind := rapid.IntRange(0, 12).Draw(t, "kind")
	operation = []string{
		"PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR 'Permissions Violation'\r\n", "INFO {\"max_payload\":1048576}\r\n", "INFO {\"a\":\"" + long + "\"}\r\n",
		"msg a 7 1\r\nx\r\n", "MSG a 7 1\nx\r\n", "MSG a 7 1\r\nxy\n", "MSG a 7 -1\r\n", "HMSG a 7 9 1\r\n", "MSG " + strings.Repeat("x", messageLineMax) + " 7 1\r\nx\r\n", "MSG a b c 7 d 1\r\nx\r\n",
	}[kind]
	r.passed = append(r.passed, operation...)
	return operation, kind > 5
}

func cut(t *rapid.T, stream []byte) (pieces [][]byte) {
	for len(stream) > 0 {
		n := min(len(stream), rapid.OneOf(rapid.IntRange(1, 8), rapid.IntRange(1, 3*controlLineMax)).Draw(t, "cut"))
		pieces, stream = append(pieces, stream[:n]), stream[n:]
	}
	return pieces
}

// Any operations, cut anywhere, give the lane's messages to it and all else to the client as it came; where something is wrong
// the client gets all that follows.
func TestScannerTakesOutItsMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want scanned
		var stream []byte
		given := false
		for range rapid.IntRange(0, 12).Draw(t, "operations") {
			before := want.deliveries
			operation, over := "", false
			if rapid.IntRange(0, 2).Draw(t, "message") > 0 {
				operation = want.addMessage(t)
			} else {
				operation, over = want.addOther(t)
			}
			if given && len(want.deliveries) > len(before) {
				want.deliveries, want.passed = before, append(want.passed, operation...)
			}
			given = given || over
			stream = append(stream, operation...)
		}
		got := scan(cut(t, stream))
		require.Equal(t, string(want.passed), string(got.passed))
		require.Len(t, got.deliveries, len(want.deliveries))
		for i, d := range want.deliveries {
			require.Equal(t, string(d.Data), string(got.deliveries[i].Data))
			d.Data = got.deliveries[i].Data
			require.Equal(t, d, got.deliveries[i])
		}
	})
}

func TestScannerTakesMessagesThatAreLargerThanWhatIsRead(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 300_000)
	stream := append(fmt.Appendf(nil, "MSG a 7 b %d\r\n", len(data)), data...)
	stream = append(stream, "\r\nPING\r\n"...)
	var pieces [][]byte
	for rest := stream; len(rest) > 0; {
		n := min(len(rest), readBytes)
		pieces, rest = append(pieces, rest[:n]), rest[n:]
	}
	got := scan(pieces)
	require.Len(t, got.deliveries, 1)
	require.True(t, bytes.Equal(data, got.deliveries[0].Data))
	require.Equal(t, len(data), cap(got.deliveries[0].Data), "what follows is not the receiver's")
	require.Equal(t, "PING\r\n", string(got.passed))
}

// A request in a line as long as NATS lets a client have makes the line of a message longer: it is taken out, whole and in pieces, and the lane
// goes on (F11).
func TestScannerTakesMessagesWithLongLines(t *testing.T) {
	subject := strings.Repeat("s", controlLineMax/2)
	reply := strings.Repeat("r", controlLineMax-len(subject)-len("  0"))
	stream := []byte("MSG " + subject + " 7 " + reply + " 1\r\nx\r\nMSG " + subject + " 6 " + reply + " 1\r\ny\r\n-ERR 'x'\r\nMSG a 7 1\r\nz\r\n")
	for _, pieces := range [][][]byte{{stream}, slices.Collect(slices.Chunk(stream, 1000))} {
		got := scan(pieces)
		require.Equal(t, []string{"x"}, got.final)
		require.Len(t, got.deliveries, 2)
		require.Equal(t, reply, got.deliveries[0].Reply)
		require.Equal(t, "z", string(got.deliveries[1].Data))
		require.Equal(t, "MSG "+subject+" 6 "+reply+" 1\r\ny\r\n", string(got.passed), "another's")
	}
}

// A size that NATS does not allow is for its client to refuse.
func TestScannerLeavesWhatIsTooLargeToTheClient(t *testing.T) {
	got := scan([][]byte{fmt.Appendf(nil, "MSG a 7 %d\r\nx", scanMessageMax+1)})
	require.Empty(t, got.deliveries)
	require.Equal(t, fmt.Sprintf("MSG a 7 %d\r\nx", scanMessageMax+1), string(got.passed))
}

// F11: of the errors after which NATS's client connects no more it does not hear; of all others it does.
func TestScannerHoldsBackFinalErrors(t *testing.T) {
	passing := "-ERR 'Permissions Violation for Publish to \"a\"'\r\n-ERR 'Authorization Violation'\r\n-ERR 'Stale Connection'\r\n-ERR 'User Authentication Expired'\r\n"
	result := scan([][]byte{[]byte("PING\r\n-ERR 'maximum control line exceeded'\r\n" + passing + "-ERR 'Maximum Pay"), []byte("load Violation'\r\nPONG\r\n-ERR\r\n")})
	require.Equal(t, []string{"maximum control line exceeded", "Maximum Payload Violation", ""}, result.final)
	require.Equal(t, "PING\r\n"+passing+"PONG\r\n", string(result.passed))
}

// FuzzScanner: whatever comes, cuts change nothing, what is the client's comes in its order, and no more memory is set aside
// than a constant and a multiple of what came.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("INFO {}\r\nPING\r\nMSG a.b 7 r 3\r\nabc\r\nMSG a 6 1\r\nx\r\n"), uint16(3))
	f.Add([]byte("HMSG a 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n-ERR 'x'\r\n"), uint16(1))
	f.Add([]byte("MSG a 7 67108864\r\nabc"), uint16(2))
	f.Add([]byte("MSG a 7 2\r\nabcd\r\nMSG a 7 1\r\na\r\n"), uint16(9))
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		whole := scan([][]byte{stream})
		var parts scanned
		s := newScanning(&parts)
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			parts.passed = s.feed(rest[:n], parts.passed)
			rest = rest[n:]
			require.LessOrEqual(t, cap(s.taking.body), scanReserveMax+2*len(stream)+64<<10)
			require.LessOrEqual(t, len(s.line), messageLineMax+n)
		}
		parts.passed = s.stop(parts.passed)
		require.Equal(t, string(whole.passed), string(parts.passed))
		require.Len(t, parts.deliveries, len(whole.deliveries))
		total := len(whole.passed)
		for i, d := range whole.deliveries {
			require.Equal(t, string(d.Data), string(parts.deliveries[i].Data))
			require.Equal(t, d.Subject+" "+d.Reply, parts.deliveries[i].Subject+" "+parts.deliveries[i].Reply)
			total += len(d.Data)
		}
		require.LessOrEqual(t, total, len(stream), "nothing is made up")
	})
}

func TestSubscriptionsAreReadFromWhatTheClientWrites(t *testing.T) {
	var told []string
	read := func(operations string) {
		subscriptions([]byte(operations), func(subject, sid string) { told = append(told, subject+"="+sid) }, func(sid string) { told = append(told, "end "+sid) })
	}
	read("CONNECT {\"verbose\":false,\"name\":\"a b c d e f g h\"}\r\n")
	read("PING\r\nSUB a.*  1\r\nSUB b queue 2\r\n")
	read("PUB x 14\r\nSUB evil  3\r\n\r\r\nHPUB x y 3 16\r\n...SUB evil  4\r\n\r\nUNSUB 1 \r\nUNSUB 2 5\r\nSUB c  5\r\n")
	require.Equal(t, []string{"a.*=1", "b=2", "end 1", "c=5"}, told)
}

func TestWhatAnInfoSaysOfMaxPayload(t *testing.T) {
	require.Equal(t, int64(1048576), maxPayloadOf([]byte("INFO {\"a\":1,\"max_payload\":1048576,\"b\":2}\r\n")))
	require.Zero(t, maxPayloadOf([]byte("INFO {}\r\n")))
	require.Zero(t, maxPayloadOf([]byte("INFO {\"max_payload\":99999999999}\r\n")))
}

// A greeting that is over stays so, whatever the server asks in the same breath.
func TestAPingBehindThePongIsNoNewGreeting(t *testing.T) {
	var s scanner
	s.feed([]byte("PONG\r\nPING\r\n"), nil)
	require.True(t, s.pong)
}
