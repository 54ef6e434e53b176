package command

import (
	"bytes"
	"encoding/hex"
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
	last, none := uint64(1<<63), uint64(0)
	header := []byte("NATS/1.0\r\nNats-TTL: 1s\r\n\r\n")
	all := settings
	all.MarkerTTL, all.AllowTTL, all.DuplicateWindow, all.MaxMessageSize = time.Second, true, time.Hour, 1<<20
	all.Republish = &Republish{Source: ">", Destination: "x.>", HeadersOnly: true}
	all.Echo = []byte(`{"storage":"file"}`)
	return []Command{
		{AddBucket: &AddBucket{Name: "app"}},
		{AddBucket: &AddBucket{Name: "app", Settings: all, AcceptEqual: true}},
		{UpdateBucket: &UpdateBucket{Name: "app", Settings: all, Changed: 7}},
		{UpdateBucket: &UpdateBucket{Settings: Settings{Republish: &Republish{}}}},
		{Write: &Write{Bucket: "app", Key: "k", Header: header, TTL: Never, MsgID: "id", Rollup: RollupBucket, LastSequence: &last, LastMsgID: "before"}},
		{Write: &Write{Bucket: "app", Key: "k", TTL: 1<<63 - 1, LastSequence: &none, Condition: IfSequence, Sequence: 1<<64 - 1}},
		{Write: &Write{Bucket: "app", Key: "k", Op: Purge, Rollup: RollupKey}},
		{Write: &Write{Bucket: "app", Key: "k", Op: Purge, Rollup: RollupNone}},
		{Write: &Write{Bucket: "app", Key: "k", Op: Purge, Rollup: RollupBucket}},
		{Write: &Write{Bucket: "app", Key: "k", Op: Delete, Rollup: RollupKey}},
		{PurgeBucket: &PurgeBucket{Name: "app"}},
		{PurgeBucket: &PurgeBucket{Name: "app", Filter: "a.>", Keep: 1, Below: 2, After: "a.b", Through: 3}},
		{PurgeBucket: &PurgeBucket{Name: "app", Incarnation: 4}},
		{Expire: &Expire{Items: []ExpireItem{{"app", 1, 2, "k"}, {"b", 3, 4, "l"}}}},
		{AddConsumer: &AddConsumer{Bucket: "app", Name: "c", Config: []byte("{}"), Deliver: "_INBOX.x", Host: "n1", Boot: 9, Mode: UpdateOnly, Answer: "_INBOX.a"}},
		{MoveConsumers: &MoveConsumers{Moves: []ConsumerMove{{"app", "c", 7, 1, "n2", 10}, {"app", "d", 8, 2, "n3", 11}}}},
		{RemoveConsumer: &RemoveConsumer{Bucket: "app", Name: "c", Added: 5}},
		{RemoveConsumer: &RemoveConsumer{Bucket: "app", Name: "c", Added: 5, Changed: 6}},
		{AddBucket: &AddBucket{Name: "app", Importing: true}},
		{AddBucket: &AddBucket{Name: "app", Settings: Settings{ReadOnly: true}}},
		{UpdateBucket: &UpdateBucket{Name: "app", Settings: Settings{ReadOnly: true, AllowTTL: true}}},
		{Raise: &Raise{Version: Version}},
		{Import: &Import{Bucket: "app", After: 7, Last: 12, LastTime: 1 << 60, Done: true, Entries: []ImportEntry{
			{Key: "k", Sequence: 9, Value: []byte("value"), Time: 1 << 60, TTL: Never},
			{Key: "l", Sequence: 10, Op: Purge, Header: header, TTL: time.Second, Rollup: RollupKey},
		}}},
		{Import: &Import{Bucket: "app", Entries: []ImportEntry{{Key: "k", Sequence: 1<<64 - 1, Op: Delete, Value: bytes.Repeat([]byte("v"), 1<<20), Rollup: RollupBucket}}}},
		{AddBucket: &AddBucket{Name: "app", Settings: settings}},
		{RemoveBucket: &RemoveBucket{Name: "app"}},
		{Write: &Write{Bucket: "app", Key: "k"}},
		{Write: &Write{Bucket: "app", Key: "k", Value: []byte("value")}},
		{Write: &Write{Bucket: "app", Key: "k", Value: bytes.Repeat([]byte("v"), 1<<20), Condition: IfSequence, Sequence: 1 << 60}},
		{Write: &Write{Bucket: "app", Key: "k", Op: Delete, Condition: IfPresent}},
		{Write: &Write{Bucket: "app", Key: "k", Op: Purge, Condition: IfAbsent, Rollup: RollupKey}},
	}
}

func TestCommandsComeBackAsTheyWere(t *testing.T) {
	for _, c := range commands() {
		got, err := Decode(c.Encode())
		require.NoError(t, err)
		require.Equal(t, c, got)
		if w := c.Write; w != nil {
			variable := len(w.Bucket) + len(w.Key) + len(w.Value) + len(w.Header) + len(w.MsgID) + len(w.LastMsgID)
			require.LessOrEqual(t, len(c.Encode()), variable+OverheadBytes)
		}
		if i := c.Import; i != nil {
			most := len(i.Bucket) + ImportOverheadBytes
			for n := range i.Entries {
				most += i.Entries[n].Size()
			}
			require.LessOrEqual(t, len(c.Encode()), most)
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
	zero := uint64(0)
	for want, c := range map[string]Command{
		"\x22\x18\x0a\x01b\x12\x01k\x40\x01\x4a\x01i\x50\x02\x58\x00\x62\x01j\x3a\x01H\x22\x01v": {Write: &Write{
			Bucket: "b", Key: "k", Value: []byte("v"), Header: []byte("H"), TTL: Never, MsgID: "i", Rollup: RollupKey, LastSequence: &zero, LastMsgID: "j"}},
		"\x08\x02\x12\x1b\x0a\x01b\x12\x16\x38\x01\x40\x01\x48\x02\x50\x03\x5a\x08\x0a\x01>\x12\x01d\x18\x01\x62\x02{}": {AddBucket: &AddBucket{
			Name: "b", Settings: Settings{MarkerTTL: 1, AllowTTL: true, DuplicateWindow: 2, MaxMessageSize: 3, Republish: &Republish{">", "d", true}, Echo: []byte("{}")}}},
		"\x12\x05\x0a\x01b\x18\x01":                                             {AddBucket: &AddBucket{Name: "b", AcceptEqual: true}},
		"\x32\x09\x0a\x01b\x12\x02\x08\x02\x18\x07":                             {UpdateBucket: &UpdateBucket{"b", Settings{History: 2}, 7}},
		"\x3a\x0c\x0a\x0a\x0a\x01b\x10\x01\x18\x02\x22\x01k":                    {Expire: &Expire{[]ExpireItem{{"b", 1, 2, "k"}}}},
		"\x42\x0f\x0a\x01b\x12\x01>\x18\x01\x20\x02\x2a\x01k\x30\x03":           {PurgeBucket: &PurgeBucket{"b", ">", 1, 2, "k", 3, 0}},
		"\x08\x03\x42\x05\x0a\x01b\x38\x04":                                     {PurgeBucket: &PurgeBucket{Name: "b", Incarnation: 4}},
		"\x4a\x13\x0a\x01b\x12\x01c\x1a\x01{\x22\x01d\x2a\x01h\x30\x01\x38\x02": {AddConsumer: &AddConsumer{"b", "c", []byte("{"), "d", "h", 1, UpdateOnly, ""}},
		"\x52\x11\x0a\x0f\x0a\x01b\x12\x01c\x18\x01\x22\x01h\x28\x02\x30\x03":   {MoveConsumers: &MoveConsumers{[]ConsumerMove{{"b", "c", 3, 1, "h", 2}}}},
		"\x08\x03\x32\x07\x0a\x01b\x12\x02\x68\x01":                             {UpdateBucket: &UpdateBucket{"b", Settings{ReadOnly: true}, 0}},
		"\x32\x07\x0a\x01b\x12\x02\x40\x01":                                     {UpdateBucket: &UpdateBucket{"b", Settings{AllowTTL: true}, 0}},
		"\x08\x03\x5a\x0a\x0a\x01b\x12\x01c\x18\x05\x20\x06":                    {RemoveConsumer: &RemoveConsumer{"b", "c", 5, 6}},
		"\x08\x03\x6a\x02\x08\x03":                                              {Raise: &Raise{Version: 3}},
		"\x12\x05\x0a\x01b\x20\x01":                                             {AddBucket: &AddBucket{Name: "b", Importing: true}},
		"\x62\x20\x0a\x01b\x10\x01\x1a\x13\x0a\x01k\x10\x02\x18\x02\x22\x01v\x2a\x01H\x30\x01\x38\x03\x40\x01\x20\x04\x28\x05\x30\x01": {Import: &Import{"b", 1, []ImportEntry{
			{"k", 2, Purge, []byte("v"), []byte("H"), Never, 3, RollupKey}}, 4, 5, true}},
		"\x4a\x09\x0a\x01b\x12\x01c\x42\x01a": {AddConsumer: &AddConsumer{Bucket: "b", Name: "c", Answer: "a"}},
		"\x6a\x00":                            {Raise: &Raise{}},
		"\x62\x0f\x1a\x02\x30\x03\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": {Import: &Import{LastTime: -1, Entries: []ImportEntry{{TTL: -2}}}},
		"\x3a\x04\x0a\x00\x0a\x00": {Expire: &Expire{[]ExpireItem{{}, {}}}},
		"\x12\x19\x0a\x01b\x12\x14\x08\x02\x10\x03\x18\x04\x20\x05\x32\x03\x12\x01z\x32\x03\x0a\x01a\x5a\x00": {AddBucket: &AddBucket{Name: "b", Settings: Settings{
			History: 2, TTL: 3, MaxValueSize: 4, MaxBytes: 5, Metadata: map[string]string{"a": "", "": "z"}, Republish: &Republish{}}}},
		"\x5a\x08\x0a\x01b\x12\x01c\x18\x01": {RemoveConsumer: &RemoveConsumer{"b", "c", 1, 0}},
	} {
		require.Equal(t, want, string(c.Encode()))
	}
}

// A purge that an earlier version logged, without a rollup, drops the key's history, as it did then.
func TestAPurgeOfAnEarlierVersionRollsUp(t *testing.T) {
	c, err := Decode([]byte("\x22\x08\x0a\x01b\x12\x01k\x18\x02"))
	require.NoError(t, err)
	require.Equal(t, Write{Bucket: "b", Key: "k", Op: Purge, Rollup: RollupKey}, *c.Write)
}

// A build of version 1 keeps settings that it does not know, and would not act on these.
func TestSettingsThatAreActedOnRaiseTheVersion(t *testing.T) {
	for _, s := range []Settings{{MarkerTTL: 1}, {AllowTTL: true}, {DuplicateWindow: 1}, {MaxMessageSize: 1}} {
		require.Equal(t, field(1, 2), Command{AddBucket: &AddBucket{Name: "b", Settings: s}}.Encode()[:2])
	}
	s := Settings{History: 2, TTL: 1, MaxValueSize: 1, MaxBytes: 1, Description: "d", Metadata: map[string]string{"a": "b"}, Echo: []byte("x")}
	require.EqualValues(t, 0x12, Command{AddBucket: &AddBucket{Name: "b", Settings: s}}.Encode()[0])
}

// A bucket that is imported is there for clients once that is done.
func TestOfBucket(t *testing.T) {
	for want, c := range map[string]Command{
		"a": {AddBucket: &AddBucket{Name: "a"}}, "b": {UpdateBucket: &UpdateBucket{Name: "b"}}, "c": {RemoveBucket: &RemoveBucket{Name: "c"}},
		"d": {Import: &Import{Bucket: "d", Done: true}}, "": {Import: &Import{Bucket: "e"}},
	} {
		require.Equal(t, want, c.OfBucket())
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct{ window, ttl, want time.Duration }{
		{0, 0, 2 * time.Minute}, {0, time.Second, time.Second}, {0, time.Hour, 2 * time.Minute}, {time.Hour, time.Second, time.Hour},
	} {
		require.Equal(t, c.want, (&Settings{DuplicateWindow: c.window, TTL: c.ttl}).Window())
	}
}

func field(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func TestWhatANewerVersionWroteIsNeverSkipped(t *testing.T) { // F28
	remove := Command{RemoveBucket: &RemoveBucket{Name: "app"}}.Encode()
	order := func(num protowire.Number, extra []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), extra)
	}
	write := func(extra []byte) []byte { return order(4, extra) }
	for name, data := range map[string][]byte{
		"a newer version":        append(field(1, Version+1), remove...),
		"an order not known":     protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), nil),
		"an order and a field":   append(remove[:len(remove):len(remove)], field(99, 1)...),
		"a field of a write":     write(protowire.AppendBytes(protowire.AppendTag(nil, 13, protowire.BytesType), []byte("id"))),
		"a rollup not known":     write(field(10, 4)),
		"a field of update_b.":   order(6, field(9, 1)),
		"a field of expire":      order(7, field(9, 1)),
		"a field of an item":     order(7, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), field(9, 1))),
		"a field of purge_b.":    order(8, field(9, 1)),
		"a field of add_cons.":   order(9, field(9, 1)),
		"a mode of add_cons.":    order(9, field(7, 3)),
		"a field of move_cons.":  order(10, field(9, 1)),
		"a field of a move":      order(10, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), field(9, 1))),
		"a field of rem. cons.":  order(11, field(9, 1)),
		"a field of import":      order(12, field(9, 1)),
		"a field of its entry":   order(12, protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), field(9, 1))),
		"an op of its entry":     order(12, protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), field(3, 3))),
		"a rollup of its entry":  order(12, protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), field(8, 3))),
		"a field of raise":       order(13, field(9, 1)),
		"another type of field":  write(field(1, 1)),
		"an op not known":        write(field(3, 3)),
		"a condition not known":  write(field(5, 4)),
		"a field of add_bucket":  protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), field(5, 1)),
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
		"cut in settings":  {0x12, 0x03, 0x12, 0x01, 0x2a},
		"a length too big": {0x22, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"group":            {0x0c},
	} {
		_, err := Decode(data)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}

func TestSettingsKeepWhatANewerVersionAdded(t *testing.T) {
	s := Settings{History: 2, Metadata: map[string]string{"a": "1"}}
	for _, added := range [][]byte{field(99, 7), {0x0a, 0x01, 'h'}, {0x0d, 1, 2, 3, 4}} { // one not known, and known ones of another type
		newer := append(s.Append(nil), added...)
		got, err := DecodeSettings(newer)
		require.NoError(t, err)
		require.Equal(t, newer, got.Append(nil))
	}
	within := func(num protowire.Number, data ...byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), append(data, field(99, 7)...))
	}
	got, err := DecodeSettings(append(within(6, 0x0a, 0x01, 'a'), within(11, 0x18, 0x01)...))
	require.NoError(t, err)
	require.Equal(t, Settings{Metadata: map[string]string{"a": ""}, Republish: &Republish{HeadersOnly: true}}, got)
}

// Settings outlive the message that they were read from, whose bytes may become another's.
func TestSettingsShareNothingWithWhatTheyWereReadFrom(t *testing.T) {
	s := Settings{Description: "d", Metadata: map[string]string{"a": "b"}, Republish: &Republish{Destination: "x"}, Echo: []byte(`{"s2":true}`)}
	data := s.Append(nil)
	got, err := DecodeSettings(data)
	require.NoError(t, err)
	clear(data)
	require.Equal(t, s, got)
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

// A sum is the same on every build: what it is compared with was computed elsewhere.
func TestASumIsOfWhatLasts(t *testing.T) {
	e := ImportEntry{Key: "k", Sequence: 7, Value: []byte("v"), TTL: Never}
	sum := e.Sum()
	require.Equal(t, "9f7ee82542726c495d9a9c7a7d839dcd0357e7f2e1ee08ea204fb8b87db6ef8a", hex.EncodeToString(sum[:]))
	again := e
	again.Time, again.Rollup, again.Header = 9, RollupKey, []byte{}
	require.Equal(t, sum, again.Sum())
	for _, other := range []ImportEntry{
		{Key: "l", Sequence: 7, Value: []byte("v"), TTL: Never}, {Key: "k", Sequence: 8, Value: []byte("v"), TTL: Never},
		{Key: "k", Sequence: 7, Value: []byte("w"), TTL: Never}, {Key: "k", Sequence: 7, Value: []byte("v")},
		{Key: "k", Sequence: 7, Op: Delete, Value: []byte("v"), TTL: Never}, {Key: "k", Sequence: 7, Header: []byte("v"), TTL: Never},
	} {
		require.NotEqual(t, sum, other.Sum())
	}
}
