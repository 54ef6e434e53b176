package jetstream

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/internal/names"
)

func TestRepublishedSubjectsAreMapped(t *testing.T) {
	for _, c := range []struct{ source, destination, subject, want string }{
		{">", "out.>", "$KV.a.k", "out.$KV.a.k"},
		{"$KV.a.>", "out.>", "$KV.a.k.l", "out.k.l"},
		{"$KV.a.>", "out.>", "$KV.b.k", ""},
		{"$KV.a.>", "out.>", "$KV.a", ""},
		{"$KV.a.k", "out", "$KV.a.k", "out"},
		{"$KV.a.k", "out", "$KV.a.k.l", ""},
		{"$KV.*.*", "$2.of.{{wildcard(1)}}", "$KV.a.k", "k.of.a"},
		{"$KV.*.>", "o.$1.>", "$KV.a.k.l", "o.a.k.l"},
		{"$KV.a.*", "out", "$KV.a.k", "out"},
	} {
		m, ok := newMapping(c.source, c.destination)
		require.True(t, ok, c)
		to, matches := m.to(c.subject)
		require.Equal(t, c.want != "", matches, c)
		require.Equal(t, c.want, to, c)
	}
	for _, c := range [][2]string{
		{">", "out"}, {"a", ">"}, {"a.*", "b.*"}, {"a", "b.$1"}, {"a.*", "b.$2"}, {"a.*", "b.$0"}, {"a..b", "c"}, {"a", ""}, {"", "a"}, {"a.>.b", "c"}, {"a b", "c"}, {"a.*", "{{partition(3,1)}}"},
	} {
		require.False(t, mappable(c[0], c[1]), c)
	}
}

// Q11: who publishes keeps the tokens of what is to be published, and no key's subject is that long.
func TestWhatABucketPublishesAgainIsBounded(t *testing.T) {
	w := newWorld(t)
	of := func(bytes int) string {
		return `"republish":{"src":"` + strings.Repeat("a.", bytes/2) + `>","dest":"again.>"}`
	}
	w.bucket("a", of(SourceMax-1))
	w.refused(invalid("republish source of 1025 bytes: raftbus takes 1024 at most, which is more than the subject of any key has"), "STREAM.CREATE.KV_b", config("b", of(SourceMax+1)))
	require.Less(t, len(subjectOf(strings.Repeat("b", names.BucketMax), strings.Repeat("k", names.KeyMax))), SourceMax)
}

// F11: what is published again has a subject that NATS takes, also where the key is long.
func TestWhereABucketPublishesAgainIsBounded(t *testing.T) {
	w := newWorld(t)
	to := func(bytes int) string { return `"republish":{"dest":"` + strings.Repeat("a", bytes-len(".>")) + `.>"}` }
	w.bucket("a", to(destinationMax))
	w.refused(invalid("republish destination of 1025 bytes: raftbus takes 1024 at most, since NATS ends connections for longer subjects"), "STREAM.CREATE.KV_b", config("b", to(destinationMax+1)))
}
