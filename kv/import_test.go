package kv

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
)

const importConfig = `{"name":"KV_old","subjects":["$KV.old.>"],"max_msgs_per_subject":3,"discard":"new","republish":{"src":">","dest":"copies.>"}}`

func importOf(bucket string, after uint64, entries ...command.ImportEntry) string {
	return string(command.Command{Import: &command.Import{Bucket: bucket, After: after, Entries: entries}}.Encode())
}

func TestAnImport(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	copies, err := r.client.SubscribeSync("copies.>")
	require.NoError(t, err)
	r.expect(`{"bucket":"app","revision":0,"cluster_revision":1}`, "bucket.import_begin.app", importConfig)
	r.expect(`{"bucket":"app","revision":7,"cluster_revision":3}`, "bucket.import_entries.app", importOf("app", 0,
		command.ImportEntry{Key: "k", Sequence: 3, Value: []byte("v"), Time: 1e9},
		command.ImportEntry{Key: "k", Sequence: 7, Value: []byte("w"), Time: 2e9, Header: []byte("NATS/1.0\r\nA: b\r\nA: c\r\n\r\n")}))
	r.expect(`{"bucket":"app","revision":7,"cluster_revision":1,"again":true}`, "bucket.import_begin.app", importConfig)
	r.expect(`{"type":"io.raftbus.kv.v1.bucket_import_entries_response","error":{"code":409,"err_code":30005,"description":"wrong revision: bucket app has reached revision 7","current_revision":7}}`,
		"bucket.import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k", Sequence: 3}))
	r.expect(`{"bucket":"app","key":"k","revision":7,"cluster_revision":3,"value":"w","time":"1970-01-01T00:00:02Z"}`, "kv.get.app.k", "")
	for _, op := range []string{"kv.put.app.k", "kv.delete.app.k", "bucket.update.app", "bucket.add.app"} {
		r.expectError(Importing, op, "")
	}
	requireJSError(t, 10008, r.js(api+"$KV.app.k", "x"))
	requireJSError(t, 10008, r.js(api+"STREAM.PURGE.KV_app", ""))
	_, err = r.client.Request("$KV.app.k", nil, 5*time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders, "the bare subject is still another's")

	var sums sumsReply
	require.NoError(t, json.Unmarshal(r.ask("bucket.import_sums.app", `{"limit":1}`).Data, &sums))
	require.Len(t, sums.Entries, 1)
	require.Equal(t, [3]any{uint64(3), true, uint64(6)}, [3]any{sums.Entries[0].Revision, sums.More, sums.After})
	r.expectError(WrongRevision, "bucket.import_end.app", `{"revision":6}`)
	r.expect(`{"bucket":"app","revision":7,"cluster_revision":4}`, "bucket.import_end.app", `{"revision":7}`)
	r.expect(`{"type":"io.raftbus.kv.v1.bucket_import_end_response","error":{"code":409,"err_code":30024,"description":"not being imported: app","current_revision":7}}`,
		"bucket.import_end.app", `{"revision":7}`)
	r.expectError(BucketExists, "bucket.import_begin.app", importConfig)
	require.Contains(t, string(r.js("$KV.app.k", "x").Data), `"seq":8`)
	m, err := copies.NextMsg(5 * time.Second)
	require.NoError(t, err)
	require.Equal(t, "8", m.Header.Get("Nats-Sequence"), "what was imported is not published again")
}

// A bucket of a JetStream may have a longer name than one here: it is imported under another.
func TestAnImportFromALongerName(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.expect(`{"bucket":"app","revision":0,"cluster_revision":1}`, "bucket.import_begin.app", strings.ReplaceAll(importConfig, "old", strings.Repeat("o", 252)))
	r.expectError(BadRequest, "bucket.import_begin.b", strings.ReplaceAll(importConfig, "old", "*"))
}

// What is compared of an import is all of an entry that lasts: that a time to live was lost would be seen.
func TestSumsAreOfAllThatLasts(t *testing.T) { // C6
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.import_begin.app", importConfig)
	entries := []command.ImportEntry{
		{Key: "k", Sequence: 3, Value: []byte("v"), Time: 1e9, TTL: time.Hour},
		{Key: "l", Sequence: 5, Value: []byte("w"), Time: 1e9, TTL: command.Never, Header: []byte("NATS/1.0\r\nA: b\r\n\r\n")},
		{Key: "m", Sequence: 7, Op: command.Purge, Time: 1e9, Rollup: command.RollupKey, Header: []byte("NATS/1.0\r\nKV-Operation: PURGE\r\nNats-Rollup: sub\r\n\r\n")},
	}
	require.Contains(t, string(r.ask("bucket.import_entries.app", importOf("app", 0, entries...)).Data), `"revision":7`)
	var want []sumOf
	for i := range entries {
		sum := entries[i].Sum()
		want = append(want, sumOf{entries[i].Sequence, hex.EncodeToString(sum[:])})
	}
	var sums sumsReply
	require.NoError(t, json.Unmarshal(r.ask("bucket.import_sums.app", "").Data, &sums))
	require.Equal(t, want, sums.Entries)
}

// F11: as many sums as were asked for do not fit: there are fewer, and it is said that there are more.
func TestSumsAreCutToThePayload(t *testing.T) {
	r := newRig(t, nil, func(o *server.Options) { o.MaxPayload = 16 << 10 })
	r.lead()
	r.ask("bucket.import_begin.app", importConfig)
	const entries = 300
	for i := range uint64(entries) {
		r.ask("bucket.import_entries.app", importOf("app", i, command.ImportEntry{Key: fmt.Sprint(i), Sequence: i + 1, Time: 1e9}))
	}
	after, found := uint64(0), 0
	for more := true; more; {
		var sums sumsReply
		require.NoError(t, json.Unmarshal(r.ask("bucket.import_sums.app", fmt.Sprintf(`{"limit":1000,"after":%d}`, after)).Data, &sums))
		require.NotEmpty(t, sums.Entries)
		found += len(sums.Entries)
		after, more = sums.After, sums.More
	}
	require.Equal(t, entries, found)
}

// Q11: nothing is made of a body of many entries, or of another order with many parts, before they are counted.
func TestNoRoomIsMadeForTooManyEntries(t *testing.T) {
	r := newRig(t, nil)
	parts := func(tag byte, part string) []byte {
		body := protowire.AppendTag(nil, protowire.Number(tag), protowire.BytesType)
		return protowire.AppendBytes(body, []byte(strings.Repeat(part, 1<<18)))
	}
	for name, body := range map[string][]byte{"entries": parts(12, "\x1a\x00"), "what is over": parts(7, "\x0a\x00"), "moves": parts(10, "\x0a\x00")} {
		c := &call{msg: &nats.Msg{Data: body}, bucket: "app"}
		require.LessOrEqual(t, testing.AllocsPerRun(5, func() {
			_, f := r.service.importEntries(c)
			require.NotNil(t, f)
		}), 20.0, name)
	}
	e := command.ImportEntry{Key: "k", Sequence: 1, Header: []byte("NATS/1.0\r\n" + strings.Repeat("a: \r\n", 1<<15) + "\r\n")}
	require.LessOrEqual(t, testing.AllocsPerRun(5, func() { require.NotNil(t, r.service.checkImport(&e)) }), 20.0)
	e.Header = []byte("NATS/1.0\r\n" + strings.Repeat("a: \r\n", 1<<14) + "\r\n") // of a server, with a blank in each line
	require.Nil(t, r.service.checkImport(&e))
}

func TestBadImports(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.import_begin.app", importConfig)
	many := make([]command.ImportEntry, importEntriesMax+1)
	for i := range many {
		many[i] = command.ImportEntry{Key: "k", Sequence: uint64(i + 1)}
	}
	done := string(command.Command{Import: &command.Import{Bucket: "app", Done: true}}.Encode())
	for _, c := range []struct {
		want     ErrorKind
		op, body string
	}{
		{BadRequest, "import_begin.b", ""},
		{BadRequest, "import_begin.b", `{"name":"other"}`},
		{BadRequest, "import_begin.b", strings.Replace(importConfig, `:3,`, `:65,`, 1)},
		{BadRequest, "import_begin.b", strings.Repeat(" ", importConfigMax+1)},
		{BucketExists, "import_begin.app", strings.Replace(importConfig, `:3,`, `:4,`, 1)},
		{NoBucket, "import_entries.b", importOf("b", 0)},
		{BadRequest, "import_entries.app", ""},
		{BadRequest, "import_entries.app", "\xff"},
		{BadRequest, "import_entries.app", importOf("b", 0)},
		{BadRequest, "import_entries.app", done},
		{BadRequest, "import_entries.app", string(command.Command{RemoveBucket: &command.RemoveBucket{Name: "app"}}.Encode())},
		{BadRequest, "import_entries.app", importOf("app", 0, many...)},
		{BadRequest, "import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k", Sequence: importRevisionMax + 1})},
		{BadRequest, "import_entries.app", string(command.Command{Import: &command.Import{Bucket: "app", Last: math.MaxUint64}}.Encode())},
		{BadRequest, "import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k", Sequence: 2}, command.ImportEntry{Key: "k", Sequence: 2})},
		{BadRequest, "import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k"})},
		{BadRequest, "import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k", Sequence: 1, Op: command.Delete, Header: []byte("NATS/1.0\r\nX: y\r\n\r\n")})},
		{BadRequest, "import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k", Sequence: 1, Header: []byte("NATS/1.0\r\nKV-Operation: DEL\r\n\r\n")})},
		{BadRequest, "import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k", Sequence: 1, Header: []byte("NATS/1.0\r\nX: y")})},
		{BadKey, "import_entries.app", importOf("app", 0, command.ImportEntry{Key: "a.*", Sequence: 1})},
		{TooLarge, "import_entries.app", importOf("app", 0, command.ImportEntry{Key: "k", Sequence: 1, Value: make([]byte, 1<<20-jetstream.PayloadReserve+1)})},
		{NoBucket, "import_sums.b", ""},
		{BadRequest, "import_sums.app", `{"limit":1001}`},
		{NoBucket, "import_end.b", ""},
		{BadRequest, "import_end.app", "x"},
	} {
		r.expectError(c.want, "bucket."+c.op, c.body)
	}
	r.expect(`{"bucket":"app","revision":0,"cluster_revision":1,"again":true}`, "bucket.import_begin.app", importConfig)
}
