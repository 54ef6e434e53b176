package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/linear"
)

// What an answer means, and that one which means nothing is no unknown outcome.
func TestAnswersMeanSomethingOrFail(t *testing.T) {
	put, get := linear.Input{Kind: linear.Put, Key: "app.k"}, linear.Input{Kind: linear.Get, Key: "app.k"}
	named := linear.Input{Kind: linear.Put, Key: "app.k", ID: "x"}
	update, remove := linear.Input{Kind: linear.Update, Key: "app.k", Expected: 1}, linear.Input{Kind: linear.Delete, Key: "app.k"}
	create, bucket := linear.Input{Kind: linear.Create, Key: "app.k"}, linear.Input{Kind: linear.MakeBucket, Key: "app"}
	const ok = `{"bucket":"app","key":"k","revision":3,"cluster_revision":7}`
	said := func(code string) string {
		return `{"type":"t","error":{"code":1,"err_code":` + code + `,"description":"why"}}`
	}
	for _, is := range []struct {
		in     linear.Input
		answer string
		want   linear.Output
	}{
		{put, ok, linear.Output{Revision: 3, Cluster: 7}},
		{get, `{"bucket":"app","key":"k","revision":3,"cluster_revision":7,"value":"v"}`, linear.Output{Found: true, Value: "v", Revision: 3, Cluster: 7}},
		{named, `{"bucket":"app","key":"k","revision":3,"cluster_revision":7,"duplicate":true}`, linear.Output{Again: true, Revision: 3, Cluster: 7}},
		{bucket, `{"bucket":"app","cluster_revision":7}`, linear.Output{Cluster: 7}},
		{get, said("30003"), linear.Output{Said: "why"}},
		{get, said("30016"), linear.Output{Outcome: linear.NotDone, Said: "why"}},
		{remove, said("30003"), linear.Output{Outcome: linear.Refused, Said: "why"}},
		{create, said("30004"), linear.Output{Outcome: linear.Refused, Said: "why"}},
		{update, said("30005"), linear.Output{Outcome: linear.Refused, Said: "why"}},
		{bucket, said("30002"), linear.Output{Outcome: linear.Refused, Said: "why"}},
		{put, said("30001"), linear.Output{Outcome: linear.NoBucket, Said: "why"}},
		{put, said("30012"), linear.Output{Outcome: linear.NotDone, Said: "why"}},
		{put, said("30013"), linear.Output{Outcome: linear.NotDone, Said: "why"}},
		{get, said("30015"), linear.Output{Outcome: linear.NotDone, Said: "why"}},
		{put, said("30014"), linear.Output{Outcome: linear.Unknown, Said: "why"}},
	} {
		require.Equal(t, is.want, Understand(is.in, []byte(is.answer)), "%v %s", is.in.Kind, is.answer)
	}
	for _, is := range []struct {
		in     linear.Input
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
		require.Equal(t, linear.Output{Outcome: linear.NotUnderstood, Said: is.answer}, Understand(is.in, []byte(is.answer)), "%v", is.in.Kind)
	}
}
