package headers

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func block(lines ...string) string {
	if len(lines) == 0 {
		return ""
	}
	return "NATS/1.0\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func TestHarmless(t *testing.T) { // W2, L9
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct{ have, want, bare string }{
		{"", "", ""},
		{block("A: b"), block("A: b"), block("A: b")},
		{block("A: b", "Nats-Trace-Dest: x", "Nats-Trace-Only: true"), block(traceOff, "A: b", "Nats-Trace-Only: true"), block(traceOff, "A: b", "Nats-Trace-Only: true")},
		{block("Nats-Trace-Dest: trace disabled", "Nats-Trace-Dest: x"), block(traceOff), block(traceOff)},
		{block("Nats-Trace-Dest: x", "Nats-Trace-Dest: trace disabled"), block(traceOff), block(traceOff)},
		{block("nats-trace-dest:x"), block(traceOff), block(traceOff)},
		{block("TraceParent: " + parent), block(traceOff, "TraceParent: "+parent), block(traceOff, "TraceParent: "+parent)},
		{block("A: b", traceOff, "traceparent: "+parent), block("A: b", traceOff, "traceparent: "+parent), block("A: b", traceOff, "traceparent: "+parent)},
		{block("A: traceparent: Status: 100"), block("A: traceparent: Status: 100"), block("A: traceparent: Status: 100")},
		{block("Description: Idle Heartbeat", "Status: 100"), block("Description: Idle Heartbeat", "Status: 100"), ""},
		{block("A: b", "Description: c", "Status: 100"), block("A: b", "Description: c", "Status: 100"), block("A: b")},
		{block("A: b", "Description: c"), block("A: b", "Description: c"), block("A: b", "Description: c")},
	} {
		for is, want := range map[bool]string{false: c.want, true: c.bare} {
			have := Harmless([]byte(c.have), is)
			require.Equal(t, want, string(have), "of %q", c.have)
			require.Equal(t, want, string(Harmless(have, is)), "again")
		}
	}
	most := []byte(block("A: b", "KV-Operation: DEL"))
	require.Zero(t, testing.AllocsPerRun(100, func() { Harmless(most, true) }))
}
