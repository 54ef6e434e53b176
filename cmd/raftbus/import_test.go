package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/kv/jetstream"
)

// Scripts tell by its exit code whether an import that was broken off may be gone on with.
func TestExitCodesOfAnImport(t *testing.T) {
	for kind, want := range map[kv.ErrorKind]int{
		kv.OutcomeUnknown: exitTimeout, kv.Unavailable: exitNoLeader, kv.Busy: exitNoLeader, kv.NoBucket: exitNotFound, kv.BucketExists: exitConflict,
		kv.StreamTaken: exitRefused, kv.BadRequest: exitRefused, kv.Full: exitRefused,
	} {
		err := (&importFlags{}).failure(fmt.Errorf("it says: %w", &native.Failure{ErrCode: kind.ErrCode}))
		require.Equal(t, want, exitCode(err), kind)
	}
}

// A refusal ends all commands alike, and each kind has a code of its own, but for those that say that a node or its disk is not well. What is wrong with
// a request is the command line's fault in the one, and the bucket's in the other.
func TestARefusalEndsAllCommandsAlike(t *testing.T) {
	for _, kind := range kv.ErrorTable {
		ofKV := exitCode(clientFailure(&native.Failure{ErrCode: kind.ErrCode}, "raftbus"))
		ofImport := exitCode((&importFlags{}).failure(&native.Failure{ErrCode: kind.ErrCode}))
		if ofKV == exitUsage {
			ofKV = exitRefused
		}
		require.Equal(t, ofKV, ofImport, kind.Name)
		require.Equal(t, kind == kv.UnknownOp || kind == kv.ReadFailed, ofKV == exitError, kind.Name)
	}
	require.Equal(t, exitNoLeader, exitCode(clientFailure(&native.Failure{ErrCode: kv.Busy.ErrCode}, "raftbus")))
}

// Of two buckets of one name the right one is removed: the copy by raftbus' own command, the original by a context that does not mean the copy.
func TestAnImportSaysWhichBucketToRemove(t *testing.T) {
	f := &importFlags{bucket: "app", name: "orders"}
	exists := f.failure(&native.Failure{ErrCode: kv.BucketExists.ErrCode}).Error()
	require.Contains(t, exists, "'raftbus bucket rm orders'")
	require.NotContains(t, exists, "nats kv")
	require.Contains(t, f.failure(&native.Failure{ErrCode: kv.StreamTaken.ErrCode}).Error(),
		"from that JetStream, with a context that names no domain of raftbus ('nats kv rm app')")
}

// Where no JetStream is, nobody leads is not what is wrong.
func TestAnImportFromNobody(t *testing.T) {
	text, code := said("import", "--from-js", "app", "--from-domain", "hub", "--nats", onBus(t).ConnectedUrl())
	require.Equal(t, exitUnavailable, code, text)
	require.Contains(t, text, "no JetStream answers on $JS.hub.API.>: ")
	require.Contains(t, text, "name its domain with --from-domain")
}

// Where raftbus answers in the place of a JetStream it would copy from itself, whether its NATS is named or not. A JetStream that does not say who it is, or
// another cluster's, is one; so is a cluster of the same prefix on another NATS.
func TestAnImportFromItself(t *testing.T) {
	for prefix, want := range map[string]int{"raftbus": exitUnavailable, "other": exitNotFound, "": exitNotFound} {
		conn := onBus(t)
		_, err := conn.Subscribe("$JS.API.INFO", func(m *nats.Msg) {
			_ = m.RespondMsg(&nats.Msg{Header: nats.Header{jetstream.HeaderPrefix: {prefix}}, Data: []byte("{}")})
		})
		require.NoError(t, err)
		_, err = conn.Subscribe("$JS.API.STREAM.INFO.KV_app", func(m *nats.Msg) { _ = m.Respond([]byte(`{"error":{"code":404}}`)) })
		require.NoError(t, err)
		require.NoError(t, conn.Flush())
		for _, named := range [][]string{nil, {"--from-nats", conn.ConnectedUrl()}} {
			text, code := said(append([]string{"import", "--from-js", "app", "--to", "copy", "--nats", conn.ConnectedUrl()}, named...)...)
			require.Equal(t, want, code, text)
			require.Equal(t, prefix == "raftbus", strings.Contains(text, "no JetStream answers on $JS.API.>, but raftbus itself: "), text)
		}
		text, code := said("import", "--from-js", "app", "--to", "copy", "--nats", onBus(t).ConnectedUrl(), "--from-nats", conn.ConnectedUrl())
		require.Equal(t, exitNotFound, code, text)
	}
}
