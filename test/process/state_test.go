package process

// What a cluster holds in the end: every key that was acknowledged, and the same state on every node.

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/store"
)

// page is what the native API answers to 'keys'.
type page struct {
	Keys  []string `json:"keys"`
	More  bool     `json:"more"`
	After string   `json:"after"`
}

// checkKeys lists the bucket, and requires every acknowledged key to be there.
func (c *cluster) checkKeys(acked []ack) {
	nc := c.connect()
	defer nc.Close()
	there := map[string]bool{}
	for p := (page{More: true}); p.More; {
		ask := fmt.Sprintf(`{"after":%q,"limit":1000}`, p.After)
		m, err := nc.Request("raftbus.kv.keys.app", []byte(ask), 5*time.Second)
		require.NoError(c.t, err)
		p = page{}
		require.NoError(c.t, json.Unmarshal(m.Data, &p), "%s", m.Data)
		for _, key := range p.Keys {
			there[key] = true
		}
	}
	for _, a := range acked {
		require.True(c.t, there[a.key], "acknowledged write of %s is lost", a.key)
	}
}

// checkStates stops a quiet cluster, its leader last so that nothing is logged meanwhile, and requires that all nodes
// hold the same state, byte for byte (I5).
func (c *cluster) checkStates() {
	c.converged(time.Minute)
	leader := c.leader()
	states := map[string][]string{}
	for _, id := range append(c.followers(c.random(), leader), leader) {
		c.nodes[id].stop(c.t, 20*time.Second)
		sum := c.stateOf(id)
		states[sum] = append(states[sum], id)
	}
	require.Len(c.t, states, 1, "equal applied index, different states")
}

// stateOf is the entry and the checksum of a stopped node's state.
func (c *cluster) stateOf(id string) string {
	s, err := store.Open(store.Options{FS: vfs.Default, Dir: filepath.Join(c.dirs[id], "kv")})
	require.NoError(c.t, err)
	defer s.Close()
	view, err := s.Snapshot()
	require.NoError(c.t, err)
	defer view.Close()
	sum := sha256.New()
	_, err = view.WriteTo(sum)
	require.NoError(c.t, err)
	return fmt.Sprintf("%v %x", view.ID(), sum.Sum(nil))
}
