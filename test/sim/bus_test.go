package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func TestSubjects(t *testing.T) {
	to, from := ends("raftbus.rpc.n2.n1.AppendLog")
	require.Equal(t, [2]rpc.NodeID{"n2", "n1"}, [2]rpc.NodeID{to, from})
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.c", false},
		{"a.*.c", "a.b.c", true},
		{"a.*.c", "a.b.d", false},
		{"a.*.c", "a.b.b.c", false},
		{"a.*.c", "a..c", false},
		{"*.b", "a.b", true},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"a.*", "a.", false},
		{"r.rpc.n1.*.Return.x1.*", "r.rpc.n1.n2.Return.x1.77", true},
		{"r.rpc.n1.*.Return.x1.*", "r.rpc.n1.n2.Return.x2.77", false},
	} {
		require.Equal(t, c.want, matches(c.pattern, c.subject), "%s %s", c.pattern, c.subject)
	}
}
