package kv

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/names"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/raft/rpc"
)

func requireError(t testing.TB, want ErrorKind, reply *nats.Msg) {
	t.Helper()
	var body failureReply
	require.NoError(t, json.Unmarshal(reply.Data, &body), "%s", reply.Data)
	require.NotNil(t, body.Error, "%s", reply.Data)
	require.Equal(t, want.ErrCode, body.Error.ErrCode, "%s", reply.Data)
	require.Equal(t, want.Code, body.Error.Code)
	require.True(t, strings.HasPrefix(body.Error.Description, want.Name), body.Error.Description)
	require.Equal(t, body.Error.Description, reply.Header.Get(headerError))
	require.Equal(t, strconv.Itoa(want.Code), reply.Header.Get(headerErrorCode))
}

// Replies are API: they are compared byte by byte.
func TestRepliesAreAsPublished(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	const expected = headerExpected
	for _, step := range []struct {
		want, subject, body string
		headers             []string
	}{
		{`{"buckets":[]}`, "bucket.ls", "", nil},
		{`{"bucket":"app","cluster_revision":1}`, "bucket.add.app", "", nil},
		{`{"type":"io.raftbus.kv.v1.bucket_add_response","error":{"code":409,"err_code":30002,"description":"bucket exists: app"}}`, "bucket.add.app", "", nil},
		{`{"bucket":"h","cluster_revision":2}`, "bucket.add.h", `{"history":2,"max_value_size":10,"max_bytes":200,"description":"a <b>","metadata":{"z":"1","a":"2"}}`, nil},
		{`{"bucket":"app","key":"color","revision":1,"cluster_revision":3}`, "kv.put.app.color", "blue", nil},
		{`{"bucket":"app","key":"color","revision":1,"cluster_revision":3,"value":"blue","time":"1970-01-01T00:00:04Z"}`, "kv.get.app.color", "", nil},
		{`{"bucket":"app","key":"a.b/c=d-e_f","revision":2,"cluster_revision":4}`, "kv.create.app.a.b/c=d-e_f", "<&>", nil},
		{`{"bucket":"app","key":"a.b/c=d-e_f","revision":2,"cluster_revision":4,"value":"<&>","time":"1970-01-01T00:00:05Z"}`, "kv.get.app.a.b/c=d-e_f", "", nil},
		{`{"type":"io.raftbus.kv.v1.create_response","error":{"code":409,"err_code":30004,"description":"key exists: color has revision 1","current_revision":1}}`, "kv.create.app.color", "", nil},
		{`{"bucket":"app","key":"color","revision":3,"cluster_revision":5}`, "kv.update.app.color", "red", []string{expected, "1"}},
		{`{"type":"io.raftbus.kv.v1.update_response","error":{"code":409,"err_code":30005,"description":"wrong revision: have 3","current_revision":3}}`, "kv.update.app.color", "red", []string{expected, "1"}},
		{`{"type":"io.raftbus.kv.v1.put_response","error":{"code":409,"err_code":30005,"description":"wrong revision: have 0"}}`, "kv.put.app.other", "red", []string{expected, "7"}},
		{`{"type":"io.raftbus.kv.v1.delete_response","error":{"code":409,"err_code":30005,"description":"wrong revision: have 3","current_revision":3}}`, "kv.delete.app.color", "", []string{expected, "1"}},
		{`{"bucket":"app","key":"color","revision":4,"cluster_revision":6}`, "kv.delete.app.color", "", []string{expected, "3"}},
		{`{"type":"io.raftbus.kv.v1.get_response","error":{"code":404,"err_code":30003,"description":"key not found: color"}}`, "kv.get.app.color", "", nil},
		{`{"type":"io.raftbus.kv.v1.delete_response","error":{"code":404,"err_code":30003,"description":"key not found: color"}}`, "kv.delete.app.color", "", nil},
		{`{"bucket":"app","keys":["a.b/c=d-e_f"]}`, "kv.keys.app", "", nil},
		{`{"bucket":"app","key":"color","revision":5,"cluster_revision":7}`, "kv.update.app.color", "new", []string{expected, "0"}},
		{`{"bucket":"app","key":"empty","revision":6,"cluster_revision":8}`, "kv.put.app.empty", "", nil},
		{`{"bucket":"app","key":"empty","revision":6,"cluster_revision":8,"value":"","time":"1970-01-01T00:00:14Z"}`, "kv.get.app.empty", "", nil},
		{`{"bucket":"app","key":"bin","revision":7,"cluster_revision":9}`, "kv.put.app.bin", "\xff\x00", nil},
		{`{"bucket":"app","key":"bin","revision":7,"cluster_revision":9,"value_base64":"/wA=","time":"1970-01-01T00:00:15Z"}`, "kv.get.app.bin", "", nil},
		{`{"bucket":"app","keys":["a.b/c=d-e_f","bin"],"more":true,"after":"bin"}`, "kv.keys.app", `{"limit":2}`, nil},
		{`{"bucket":"app","keys":["color","empty"]}`, "kv.keys.app", `{"limit":2,"after":"bin"}`, nil},
		{`{"bucket":"app","keys":["color"]}`, "kv.keys.app", `{"prefix":"c"}`, nil},
		{`{"type":"io.raftbus.kv.v1.put_response","error":{"code":413,"err_code":30006,"description":"too large: bucket h takes values of 10 bytes at most"}}`, "kv.put.h.k", "0123456789a", nil},
		{`{"bucket":"h","key":"k","revision":1,"cluster_revision":10}`, "kv.put.h.k", "0123456789", nil},
		{`{"bucket":"h","key":"l","revision":2,"cluster_revision":11}`, "kv.put.h.l", "0123456789", nil},
		{`{"bucket":"h","key":"m","revision":3,"cluster_revision":12}`, "kv.put.h.m", "0123456789", nil},
		{`{"type":"io.raftbus.kv.v1.put_response","error":{"code":507,"err_code":30007,"description":"bucket full: bucket h takes 200 bytes in all"}}`, "kv.put.h.n", "0123456789", nil},
		{`{"bucket":"h","history":2,"max_value_size":10,"max_bytes":200,"description":"a <b>","metadata":{"a":"2","z":"1"},"created":"1970-01-01T00:00:03Z","revision":3,"cluster_revision":2,"keys":3,"values":3,"bytes":153}`, "bucket.info.h", "", nil},
		{`{"buckets":["app","h"]}`, "bucket.ls", "", nil},
		{`{"buckets":["app"],"more":true,"after":"app"}`, "bucket.ls", `{"limit":1}`, nil},
		{`{"buckets":["h"]}`, "bucket.ls", `{"after":"app"}`, nil},
		{`{"buckets":["h"]}`, "bucket.ls", `{"prefix":"h"}`, nil},
		{`{"bucket":"app","cluster_revision":13}`, "bucket.rm.app", "", nil},
		{`{"type":"io.raftbus.kv.v1.get_response","error":{"code":404,"err_code":30001,"description":"no bucket: app"}}`, "kv.get.app.color", "", nil},
		{`{"type":"io.raftbus.kv.v1.bucket_rm_response","error":{"code":404,"err_code":30001,"description":"no bucket: app"}}`, "bucket.rm.app", "", nil},
	} {
		r.expect(step.want, step.subject, step.body, step.headers...)
	}
}

func TestStaticRefusals(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", "")
	const expected = headerExpected
	for _, c := range []struct {
		want          ErrorKind
		subject, body string
		headers       []string
	}{
		{BadKey, "kv.put.app", "", nil},
		{BadKey, "kv.put.app.a:b", "", nil},
		{BadKey, "kv.get.app.ключ", "", nil},
		{BadKey, "kv.get.app." + strings.Repeat("k", names.KeyMax+1), "", nil},
		{BadBucketName, "kv.put.a:b.k", "", nil},
		{BadBucketName, "bucket.add", "", nil},
		{BadBucketName, "bucket.add." + strings.Repeat("b", names.BucketMax+1), "", nil},
		{UnknownOp, "kv.lease.app.k", "", nil},
		{UnknownOp, "bucket.frob", "", nil},
		{UnknownOp, "kv.x", "", nil},
		{BadRequest, "bucket.ls.app", "", nil},
		{BadRequest, "bucket.rm.app.b", "", nil},
		{BadRequest, "kv.keys.app.a", "", nil},
		{BadRequest, "bucket.add.b", `{"histroy":2}`, nil},
		{BadRequest, "bucket.add.b", `{"history":0}`, nil},
		{BadRequest, "bucket.add.b", `{"history":65}`, nil},
		{BadRequest, "bucket.add.b", `{"history":-1}`, nil},
		{BadRequest, "bucket.add.b", `{"history":1} x`, nil},
		{BadRequest, "bucket.add.b", `null`, nil},
		{BadRequest, "bucket.add.b", `[]`, nil},
		{BadRequest, "bucket.add.b", `{"description":"` + strings.Repeat("d", command.DescriptionBytesMax+1) + `"}`, nil},
		{BadRequest, "bucket.add.b", `{"metadata":{"a":"` + strings.Repeat("d", command.MetadataBytesMax) + `"}}`, nil},
		{BadRequest, "bucket.add.b", `{"description":"` + strings.Repeat("d", settingsBytesMax) + `"}`, nil},
		{BadRequest, "bucket.info.app", `x`, nil},
		{BadRequest, "bucket.rm.app", `x`, nil},
		{BadRequest, "kv.get.app.k", `x`, nil},
		{BadRequest, "kv.delete.app.k", `x`, nil},
		{BadRequest, "kv.keys.app", `{"limit":0}`, nil},
		{BadRequest, "kv.keys.app", `{"limit":10001}`, nil},
		{BadRequest, "kv.update.app.k", `x`, nil},
		{BadRequest, "kv.update.app.k", `x`, []string{expected, "x"}},
		{BadRequest, "kv.put.app.k", `x`, []string{expected, "-1"}},
		{BadRequest, "kv.put.app.k", `x`, []string{expected, "1", expected, "2"}},
		{BadRequest, "kv.create.app.k", `x`, []string{expected, "0"}},
		{BadRequest, "kv.delete.app.k", ``, []string{expected, "0"}},
		{BadRequest, "kv.put.app.k", `x`, []string{"Nats-Rollup", "sub"}},
		{BadRequest, "kv.put.app.k", `x`, []string{"KV-Operation", "DEL"}},
		{BadRequest, "kv.put.app.k", `x`, []string{"Nats-Expected-Stream", "KV_app"}},
		{BadRequest, "kv.put.app.k", `x`, []string{"Nats-Expected-Last-Msg-Id", "id"}},
		{BadRequest, "kv.put.app.k", `x`, []string{"Nats-Expected-Last-Sequence", "1"}},
		{BadRequest, "kv.put.app.k", `x`, []string{"Nats-TTL", "10ms"}},
		{BadRequest, "kv.put.app.k", `x`, []string{"Nats-Msg-Id", strings.Repeat("x", command.MsgIDBytesMax+1)}},
		{BadRequest, "kv.get.app.k", ``, []string{headerRead, "stale"}},
		{BadRequest, "kv.purge.app.k", `x`, nil},
		{BadRequest, "kv.purge.app.k", ``, []string{expected, "0"}},
		{BadRequest, "kv.history.app.k", `{"limit":65}`, nil},
		{BadKey, "kv.history.app.a:b", ``, nil},
		{BadRequest, "bucket.update.app", `{"history":65}`, nil},
		{BadRequest, "bucket.update.app", `{"ttl":5}`, nil},
		{BadRequest, "bucket.update.app", `{"ttl":"5"}`, nil},
		{BadRequest, "bucket.update.app", `{"ttl":"1ms"}`, nil},
		{BadRequest, "bucket.update.app", `{"marker_ttl":"999ms"}`, nil},
		{BadRequest, "bucket.update.app", `{"ttl":"-1h"}`, nil},
		{BadRequest, "bucket.update.app", `{"marker_ttl":"-1s"}`, nil},
		{BadRequest, "bucket.update.app", `{"duplicate_window":"-1s"}`, nil},
		{BadRequest, "bucket.add.b", `{"ttl":"1m","duplicate_window":"1h"}`, nil},
		{NoBucket, "bucket.update.none", ``, nil},
		{NoBucket, "kv.history.none.k", ``, nil},
		{NoBucket, "kv.purge.none.k", ``, nil},
		{KeyNotFound, "kv.history.app.k", ``, nil},
		{KeyNotFound, "kv.purge.app.k", ``, nil},
		{TooLarge, "kv.put.app.k", strings.Repeat("x", 1<<20-jetstream.PayloadReserve+1), nil},
		{NoBucket, "kv.put.none.k", "", nil},
		{NoBucket, "kv.keys.none", "", nil},
		{NoWatches, "kv.watch.app", `{"deliver":"x"}`, nil},
		{NoBucket, "kv.watch.none", `{"deliver":"x","from":1}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"x.>"}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"$SYS.x"}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"raftbus.kv.put.app.k"}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"x","first":"all"}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"x","first":"history","from":1}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"x","keys":["a..b"]}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"x","heartbeat":"99ms"}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"x\u0001"}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"` + strings.Repeat("x", 1025) + `"}`, nil},
		{BadRequest, "kv.watch.app", `{"deliver":"x` + strings.Repeat(".x", 64) + `"}`, nil},
		{BadRequest, "kv.watch.app", ``, nil},
		{NoBucket, "bucket.info.none", "", nil},
	} {
		r.expectError(c.want, c.subject, c.body, c.headers...)
	}
	require.EqualValues(t, 2, r.store.Applied().Index, "of all these only the put to a missing bucket is logged")
	require.Contains(t, string(r.ask("bucket.add.b", `{"histroy":2}`).Data), "histroy")
}

// A watch may have so many patterns and no more, however short they are (Q12).
func TestPatternsOfAWatchAreBounded(t *testing.T) {
	r := newLeader(t, nil)
	var keys []string
	for i := range watchKeysMax {
		keys = append(keys, strconv.Itoa(i))
	}
	r.expectError(NoWatches, "kv.watch.app", `{"deliver":"x","keys":["`+strings.Join(keys, `","`)+`"]}`)
	r.expectError(BadRequest, "kv.watch.app", `{"deliver":"x","keys":["`+strings.Join(append(keys, "more"), `","`)+`"]}`)
}

// W3: who watches from a revision that is gone is told so, also where it is the last one of the bucket, and not that all is well until the next.
func TestAWatchFromTheLastRevisionThatIsGone(t *testing.T) {
	r := newLeader(t, nil)
	r.ask("kv.put.app.k", "v")
	r.expectError(NoWatches, "kv.watch.app", `{"deliver":"x","from":1}`)
	require.Contains(t, string(r.js(api+"STREAM.PURGE.KV_app", "").Data), `"purged":1`)
	r.expectError(Compacted, "kv.watch.app", `{"deliver":"x","from":1}`)
	r.expectError(NoWatches, "kv.watch.app", `{"deliver":"x","from":2}`)
}

func TestHistoryPurgeIdsAndTimesToLive(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	for _, step := range []struct {
		want, subject, body string
		headers             []string
	}{
		{`{"bucket":"app","cluster_revision":1}`, "bucket.add.app", `{"history":3,"ttl":"1h"}`, nil},
		{`{"bucket":"app","history":3,"ttl":"1h0m0s","created":"1970-01-01T00:00:01Z","revision":0,"cluster_revision":1,"keys":0,"values":0,"bytes":0}`, "bucket.info.app", "", nil},
		{`{"bucket":"app","key":"k","revision":1,"cluster_revision":2}`, "kv.put.app.k", "one", []string{headerMsgID, "id"}},
		{`{"bucket":"app","key":"k","revision":1,"cluster_revision":2,"duplicate":true}`, "kv.put.app.k", "one", []string{headerMsgID, "id"}},
		{`{"bucket":"app","key":"k","revision":2,"cluster_revision":3}`, "kv.put.app.k", "\xff", nil},
		{`{"bucket":"app","key":"k","revision":3,"cluster_revision":4}`, "kv.delete.app.k", "", nil},
		{`{"bucket":"app","key":"k","entries":[{"revision":1,"cluster_revision":2,"operation":"put","value":"one","time":"1970-01-01T00:00:02Z"},` +
			`{"revision":2,"cluster_revision":3,"operation":"put","value_base64":"/w==","time":"1970-01-01T00:00:04Z"},` +
			`{"revision":3,"cluster_revision":4,"operation":"delete","time":"1970-01-01T00:00:05Z"}]}`, "kv.history.app.k", "", nil},
		{`{"bucket":"app","key":"k","entries":[{"revision":2,"cluster_revision":3,"operation":"put","value_base64":"/w==","time":"1970-01-01T00:00:04Z"}],"more":true,"after":2}`,
			"kv.history.app.k", `{"after":1,"limit":1}`, nil},
		{`{"bucket":"app","key":"k","entries":[]}`, "kv.history.app.k", `{"after":3}`, nil},
		{`{"type":"io.raftbus.kv.v1.purge_response","error":{"code":409,"err_code":30005,"description":"wrong revision: have 3","current_revision":3}}`, "kv.purge.app.k", "", []string{headerExpected, "1"}},
		{`{"bucket":"app","key":"k","revision":4,"cluster_revision":5}`, "kv.purge.app.k", "", []string{headerExpected, "3"}},
		{`{"bucket":"app","key":"k","entries":[{"revision":4,"cluster_revision":5,"operation":"purge","time":"1970-01-01T00:00:07Z"}]}`, "kv.history.app.k", "", nil},
		{`{"type":"io.raftbus.kv.v1.put_response","error":{"code":400,"err_code":30018,"description":"ttl disabled: app"}}`, "kv.put.app.k", "v", []string{headerTTL, "5s"}},
		{`{"bucket":"app","cluster_revision":6}`, "bucket.update.app", `{"allow_ttl":true,"description":"d"}`, nil},
		{`{"bucket":"app","history":3,"ttl":"1h0m0s","allow_ttl":true,"description":"d","created":"1970-01-01T00:00:01Z","revision":4,"cluster_revision":1,"keys":0,"values":1,"bytes":41}`, "bucket.info.app", "", nil},
		{`{"bucket":"app","key":"k","revision":5,"cluster_revision":7}`, "kv.put.app.k", "v", []string{headerTTL, "5s"}},
	} {
		r.expect(step.want, step.subject, step.body, step.headers...)
	}
	// The clock of the rig goes by the log: the entry ends when entries of later seconds were applied, and not before.
	require.Eventually(t, func() bool {
		r.ask("kv.put.app.other", "tick")
		return strings.Contains(string(r.ask("kv.get.app.k", "").Data), "30003")
	}, 10*time.Second, 10*time.Millisecond)
	r.expectError(KeyNotFound, "kv.get.app.k", "")
}

// A read at level local is answered without a quorum, and says what it reflects.
func TestLocalReads(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", "")
	r.ask("kv.put.app.k", "v")
	r.node.set(func(n *solo) { n.hold = true })
	defer r.node.release()
	want := `{"bucket":"app","key":"k","revision":1,"cluster_revision":2,"value":"v","time":"1970-01-01T00:00:02Z","read":"local","applied":2,"age_ms":1000}`
	r.expect(want, "kv.get.app.k", "", headerRead, readLocal)
	r.expectError(KeyNotFound, "kv.get.app.none", "", headerRead, readLocal)
	held := r.sendHeld("kv.get.app.k", "", headerRead, "linearizable")
	r.silentSoFar(held)
}

// What a node has that has applied nothing since it started is as old as what it applied last, and not of now.
func TestALocalReadAfterARestartIsAsOldAsTheStore(t *testing.T) {
	r := newRig(t, func(o *Options) {
		for i, c := range []command.Command{{AddBucket: &command.AddBucket{Name: "app"}}, {Write: &command.Write{Bucket: "app", Key: "k", Value: []byte("v")}}} {
			_, err := o.Store.Apply([]rpc.Entry{{Index: rpc.Index(i + 1), Term: 1, Kind: rpc.EntryCommand, Time: int64(i+1) * int64(time.Second), Data: c.Encode()}})
			require.NoError(t, err)
		}
	})
	r.lead()
	r.expect(`{"bucket":"app","key":"k","revision":1,"cluster_revision":2,"value":"v","time":"1970-01-01T00:00:02Z","read":"local","applied":2,"age_ms":1000}`,
		"kv.get.app.k", "", headerRead, readLocal)
}

func TestLongHistoriesAreCutToThePayload(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.lead()
	for bucket, value := range map[string]string{
		"values": strings.Repeat("v", 400<<10),
		"text":   strings.Repeat("\x00", 50<<10), // six times as long in JSON: all are read at once, and do not fit in one reply
	} {
		r.ask("bucket.add."+bucket, `{"history":64}`)
		for range 6 {
			r.ask("kv.put."+bucket+".k", value)
		}
		var revisions []uint64
		for after, pages := uint64(0), 1; ; pages++ {
			var page historyReply
			require.NoError(t, json.Unmarshal(r.ask("kv.history."+bucket+".k", `{"after":`+strconv.FormatUint(after, 10)+`}`).Data, &page))
			require.NotEmpty(t, page.Entries, bucket)
			for _, e := range page.Entries {
				revisions = append(revisions, e.Revision)
			}
			if after = page.After; !page.More {
				require.Greater(t, pages, 1, bucket)
				break
			}
		}
		require.Equal(t, []uint64{1, 2, 3, 4, 5, 6}, revisions, bucket)
	}
}

func TestLargestValueIsStoredAndATooLargeReplyIsAnError(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", "")
	text := strings.Repeat("x", 1<<20-jetstream.PayloadReserve)
	require.Contains(t, string(r.ask("kv.put.app.k", text).Data), `"revision":1`)
	require.Contains(t, string(r.ask("kv.get.app.k", "").Data), text)
	r.ask("kv.put.app.k", strings.Repeat("\x00", len(text))) // six bytes each, in JSON
	r.expectError(TooLarge, "kv.get.app.k", "")
	raw := r.ask("kv.get.app.k", "", headerReply, replyRaw)
	require.Equal(t, strings.Repeat("\x00", len(text)), string(raw.Data))
	require.Equal(t, nats.Header{headerRevision: {"2"}, headerClusterRevision: {"3"}, headerTime: {"1970-01-01T00:00:03Z"}}, raw.Header)
	r.ask("kv.put.app.k", "")
	require.Contains(t, string(r.ask("kv.get.app.k", "", headerReply, replyRaw).Data), `"value":""`)
	require.Equal(t, nats.CONNECTED, r.service.conn.Status())
	require.Zero(t, r.service.conn.Reconnects)
}

// F11: max_payload is lowered, and the bus does not carry what it carried.
func TestARawValueThatIsTooLargeNowIsAnError(t *testing.T) {
	r := newReturning(t, nil)
	r.ask("kv.put.app.k", strings.Repeat("x", 100_000))
	r.stopNATS()
	r.startNATS(func(o *server.Options) { o.MaxPayload = 10_000 })
	r.expectError(TooLarge, "kv.get.app.k", "", headerReply, replyRaw)
}

func TestListsAreCutToThePayload(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", "")
	const count = 1600 // of 700 bytes each: more than one message
	for i := range count {
		r.ask("kv.put.app."+strconv.Itoa(10_000+i)+strings.Repeat("k", 700), "")
	}
	var got []string
	body := `{"limit":10000}`
	for pages := 1; ; pages++ {
		var page keysReply
		require.NoError(t, json.Unmarshal(r.ask("kv.keys.app", body).Data, &page))
		got = append(got, page.Keys...)
		if !page.More {
			require.Greater(t, pages, 1)
			break
		}
		body = `{"limit":10000,"after":"` + page.After + `"}`
	}
	require.Len(t, got, count)
	require.IsIncreasing(t, got)
}
