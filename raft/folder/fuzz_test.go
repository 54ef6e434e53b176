package folder

// What a node reads from its folder at the start, besides log and state: nonsense is an error or no snapshot, never a panic, and never
// costs much more memory than it is long.

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

func FuzzIdentity(f *testing.F) {
	good := `{"version":1,"node":"n1","instance":"00112233445566778899aabbccddeeff","starts":3,"begun":true}`
	f.Add([]byte(good), true)
	f.Add([]byte(`{"version":2}`), true)
	f.Add([]byte(`{"version":3}`), true) // of a later build (F28)
	f.Add([]byte(`{}`), true)
	f.Add([]byte(good), false)
	f.Fuzz(func(t *testing.T, line []byte, sealed bool) {
		raw := line
		if sealed { // nothing gets past the checksum else
			raw = fmt.Appendf(bytes.Clone(line), "\n%08x\n", crc32.Checksum(line, castagnoli))
		}
		ident, err := parseIdentity(raw)
		if err == nil {
			require.Contains(t, []int{1, identityVersion}, ident.Version)
		}
	})
}

func FuzzBase(f *testing.F) {
	conf := rpc.Configuration{Index: 7, Voters: []rpc.Member{{ID: "n1"}}}
	f.Add(EncodeBase(&raft.Base{Configuration: conf}))
	f.Add(EncodeBase(&raft.Base{Time: 12345, Configuration: conf}))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		base, err := DecodeBase(&wal.Base{Configuration: raw})
		if err != nil {
			require.ErrorIs(t, err, rpc.ErrMalformed)
			return
		}
		again, err := DecodeBase(&wal.Base{Configuration: EncodeBase(&base)})
		require.NoError(t, err)
		require.Equal(t, base, again)
	})
}
