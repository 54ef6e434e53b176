package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv"
)

// What became of a request that brought no answer is said with its exit code: what was not done for sure is never called unknown, nor the other way round.
func TestExitCodesWithoutAnAnswer(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{native.ErrNoLeader, exitNoLeader, "nothing was done"},
		{native.ErrDenied, exitError, "nothing was done: use credentials that may do it"},
		{native.ErrUnheard, exitError, "nothing was done: give the --inbox-prefix of this user"},
		{native.ErrUnknown, exitTimeout, "may have been done or may yet be"},
	} {
		err := clientFailure(fmt.Errorf("%w: nats says so", c.err), "raftbus")
		require.Equal(t, c.code, exitCode(err))
		require.ErrorContains(t, err, c.text)
	}
}

// Keys of JetStream clients are any subjects: what they have in them neither breaks JSON nor moves what is on a terminal.
func TestNamesThatOnlyJetStreamTakes(t *testing.T) {
	conn := onBus(t)
	_, err := conn.Subscribe("raftbus.kv.keys.app", func(m *nats.Msg) { _ = m.Respond([]byte(`{"bucket":"app","keys":["a\"b","c\u009b2J","plain"]}`)) })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	text, code := said("kv", "ls", "app", "--nats", conn.ConnectedUrl())
	require.Equal(t, exitOK, code, text)
	require.Equal(t, "a\"b\n\"c\\u009b2J\"\nplain\n", text)

	text, code = said("kv", "ls", "app", "--json", "--nats", conn.ConnectedUrl())
	require.Equal(t, exitOK, code, text)
	var names []string
	for line := range strings.Lines(text) {
		var name string
		require.NoError(t, json.Unmarshal([]byte(line), &name), line)
		names = append(names, name)
	}
	require.Equal(t, []string{`a"b`, "c\u009b2J", "plain"}, names)
	require.Contains(t, eventLine(&native.Entry{Key: "c\u009b2J", Operation: "put"}, true), `put "c\u009b2J", revision`)
}

// A history of values that have no room in an answer is whole, or none: where its watch is broken off, and cannot go on where it was, since what other keys
// had there is not kept any more, it is asked for anew.
func TestAHistoryThatIsBrokenOffIsAskedForAnew(t *testing.T) {
	conn := onBus(t)
	refuses := func(m *nats.Msg, kind kv.ErrorKind) {
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Nats-Service-Error-Code": {fmt.Sprint(kind.Code)}}, Data: fmt.Appendf(nil, `{"error":{"err_code":%d,"description":"%s"}}`, kind.ErrCode, kind.Name)})
	}
	_, err := conn.Subscribe("raftbus.kv.history.app.k", func(m *nats.Msg) { refuses(m, kv.TooLarge) })
	require.NoError(t, err)
	watches := 0
	_, err = conn.Subscribe("raftbus.kv.watch.app", func(m *nats.Msg) {
		var request struct {
			Deliver, First string
			From           uint64
		}
		_ = json.Unmarshal(m.Data, &request)
		watches++
		event := func(sequence, revision, pending int) {
			_ = conn.PublishMsg(&nats.Msg{Subject: request.Deliver, Header: nats.Header{
				"Rb-Watch": {"w"}, "Rb-Sequence": {fmt.Sprint(sequence)}, "Rb-Key": {"k"}, "Rb-Revision": {fmt.Sprint(revision)}, "Rb-Operation": {"put"}, "Rb-Pending": {fmt.Sprint(pending)},
			}})
		}
		switch {
		case request.From > 0:
			refuses(m, kv.Compacted)
		case request.First == "newest":
			_ = m.Respond([]byte(`{"watch":"w","pending":1}`))
			event(1, 7, 0)
		case watches == 1:
			_ = m.Respond([]byte(`{"watch":"w","pending":3}`))
			event(1, 3, 2)
			event(3, 7, 0) // one is lost
		default:
			_ = m.Respond([]byte(`{"watch":"w","pending":3}`))
			event(1, 3, 2)
			event(2, 5, 1)
			event(3, 7, 0)
		}
	})
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	text, code := said("kv", "history", "app", "k", "--json", "--nats", conn.ConnectedUrl())
	require.Equal(t, exitOK, code, text)
	require.Equal(t, 3, strings.Count(text, "\n"), text)
}

// A signal ends a watch, which is no error; of what is there it ends only a part.
func TestASignalEndsAWatch(t *testing.T) {
	conn := onBus(t)
	watchedOnce(t, conn)
	for args, want := range map[string]error{"--no-values": nil, "--current": context.Canceled} {
		ctx, cancel := context.WithCancel(t.Context())
		err := execute(t, ctx, &endAt{word: "color", end: cancel}, "kv", "watch", "app", args, "--nats", conn.ConnectedUrl())
		require.ErrorIs(t, err, want, args)
	}
}

// watchedOnce answers watches with one event of two.
func watchedOnce(t *testing.T, conn *nats.Conn) {
	t.Helper()
	_, err := conn.Subscribe("raftbus.kv.watch.app", func(m *nats.Msg) {
		var request struct{ Deliver string }
		_ = json.Unmarshal(m.Data, &request)
		_ = m.Respond([]byte(`{"watch":"w","pending":2}`))
		_ = conn.PublishMsg(&nats.Msg{Subject: request.Deliver, Header: nats.Header{
			"Rb-Watch": {"w"}, "Rb-Sequence": {"1"}, "Rb-Key": {"color"}, "Rb-Revision": {"1"}, "Rb-Operation": {"put"}, "Rb-Pending": {"1"},
		}})
	})
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
}

// A list, or a history, that is more than a page is printed as a whole (C1).
func TestWhatIsMoreThanAPageIsPrinted(t *testing.T) {
	conn := onBus(t)
	for subject, pages := range map[string]map[string]string{
		"raftbus.kv.keys.app":      {"": `{"bucket":"app","keys":["a","b"],"after":"b"}`, "b": `{"bucket":"app","keys":["c"]}`},
		"raftbus.bucket.ls":        {"": `{"buckets":["app"],"after":"app"}`, "app": `{"buckets":["more"]}`},
		"raftbus.kv.history.app.k": {"0": `{"bucket":"app","entries":[{"revision":3,"operation":"put","value":"x"}],"after":3}`, "3": `{"bucket":"app","entries":[{"revision":7,"operation":"delete"}]}`},
	} {
		_, err := conn.Subscribe(subject, func(m *nats.Msg) {
			var asked struct{ After any }
			_ = json.Unmarshal(m.Data, &asked)
			_ = m.Respond([]byte(pages[fmt.Sprint(asked.After)]))
		})
		require.NoError(t, err)
	}
	require.NoError(t, conn.Flush())
	for _, c := range []struct{ args, want string }{
		{"ls app", "^a\nb\nc\n$"}, {"ls", "^app\nmore\n$"}, {"ls app --limit 3", "^a\nb\nc\n$"}, {"history app k --json", `(?s)"revision":3,.*\n.*"revision":7,`},
	} {
		text, code := said(append([]string{"kv", "--nats", conn.ConnectedUrl()}, strings.Fields(c.args)...)...)
		require.Equal(t, exitOK, code, text)
		require.Regexp(t, c.want, text, c.args)
	}
}

// Each write has a message id of its own, by which it can be sent again where its answer is lost (C4).
func TestEachWriteHasAnID(t *testing.T) {
	conn := onBus(t)
	came := make(chan string, 10)
	_, err := conn.Subscribe("raftbus.kv.*.app.k", func(m *nats.Msg) {
		came <- m.Header.Get(nats.MsgIdHdr)
		_ = m.Respond([]byte(`{"bucket":"app","revision":1}`))
	})
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	ids := []string{""}
	for _, args := range []string{"put app k v", "put app k v", "del app k"} {
		text, code := said(append(strings.Fields("kv "+args), "--nats", conn.ConnectedUrl())...)
		require.Equal(t, exitOK, code, text)
		id := <-came
		require.NotContains(t, ids, id, args)
		ids = append(ids, id)
	}
}

// What was written is said to be, also if nobody can be told its revision (C5).
func TestAWriteThatCannotBePrintedIsDone(t *testing.T) {
	conn := onBus(t)
	_, err := conn.Subscribe("raftbus.kv.put.app.k", func(m *nats.Msg) { _ = m.Respond([]byte(`{"bucket":"app","revision":7}`)) })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	err = execute(t, t.Context(), fullDisk{}, "kv", "put", "app", "k", "v", "--nats", conn.ConnectedUrl())
	require.ErrorContains(t, err, "k is written, revision 7, but that could not be printed: no space left")
	require.Equal(t, exitError, exitCode(err))
}

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// A value that no message can hold is refused before it is read to its end, with how large it may be.
func TestAValueMayBeAsLargeAsTheBusAllows(t *testing.T) {
	limit := native.New(onBus(t), "raftbus", 0).BodyMax()
	value, err := valueOf(strings.NewReader(strings.Repeat("x", 1040384)), nil, limit)
	require.NoError(t, err)
	require.Len(t, value, 1040384)
	_, err = valueOf(strings.NewReader(strings.Repeat("x", 1040385)), nil, limit)
	require.ErrorContains(t, err, "larger than the 1040384 bytes that the bus allows: split it, or raise max_payload")
	require.Equal(t, exitRefused, exitCode(err))
}
