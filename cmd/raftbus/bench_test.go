package main

import (
	"context"
	"io"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Whether a bucket is there whose making a signal broke off nobody knows (C5): it is said which to look for.
func TestASignalLeavesTheBucketOfABenchmarkInDoubt(t *testing.T) {
	conn := onBus(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := conn.Subscribe("raftbus.bucket.add.raftbus-bench", func(*nats.Msg) { cancel() })
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	err = execute(t, ctx, io.Discard, "bench", "put", "--api", "native", "--timeout", "1m", "--nats", conn.ConnectedUrl())
	require.Equal(t, exitTimeout, exitCode(err), err)
	require.Contains(t, oneLine(err), "interrupted: bucket raftbus-bench may have been made: look with 'raftbus bucket info raftbus-bench'")
}

// Nor does anybody know of one whose making the cluster took, and did not see to its end: a client of NATS KV hears then that its JetStream is unavailable.
func TestABucketThatMayBeMadeIsLeftInDoubt(t *testing.T) {
	conn := onBus(t)
	for subject, answer := range map[string]string{
		"raftbus.bucket.add.raftbus-bench":               `{"error":{"code":504,"err_code":30014,"description":"outcome unknown: not committed within 5s"}}`,
		"$JS.raftbus.API.INFO":                           `{}`,
		"$JS.raftbus.API.STREAM.INFO.KV_raftbus-bench":   `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`,
		"$JS.raftbus.API.STREAM.CREATE.KV_raftbus-bench": `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`,
	} {
		_, err := conn.Subscribe(subject, func(m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Data: []byte(answer), Header: nats.Header{"Nats-Service-Error-Code": {"500"}}})
		})
		require.NoError(t, err)
	}
	require.NoError(t, conn.Flush())
	for api, why := range map[string]string{"native": "not committed within 5s", "kv": "JetStream system temporarily unavailable"} {
		text, code := said("bench", "put", "--api", api, "--nats", conn.ConnectedUrl())
		require.Equal(t, exitTimeout, code, text)
		require.Contains(t, text, why+": bucket raftbus-bench may have been made: look with", api)
	}
}
