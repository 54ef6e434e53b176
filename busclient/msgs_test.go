package busclient

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// On a connection for clients messages have headers, with the lane in force and shut.
func TestMessagesWithHeaders(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("shut: ", plain), func(t *testing.T) {
			c := dialWith(t, ConnOptions{URLs: []string{startNATS(t).URL()}, Node: "n1", Role: RoleClient, shutLane: plain})
			eventually(t, "up", func() bool { up, _ := c.Up(); return up })
			came := make(chan *nats.Msg, 20)
			sub, err := c.SubscribeMsgs("x.*", func(m *nats.Msg) { came <- m })
			require.NoError(t, err)
			for _, one := range []struct {
				block string
				want  nats.Header
			}{
				{"NATS/1.0\r\nA: b\r\na: c\r\nA: d\r\n\r\n", nats.Header{"A": {"b", "d"}, "a": {"c"}}},
				{"NATS/1.0 404 Message Not Found\r\n\r\n", nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}},
				{"NATS/1.0\r\n\r\n", nil},
				{"NATS/1.0\r\nno colon\r\n\r\n", nats.Header{}}, // cannot be read: not as if there were none
				{headerOfLines(headerLinesMax), nats.Header{"a": slices.Repeat([]string{"b"}, headerLinesMax)}},
				{headerOfLines(headerLinesMax + 1), nats.Header{"": nil}}, // not read
				{headerOfBytes(headerBytesMax), nats.Header{"a": {strings.Repeat("b", headerBytesMax-len(headerOfBytes(0)))}}},
				{headerOfBytes(headerBytesMax + 1), nats.Header{"": nil}},
				{"", nil},
			} {
				var block []byte
				if one.block != "" {
					block = []byte(one.block)
				}
				require.NoError(t, c.PublishMsg("x.y", "r", block, []byte("data")))
				m := await(t, came)
				require.Equal(t, []any{"x.y", "r", "data", sub}, []any{m.Subject, m.Reply, string(m.Data), m.Sub})
				require.Equal(t, one.want, m.Header, "%q", one.block)
			}
			_, err = c.SubscribeMsgs("x.ask", func(m *nats.Msg) { _ = m.Respond([]byte("answer")) })
			require.NoError(t, err)
			answer, err := c.NATS().RequestMsg(&nats.Msg{Subject: "x.ask", Header: nats.Header{"K": {"v"}}}, soon)
			require.NoError(t, err)
			require.Equal(t, "answer", string(answer.Data))
			require.Equal(t, "v", await(t, came).Header.Get("K"))
			require.Error(t, c.PublishMsg("x y", "", []byte("NATS/1.0\r\n\r\n"), nil))
			require.ErrorContains(t, c.PublishMsg("x.y", "", []byte("NATS/1.0\r\n\r\n"), make([]byte, c.MaxPayload())), "maximum payload")
			require.NoError(t, sub.Unsubscribe())
			require.NoError(t, c.Flush(soon))
			require.NoError(t, c.Publish("x.y", "", nil))
			require.NoError(t, c.Flush(soon))
			require.Empty(t, came)
			require.Equal(t, plain, c.NATS().Stats().InMsgs > 1, "the answer alone came by NATS's client")
		})
	}
}

func headerOfLines(n int) string { return "NATS/1.0\r\n" + strings.Repeat("a: b\r\n", n) + "\r\n" }

// headerOfBytes is a header of one line, and of so many bytes if it can be.
func headerOfBytes(n int) string {
	const around = "NATS/1.0\r\na: \r\n\r\n"
	return "NATS/1.0\r\na: " + strings.Repeat("b", max(n-len(around), 0)) + "\r\n\r\n"
}

// Q11: nothing is made of a header of many lines before they are counted.
func TestAHeaderOfManyLinesIsNotRead(t *testing.T) {
	var block bytes.Buffer
	block.WriteString("NATS/1.0\r\n")
	for i := 0; block.Len() < 1<<20; i++ {
		fmt.Fprintf(&block, "%x:\r\n", i)
	}
	block.WriteString("\r\n")
	require.LessOrEqual(t, testing.AllocsPerRun(5, func() { headerOf(block.Bytes()) }), 5.0)
}
