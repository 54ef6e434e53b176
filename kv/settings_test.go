package kv

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Metadata is one setting: what is given takes its place, and what is not logged changes nothing that anybody reads (C1, C5, I13).
func TestMetadataIsReplacedAsAWhole(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("bucket.add.meta", `{"metadata":{"a":"1"}}`)
	told := func(want string) {
		t.Helper()
		require.Contains(t, string(r.ask("bucket.info.meta", "").Data), want)
	}
	r.expectError(BadRequest, "bucket.update.meta", `{"history":65,"metadata":{"b":"2"}}`)
	told(`"metadata":{"a":"1"},`)
	r.ask("bucket.update.meta", `{"ttl":"1h"}`)
	told(`"ttl":"1h0m0s","metadata":{"a":"1"},`)
	r.ask("bucket.update.meta", `{"metadata":{"b":"2"}}`)
	told(`"ttl":"1h0m0s","metadata":{"b":"2"},`)
	r.ask("bucket.update.meta", `{"metadata":null}`)
	told(`"ttl":"1h0m0s","created"`)
}

// Many who change a bucket's metadata, and many who look, meet at what the store holds.
func TestMetadataIsChangedByManyAtOnce(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("bucket.add.meta", `{"metadata":{"a":"1"}}`)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 50 {
				_, _ = r.request("bucket.update.meta", fmt.Sprintf(`{"metadata":{"k%d":"%d"}}`, i, n)) // others may forestall it
				_, _ = r.request("bucket.info.meta", "")
				_, _ = r.request("bucket.update.meta", fmt.Sprintf(`{"history":65,"metadata":{"k%d":"%d"}}`, i, n))
			}
		})
	}
	all.Wait()
	require.NotContains(t, string(r.ask("bucket.info.meta", "").Data), `"a":"1"`)
}
