package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
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

// Where raftbus answers in the place of a JetStream it would copy from itself, whether its NATS is named or not, and whatever NATS lets its users do. A
// JetStream that does not say who it is, or another cluster's, is one; so is a cluster of the same prefix on another NATS.
func TestAnImportFromItself(t *testing.T) {
	t.Parallel() // it mostly waits
	for prefix, want := range map[string]int{"raftbus": exitUnavailable, "other": exitNotFound, "": exitNotFound} {
		for _, begin := range []func(*testing.T) led{onOpenBus, onSecuredBus} {
			bus := begin(t)
			bus.answer(t, "$JS.API.INFO", &nats.Msg{Header: nats.Header{jetstream.HeaderPrefix: {prefix}}, Data: []byte("{}")})
			for _, named := range [][]string{nil, bus.from} {
				text, code := said(slices.Concat([]string{"import", "--from-js", "app", "--to", "copy"}, bus.into, named)...)
				require.Equal(t, want, code, text)
				require.Equal(t, prefix == "raftbus", strings.Contains(text, "no JetStream answers on $JS.API.>, but raftbus itself: "), text)
			}
			text, code := said(slices.Concat([]string{"import", "--from-js", "app", "--to", "copy"}, begin(t).into, bus.from)...)
			require.Equal(t, exitNotFound, code, text)
		}
	}
}

// A source that does not say who it is is asked for the bucket all the same, however patient the import is.
func TestAnImportWaitsNotForWhoItIsFrom(t *testing.T) {
	t.Parallel() // it mostly waits
	bus := onOpenBus(t)
	asked, err := bus.conn.SubscribeSync("$JS.API.INFO")
	require.NoError(t, err)
	require.NoError(t, bus.conn.Flush())
	ended := make(chan int, 1)
	go func() {
		_, code := said(slices.Concat([]string{"import", "--from-js", "app", "--patience", "1h"}, bus.into)...)
		ended <- code
	}()
	_, err = asked.NextMsg(30 * time.Second)
	require.NoError(t, err)
	select {
	case code := <-ended:
		require.Equal(t, exitNotFound, code)
	case <-time.After(30 * time.Second):
		require.Fail(t, "it waits")
	}
}

// led is a bus on which a leader answers, that has no bucket.
type led struct {
	conn       *nats.Conn // the leader's
	into, from []string   // flags of a client, and of an import from there
}

func onOpenBus(t *testing.T) led {
	conn := onBus(t)
	return newLed(t, conn, []string{"--nats", conn.ConnectedUrl()}, []string{"--from-nats", conn.ConnectedUrl()})
}

// onSecuredBus is a bus as auth init makes it.
func onSecuredBus(t *testing.T) led {
	t.Helper()
	dir := t.TempDir()
	text, code := said("auth", "init", "--nodes", "n1", "--dir", dir, "--serve-default-api")
	require.Equal(t, exitOK, code, text)
	server := natstest.Run(t, embedded.Options{
		ConfigFile: filepath.Join(dir, "nats", "server.conf"), Host: "127.0.0.1", Port: embedded.Random, LeafPort: embedded.Random,
	})
	node, err := nats.NkeyOptionFromSeed(filepath.Join(dir, "nodes", "n1", "clients.nk"))
	require.NoError(t, err)
	conn := natstest.Connect(t, server, node)
	client := filepath.Join(dir, "users", "client.json")
	return newLed(t, conn, []string{"--nats", server.URL(), "--context", client}, []string{"--from-nats", server.URL(), "--from-context", client})
}

func newLed(t *testing.T, conn *nats.Conn, into, from []string) led {
	l := led{conn, into, from}
	l.answer(t, "$JS.API.STREAM.INFO.KV_app", &nats.Msg{Data: []byte(`{"error":{"code":404}}`)})
	l.answer(t, "raftbus.bucket.info.copy", &nats.Msg{Data: []byte(`{"error":{"code":404}}`)})
	return l
}

func (l led) answer(t *testing.T, subject string, with *nats.Msg) {
	t.Helper()
	_, err := l.conn.Subscribe(subject, func(m *nats.Msg) { _ = m.RespondMsg(with) })
	require.NoError(t, err)
	require.NoError(t, l.conn.Flush())
}
