package command

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func commands() []Command {
	settings := Settings{
		History: 64, TTL: time.Minute, MaxValueSize: 10, MaxBytes: 1 << 40, Description: "d", Metadata: map[string]string{"b": "2", "a": "1", "": "x"},
	}
	return []Command{
		{AddBucket: &AddBucket{Name: "app"}},
		{AddBucket: &AddBucket{Name: "app", Settings: settings}},
		{RemoveBucket: &RemoveBucket{Name: "app"}},
		{Write: &Write{Bucket: "app", Key: "k"}},
		{Write: &Write{Bucket: "app", Key: "k", Value: []byte("value")}},
		{Write: &Write{Bucket: "app", Key: "k", Value: bytes.Repeat([]byte("v"), 1<<20), Condition: IfSequence, Sequence: 1 << 60}},
		{Write: &Write{Bucket: "app", Key: "k", Op: Delete, Condition: IfPresent}},
		{Write: &Write{Bucket: "app", Key: "k", Op: Purge, Condition: IfAbsent}},
	}
}

func TestCommandsComeBackAsTheyWere(t *testing.T) {
	for _, c := range commands() {
		got, err := Decode(c.Encode())
		require.NoError(t, err)
		require.Equal(t, c, got)
		if w := c.Write; w != nil {
			require.LessOrEqual(t, len(c.Encode()), len(w.Bucket)+len(w.Key)+len(w.Value)+OverheadBytes)
		}
	}
}

// The bytes in logs and stores are fixed for good.
func TestEncodingIsAsPublished(t *testing.T) {
	require.Equal(t, "\x22\x0f\x0a\x03app\x12\x01k\x28\x03\x30\x07\x22\x01v",
		string(Command{Write: &Write{Bucket: "app", Key: "k", Value: []byte("v"), Condition: IfSequence, Sequence: 7}}.Encode()))
	require.Equal(t, "\x12\x11\x0a\x03app\x12\x0a\x08\x02\x2a\x01d\x32\x03\x0a\x01a",
		string(Command{AddBucket: &AddBucket{Name: "app", Settings: Settings{History: 2, Description: "d", Metadata: map[string]string{"a": ""}}}}.Encode()))
	require.Equal(t, "\x1a\x05\x0a\x03app", string(Command{RemoveBucket: &RemoveBucket{Name: "app"}}.Encode()))
}

func field(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func TestWhatANewerVersionWroteIsNeverSkipped(t *testing.T) { // F28
	remove := Command{RemoveBucket: &RemoveBucket{Name: "app"}}.Encode()
	write := func(extra []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), extra)
	}
	for name, data := range map[string][]byte{
		"a newer version":        append(field(1, Version+1), remove...),
		"an order not known":     protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), nil),
		"an order and a field":   append(remove[:len(remove):len(remove)], field(99, 1)...),
		"a field of a write":     write(protowire.AppendBytes(protowire.AppendTag(nil, 9, protowire.BytesType), []byte("id"))),
		"another type of field":  write(field(1, 1)),
		"an op not known":        write(field(3, 3)),
		"a condition not known":  write(field(5, 4)),
		"a field of add_bucket":  protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), field(3, 1)),
		"a field of rem. bucket": protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), field(2, 1)),
	} {
		_, err := Decode(data)
		require.ErrorIs(t, err, ErrUnknown, name)
	}
	_, err := Decode(append(field(1, Version), remove...))
	require.NoError(t, err)
}

func TestMalformedCommands(t *testing.T) {
	remove := Command{RemoveBucket: &RemoveBucket{Name: "app"}}.Encode()
	for name, data := range map[string][]byte{
		"nothing":          nil,
		"only a version":   field(1, 1),
		"two orders":       append(remove[:len(remove):len(remove)], remove...),
		"cut":              remove[:len(remove)-1],
		"cut inside":       {0x1a, 0x02, 0x0a, 0x05},
		"a length too big": {0x22, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"group":            {0x0c},
	} {
		_, err := Decode(data)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestSettingsKeepWhatANewerVersionAdded(t *testing.T) {
	s := Settings{History: 2, Metadata: map[string]string{"a": "1"}}
	newer := append(s.Append(nil), field(99, 7)...)
	got, err := DecodeSettings(newer)
	require.NoError(t, err)
	require.Equal(t, newer, got.Append(nil))
}

func TestEqualSettingsAreWrittenAlike(t *testing.T) {
	one, other := Settings{Metadata: map[string]string{}}, Settings{Metadata: map[string]string{}}
	for i := range 50 {
		one.Metadata[string(rune('a'+i))] = "x"
		other.Metadata[string(rune('a'+49-i))] = "x"
	}
	for range 20 {
		require.Equal(t, one.Append(nil), other.Append(nil))
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range commands() {
		if data := c.Encode(); len(data) < 1000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := Decode(data)
		runtime.ReadMemStats(&after)
		if after.TotalAlloc-before.TotalAlloc > uint64(64<<10+16*len(data)) {
			t.Fatalf("%d bytes allocated for %d", after.TotalAlloc-before.TotalAlloc, len(data))
		}
		if err != nil {
			return
		}
		again, err := Decode(c.Encode())
		require.NoError(t, err)
		require.Equal(t, c.Encode(), again.Encode())
	})
}
