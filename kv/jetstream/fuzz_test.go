package jetstream

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Whatever is sent, it is answered once, in a form that clients can read, and what is logged can be decoded.
func FuzzPlan(f *testing.F) {
	for _, seed := range [][4]string{
		{"$KV.a.k", headerTTL, "5s", "value"},
		{"$KV.a.k", headerRollup, "sub", ""},
		{"$KV.a.k", headerExpectedSubject, "7", ""},
		{"STREAM.CREATE.KV_b", headerLevel, "1", config("b", `"republish":{"src":"$KV.b.*","dest":"o.$1"}`)},
		{"STREAM.UPDATE.KV_a", "", "", config("a", `"placement":{"tags":["x"]}`)},
		{"STREAM.INFO.KV_a", "", "", `{"subjects_filter":"$KV.a.>","offset":1}`},
		{"STREAM.NAMES", "", "", `{"offset":1,"subject":"$KV.*.>"}`},
		{"STREAM.LIST", "", "", `{}`},
		{"STREAM.PURGE.KV_a", "", "", `{"filter":"$KV.a.k","keep":1}`},
		{"STREAM.DELETE.KV_a", "", "", ``},
		{"DIRECT.GET.KV_a.$KV.a.k", "", "", ``},
		{"DIRECT.GET.KV_a", "", "", `{"seq":1,"next_by_subj":"$KV.a.>"}`},
		{"DIRECT.GET.KV_a", "", "", `{"batch":2,"start_time":"1970-01-01T00:00:00Z","max_bytes":9}`},
		{"DIRECT.GET.KV_a", "", "", `{"multi_last":["$KV.*.>"],"up_to_seq":1,"batch":2}`},
		{"STREAM.MSG.GET.KV_a", "", "", `{"last_by_subj":"$KV.a.k"}`},
		{"CONSUMER.CREATE.KV_a.c.$KV.a.>", "", "", consumerBody("KV_a", `"filter_subject":"$KV.a.>"`)},
		{"CONSUMER.LIST.KV_a", "", "", ``},
		{"INFO", "", "", ``},
	} {
		f.Add(seed[0], seed[1], seed[2], []byte(seed[3]))
	}
	f.Fuzz(func(t *testing.T, subject, name, value string, body []byte) {
		w := newWorld(t)
		w.bucket("a", `"allow_msg_ttl":true`)
		w.ask("$KV.a.k", "v")
		for _, reply := range w.send(subject, string(body), name, value) {
			requireReadable(t, subject, reply)
		}
		require.NotEmpty(t, w.ask("INFO", "").Data)
	})
}

func requireReadable(t *testing.T, subject string, r Reply) {
	if r.Status != "" {
		require.Empty(t, r.Data)
		require.Regexp(t, `^\d\d\d( [A-Za-z ]+)?(\r\nNats-[A-Za-z-]+: \d+)*$`, r.Status)
		return
	}
	if _, is := r.Header[headerStream]; is || strings.HasPrefix(subject, "DIRECT.GET.") {
		return // a message
	}
	require.True(t, json.Valid(r.Data), "%s", r.Data)
	require.True(t, utf8.Valid(r.Data))
}
