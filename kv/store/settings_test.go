package store

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
)

// What the store hands out of a bucket's settings is its own: it may compare and encode them, and not write to them, while others read.
func TestSettingsAreOnlyReadOnceTheyAreThere(t *testing.T) {
	settings := command.Settings{History: 1, Metadata: map[string]string{"a": "1", "b": "2"}}
	same := command.Settings{History: 1, Metadata: map[string]string{"a": "1", "b": "2"}}
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for range 2000 {
				for key, value := range settings.Metadata {
					_, _ = key, value
				}
			}
		})
	}
	for range 2000 {
		require.True(t, settings.Equal(&same))
		settings.Append(nil)
	}
	readers.Wait()
}
