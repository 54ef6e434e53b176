package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Each record with all its fields, a negative time among them, as it is on disk; it comes back from that as it was, and so it does from what a later
// version writes: fields that are not known, and known ones of another type, are skipped.
func TestWholeRecordsAreAsPublished(t *testing.T) {
	settings := command.Settings{
		History: 2, TTL: 3, MaxValueSize: 4, MaxBytes: 5, Description: "d", Metadata: map[string]string{"b": "2", "a": "1", "": ""}, MarkerTTL: 6, AllowTTL: true,
		DuplicateWindow: 7, MaxMessageSize: 8, Republish: &command.Republish{Source: "s", Destination: "e", HeadersOnly: true}, Echo: []byte("x"), ReadOnly: true,
	}
	state := state{rpc.EntryID{Term: 1, Index: 2}, 3, -1, command.Version}
	bucket := bucketRecord{incarnation: 1, created: 2, settings: settings, changed: 4, trimming: true, trimAfter: "k", idsSince: 6, importing: true}
	stats := statsRecord{1, 2, 3, 4, 5, 6, 7, 8, 9, "i", 11, 12}
	id := idRecord{1, 2, 300}
	order := idOrder{2, "i", 300}
	consumer := Consumer{"b", 1, "c", []byte("{"), "d", "h", 5, 6, 7, 8, 9, 10, 11, 12, "a", 13}
	for name, c := range map[string]struct {
		record any
		text   []byte
		want   string
		decode func([]byte) (any, error)
	}{
		"state": {state, state.encode(), "\x08\x02\x10\x02\x18\x01\x20\x03\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x30\x03",
			func(b []byte) (any, error) { return decodeState(b) }},
		"bucket": {bucket, bucket.encode(), "\x08\x01\x10\x02\x1a\x34\x08\x02\x10\x03\x18\x04\x20\x05\x2a\x01d\x32\x00\x32\x06\x0a\x01a\x12\x011\x32\x06\x0a\x01b\x12\x012" +
			"\x38\x06\x40\x01\x48\x07\x50\x08\x5a\x08\x0a\x01s\x12\x01e\x18\x01\x62\x01x\x68\x01\x20\x04\x2a\x01k\x30\x06\x38\x01",
			func(b []byte) (any, error) { return decodeBucket(b) }},
		"stats": {stats, stats.encode(), "\x08\x01\x10\x02\x18\x03\x20\x04\x28\x05\x30\x06\x38\x07\x40\x08\x48\x09\x52\x01i\x58\x0b\x60\x0c",
			func(b []byte) (any, error) { return decodeStats(b) }},
		"id":       {id, id.encode(), "\x08\x01\x10\x02\x18\xac\x02", func(b []byte) (any, error) { return decodeID(b) }},
		"id order": {order, order.encode(), "\x0a\x01i\x10\xac\x02", func(b []byte) (any, error) { return decodeIDOrder(idOrderKey(1, 2), b) }},
		"consumer": {&consumer, consumer.encode(), "\x0a\x01b\x12\x01{\x1a\x01d\x22\x01h\x28\x05\x30\x06\x38\x07\x40\x08\x48\x09\x50\x0a\x58\x0b\x60\x0c\x6a\x01a\x70\x0d",
			func(b []byte) (any, error) { return decodeConsumer(consumerKey(1, "c"), b) }},
	} {
		require.Equal(t, c.want, string(c.text), name)
		for _, more := range []string{"", "\x98\x06\x01", "\x9a\x06\x01x", "\x0d\x01\x00\x00\x00", "\x11\x01\x00\x00\x00\x00\x00\x00\x00"} {
			got, err := c.decode([]byte(c.want + more))
			require.NoError(t, err, "%s with %x", name, more)
			require.Equal(t, c.record, got, "%s with %x", name, more)
		}
		_, err := c.decode([]byte(c.want + "\x0a\x05"))
		require.Error(t, err, "%s, cut", name)
	}
}
