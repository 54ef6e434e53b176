package linear

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What an answer means, and that one which means nothing is no unknown outcome.
func TestAnswersMeanSomethingOrFail(t *testing.T) {
	put, get := Input{Kind: Put, Key: "app.k"}, Input{Kind: Get, Key: "app.k"}
	named := Input{Kind: Put, Key: "app.k", ID: "x"}
	update, remove := Input{Kind: Update, Key: "app.k", Expected: 1}, Input{Kind: Delete, Key: "app.k"}
	create, bucket := Input{Kind: Create, Key: "app.k"}, Input{Kind: MakeBucket, Key: "app"}
	const ok = `{"bucket":"app","key":"k","revision":3,"cluster_revision":7}`
	said := func(code string) string {
		return `{"type":"t","error":{"code":1,"err_code":` + code + `,"description":"why"}}`
	}
	for _, is := range []struct {
		in     Input
		answer string
		want   Output
	}{
		{put, ok, Output{Revision: 3, Cluster: 7}},
		{get, `{"bucket":"app","key":"k","revision":3,"cluster_revision":7,"value":"v"}`, Output{Found: true, Value: "v", Revision: 3, Cluster: 7}},
		{named, `{"bucket":"app","key":"k","revision":3,"cluster_revision":7,"duplicate":true}`, Output{Again: true, Revision: 3, Cluster: 7}},
		{bucket, `{"bucket":"app","cluster_revision":7}`, Output{Cluster: 7}},
		{get, said("30003"), Output{Said: "why"}},
		{get, said("30016"), Output{Outcome: NotDone, Said: "why"}},
		{remove, said("30003"), Output{Outcome: Refused, Said: "why"}},
		{create, said("30004"), Output{Outcome: Refused, Said: "why"}},
		{update, said("30005"), Output{Outcome: Refused, Said: "why"}},
		{bucket, said("30002"), Output{Outcome: Refused, Said: "why"}},
		{put, said("30001"), Output{Outcome: NoBucket, Said: "why"}},
		{put, said("30012"), Output{Outcome: NotDone, Said: "why"}},
		{put, said("30013"), Output{Outcome: NotDone, Said: "why"}},
		{get, said("30015"), Output{Outcome: NotDone, Said: "why"}},
		{put, said("30014"), Output{Outcome: Unknown, Said: "why"}},
	} {
		require.Equal(t, is.want, Understand(is.in, []byte(is.answer)), "%v %s", is.in.Kind, is.answer)
	}
	for _, is := range []struct {
		in     Input
		answer string
	}{
		{put, ""}, {put, "yes"}, {put, "null"}, {put, "7"}, {put, "[]"}, {put, "{}"}, {get, "{}"}, {bucket, "{}"}, {put, ok + ok},
		{put, `{"bucket":"other","key":"k","revision":3,"cluster_revision":7}`},
		{put, `{"bucket":"app","key":"j","revision":3,"cluster_revision":7}`},
		{put, `{"bucket":"app","key":"k","cluster_revision":7}`},
		{put, `{"bucket":"app","key":"k","revision":3}`},
		{put, `{"bucket":"app","key":"k","revision":3,"cluster_revision":7,"duplicate":true}`}, // of no message id
		{bucket, ok},
		{put, `{"error":{}}`}, {put, said("30003")}, {put, said("30004")}, {put, said("30005")}, {put, said("30099")}, {put, said("30011")},
		{update, said("30003")}, {create, said("30003")}, {get, said("30005")}, {get, said("30014")}, {put, said("30016")}, {put, said("30002")},
	} {
		require.Equal(t, Output{Outcome: NotUnderstood, Said: is.answer}, Understand(is.in, []byte(is.answer)), "%v", is.in.Kind)
	}
}
