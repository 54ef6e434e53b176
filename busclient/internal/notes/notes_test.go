package notes

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatRepeatsIsNewsOnceAMinute(t *testing.T) {
	var n Notes
	now := time.Unix(1000, 0)
	require.True(t, n.IsNews("a", now))
	require.True(t, n.IsNews("b", now.Add(time.Second)), "another kind is news")
	require.False(t, n.IsNews("a", now.Add(Interval-1)))
	require.True(t, n.IsNews("a", now.Add(Interval)))
	require.False(t, n.IsNews("a", now.Add(Interval+1)))
	told := 0
	for i := range 10 * KindsMax {
		if n.IsNews(fmt.Sprint(i), now.Add(3*Interval)) {
			told++
		}
	}
	require.Equal(t, KindsMax, told, "what is remembered is bounded, and so is the log")
	require.True(t, n.IsNews("a", now.Add(4*Interval)), "and room is made by time")
}

// F5: a look-up that fails says each time from which port it asked.
func TestALookUpIsOfOneKindFromWhicheverPort(t *testing.T) {
	kind := func(name, port string) string {
		return KindOf(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{
			Err: "read udp 10.1.1.2:" + port + "->10.96.0.10:53: read: connection refused", Name: name, Server: "10.96.0.10:53",
		}})
	}
	require.Equal(t, kind("nats", "43210"), kind("nats", "43211"))
	require.NotEqual(t, kind("nats", "43210"), kind("other", "43210"))
	require.NotEqual(t, kind("nats", "43210"), KindOf(&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}))
}
