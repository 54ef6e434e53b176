package jetstream

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/store/memengine"
)

// A large purge is logged in parts, and the bucket may become read-only, or go, between two of them: what was done in part is not refused (C5).
func TestAPurgeDoneInPartIsNotRefused(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.puts(9)
	for removed, refused := range map[uint64]bool{0: true, 5: false} {
		for _, code := range []store.Code{store.ReadOnly, store.NoBucket, store.Importing} {
			info, err := w.store.Bucket("a")
			require.NoError(t, err)
			first := w.Plan(Request{Subject: "STREAM.PURGE.KV_a", Data: []byte(`{"filter":"$KV.a.x.>"}`), PayloadMax: payloadMax})
			second := first.Write.Done(w.store, store.Result{Count: removed, Rest: &store.Rest{After: "x.1", Through: 9, Incarnation: info.Incarnation}})
			require.False(t, first.Write.Rest)
			require.True(t, second.Write.Rest, "a planned move does not wait for it (L2)")
			require.Equal(t, "x.1", second.Write.Command.PurgeBucket.After)
			require.EqualValues(t, 9, second.Write.Command.PurgeBucket.Through, "what comes meanwhile stays")
			require.Equal(t, refused, len(second.Write.Done(w.store, store.Result{Code: code}).Replies) == 1, "%v after %d entries", code, removed)
		}
	}
}

// puts stores so many keys.
func (w *world) puts(n int) {
	for i := range n {
		w.ask("$KV.a.k"+strconv.Itoa(i), "v")
	}
}

// A bucket that is made anew under the name between two parts of a purge keeps what it has: the rest was of another.
func TestAPurgeInPartsIsOfOneBucket(t *testing.T) {
	for _, puts := range []int{8, 20} { // both fewer than the one before had, and more
		w := newWorld(t)
		w.apply(command.Command{Raise: &command.Raise{Version: command.Version}}.Encode())
		w.bucket("a")
		w.puts(9)
		info, err := w.store.Bucket("a")
		require.NoError(t, err)
		part := store.Result{Count: 5, Rest: &store.Rest{After: "x.1", Through: 9, Incarnation: info.Incarnation}}
		second := w.Plan(Request{Subject: "STREAM.PURGE.KV_a", Data: []byte(`{"filter":"$KV.a.x.>"}`), PayloadMax: payloadMax}).Write.Done(w.store, part)
		third := second.Write.Done(w.store, part)
		require.Equal(t, info.Incarnation, third.Write.Command.PurgeBucket.Incarnation)
		w.ask("STREAM.DELETE.KV_a", "")
		require.Equal(t, Plan{}, third.Write.Done(w.store, part))
		w.bucket("a")
		w.puts(puts)
		require.Equal(t, Plan{}, third.Write.Done(w.store, part), "after %d puts", puts)
	}
}

// What a purge is to keep is looked for first: a bucket that is made anew under the name before the purge is carried out keeps what it has (C1).
func TestAPurgeThatKeepsTheNewestIsOfOneBucket(t *testing.T) {
	w := newWorld(t)
	w.apply(command.Command{Raise: &command.Raise{Version: command.Version}}.Encode())
	w.bucket("a")
	w.puts(9)
	found := w.Plan(Request{Subject: "STREAM.PURGE.KV_a", Data: []byte(`{"keep":3}`), PayloadMax: payloadMax}).Search(w.store, always)
	w.ask("STREAM.DELETE.KV_a", "")
	w.bucket("a")
	w.puts(5)
	require.Contains(t, string(w.carryOut(found)[0].Data), `"err_code":10059`)
	info, err := w.store.Bucket("a")
	require.NoError(t, err)
	require.EqualValues(t, 5, info.Entries)
	w.says(`{"type":"io.nats.jetstream.api.v1.stream_purge_response","success":true,"purged":2}`, "STREAM.PURGE.KV_a", `{"keep":3}`)
}

// A message that says why it marks its key is a marker to all readers, whoever put it: an import takes it for one too.
func TestAPutThatMarksItsKeyIsAMarker(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.ask("$KV.a.k", "v")
	w.ask("$KV.a.k", "", headerMarkerReason, "Remove")
	_, err := w.store.Get("a", "k")
	require.ErrorIs(t, err, store.KeyNotFound)
	last, err := w.store.Last("a", "k")
	require.NoError(t, err)
	require.Equal(t, command.Purge, last.Op)
	require.EqualValues(t, 2, last.Sequence)
	info, err := w.store.Bucket("a")
	require.NoError(t, err)
	require.EqualValues(t, 1, info.Entries)
}

// Native clients are told the operation that nats.go reads from the headers; what says none is what its op says.
func TestNativeClientsAreToldWhatAMarkerIs(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"subject_delete_marker_ttl":1000000000`)
	for want, headers := range map[string][]string{
		"put": {"X", "1"}, "delete": {headerMarkerReason, "Remove", headerTTL, "1s"}, "purge": {headerMarkerReason, "MaxAge"},
	} {
		w.ask("$KV.a."+want, "", headers...)
		last, err := w.store.Last("a", want)
		require.NoError(t, err)
		require.Equal(t, want, OperationOf(&last))
	}
	w.ask("$KV.a.delete", "", headerMarkerReason, "Remove", headerOperation, "PURGE")
	last, err := w.store.Last("a", "delete")
	require.NoError(t, err)
	require.Equal(t, "purge", OperationOf(&last), "what the operation says comes first")
	require.Equal(t, "delete", OperationOf(&store.Entry{Op: command.Delete}))
}

// A put that looks for its bucket first may be logged then: of one that is overdue it is not said that it was not done (C5).
func TestAPutThatLooksFirstMayBeLogged(t *testing.T) {
	plan := newWorld(t).Plan(Request{Subject: "$KV.a.k", PayloadMax: payloadMax})
	require.NotNil(t, plan.Look)
	require.True(t, plan.Writes)
}

// A header that asks for nothing is one like any other.
func Test41_WhatAsksForNothingIsStored(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for i, refused := range refusedHeaders {
		w.refused(refused.err, "$KV.a.k", "v", refused.name, "x", refused.name, "")
		w.says(fmt.Sprintf(`{"stream":"KV_a","domain":"dom","seq":%d}`, i+1), "$KV.a.k", "v", refused.name, "")
		require.Equal(t, []string{""}, w.ask("DIRECT.GET.KV_a.$KV.a.k", "").Header[refused.name])
	}
}

// What a put asks for that cannot be is told by nobody for a bucket that is not there: others may have it (L9).
func TestARefusedPutHearsOfItsBucketFirst(t *testing.T) {
	w := newWorld(t)
	w.bucket("off")
	w.refused(errTTLInvalid, "$KV.off.k", "v", headerTTL, "500ms") // as nats-server, whether there may be one or not
	w.refused(errNoCounters, "$KV.off.k", "v", "Nats-Incr", "1")
	w.status(statusNone, "$KV.none.k", "v", headerTTL, "500ms")
	w.status(statusNone, "$KV.none.k", "v", "Nats-Incr", "1")
}

// Nor is a direct get that cannot be read.
func Test51_ARefusedGetHearsOfItsBucketFirst(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	for _, body := range []string{"", "x", `{"seq":1,"last_by_subj":"$KV.a.x"}`} {
		require.Equal(t, "408", w.ask("DIRECT.GET.KV_a", body).Status[:3])
		w.status(statusNone, "DIRECT.GET.KV_none", body)
		w.status(statusNone, "DIRECT.GET.none", body)
	}
}

// Who may put one key may empty its bucket by one header, unless the bucket takes none (as nats-server).
func Test41_ABucketMayTakeNoRollups(t *testing.T) {
	w := newWorld(t)
	w.bucket("a", `"allow_rollup_hdrs":false`)
	w.puts(2)
	for _, rollup := range []string{"sub", "all"} {
		w.refused(errRollupDenied, "$KV.a.k", "v", headerRollup, rollup, headerMsgID, "refused")
	}
	w.status(statusNone, "$KV.none.k", "v", headerRollup, "sub")
	info, err := w.store.Bucket("a")
	require.NoError(t, err)
	require.EqualValues(t, 2, info.Entries)
	w.says(`{"stream":"KV_a","domain":"dom","seq":3}`, "$KV.a.l", "", headerOperation, "PURGE")
	w.ask("STREAM.UPDATE.KV_a", config("a"))
	w.says(`{"stream":"KV_a","domain":"dom","seq":4}`, "$KV.a.l", "v", headerRollup, "all", headerMsgID, "done")
	w.ask("STREAM.UPDATE.KV_a", config("a", `"allow_rollup_hdrs":false`))
	w.says(`{"stream":"KV_a","domain":"dom","seq":4,"duplicate":true}`, "$KV.a.l", "v", headerRollup, "all", headerMsgID, "done") // C4
	w.store, err = store.Open(store.Options{Engine: memengine.New(), ManualFlush: true})
	require.NoError(t, err)
	require.NoError(t, w.store.Close())
	w.refused(errUnavailable, "$KV.a.k", "v", headerRollup, "sub")
}

// A further account's client that makes its bucket as it is hears so once the account listens to the bucket: its first put would find nobody.
func Test31_ABucketThatIsThereIsToldOnceItIsHeard(t *testing.T) {
	w := newWorld(t)
	told := config("a", `"republish":{"src":"$KV.a.*","dest":"news.$1"}`)
	w.ask("STREAM.CREATE.KV_a", told)
	w.Account = "b"
	plan := w.Plan(Request{Subject: "STREAM.CREATE.KV_a", Data: []byte(told), Now: w.now, PayloadMax: payloadMax, Reply: "_INBOX.reply"}).Look(w.store)
	require.Contains(t, string(plan.Replies[0].Data), `"did_create":true`)
	require.Equal(t, "a", plan.Tells)
}

// A build that only told the setting stored it for whoever did not say it, as async-nats: those buckets take purges as they did.
func Test41_WhatWasOnlyToldIsNotHeeded(t *testing.T) {
	require.True(t, TakesRollups(&command.Settings{Echo: []byte(`{"deny_rollup":true}`)}))
	require.True(t, configOf("a", command.Settings{Echo: []byte(`{"deny_rollup":true}`)}).AllowRollup)
	require.False(t, TakesRollups(&command.Settings{Echo: []byte(`{"no_rollup":true}`)}))
}

func Test41_MessageIDs(t *testing.T) {
	w := newWorld(t)
	w.bucket("a")
	w.says(`{"stream":"KV_a","domain":"dom","seq":1}`, "$KV.a.k", "v", headerMsgID, "one")
	w.says(`{"stream":"KV_a","domain":"dom","seq":1,"duplicate":true}`, "$KV.a.k", "v", headerMsgID, "one")
	w.refused(errBadRequest.says("bad request: header Nats-Msg-Id may have 1024 bytes, and has 1025"), "$KV.a.k", "v", headerMsgID, strings.Repeat("i", command.MsgIDBytesMax+1))
	w.says(`{"stream":"KV_a","domain":"dom","seq":2}`, "$KV.a.k", "v", headerMsgID, "two", headerExpectedMsgID, "one")
	w.refused(errWrongLastMsgID.says("wrong last msg ID: two"), "$KV.a.k", "v", headerExpectedMsgID, "one")
	w.now = w.now.Add(3 * time.Minute)
	w.says(`{"stream":"KV_a","domain":"dom","seq":3}`, "$KV.a.k", "v", headerMsgID, "one")
	w.says(`{"stream":"KV_a","domain":"dom","seq":4}`, "$KV.a.k", "v", headerMsgID, strings.Repeat("i", command.MsgIDBytesMax))
}
