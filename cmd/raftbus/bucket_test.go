package main

// The bucket commands, and the flags of a write: what is given is what is asked for.

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

func TestEachSettingThatIsGivenIsAskedFor(t *testing.T) {
	flags := pflag.NewFlagSet("bucket", pflag.ContinueOnError)
	settingsFlags(flags)
	require.NoError(t, flags.Parse([]string{
		"--history=5", "--ttl=1h", "--allow-ttl", "--marker-ttl=30s", "--duplicate-window=90s", "--max-value-size=64KiB", "--max-bytes=1GiB",
		"--read-only=false", "--description=who", "--metadata=a=1,b=2",
	}))
	want := map[string]any{
		"history": uint64(5), "ttl": "1h0m0s", "allow_ttl": true, "marker_ttl": "30s", "duplicate_window": "1m30s", "max_value_size": uint64(64 << 10),
		"max_bytes": uint64(1 << 30), "read_only": false, "description": "who", "metadata": map[string]string{"a": "1", "b": "2"},
	}
	require.Equal(t, want, settingsOf(flags))
	flags.VisitAll(func(flag *pflag.Flag) {
		require.Contains(t, want, strings.ReplaceAll(flag.Name, "-", "_"), "try it here too")
	})
	flags = pflag.NewFlagSet("bucket", pflag.ContinueOnError)
	settingsFlags(flags)
	require.Empty(t, settingsOf(flags), "what is not given stays")
}

func TestABucketIsShownWhole(t *testing.T) {
	var shown bytes.Buffer
	require.NoError(t, printInfo(&shown, &native.Info{
		Bucket: "app", History: 5, TTL: "1h0m0s", MaxValueSize: 64 << 10, MaxBytes: 1 << 30, AllowTTL: true, MarkerTTL: "30s", DuplicateWindow: "1m30s",
		Description: "who", Metadata: map[string]string{"a": "1", "b": "\x1b[2J"}, Created: "2026-01-02T03:04:05Z", Revision: 7, ClusterRevision: 8, Keys: 2, Values: 3,
		Bytes: 1025, ReadOnly: true, Importing: true,
	}))
	require.Equal(t, strings.TrimLeft(`
bucket            app
description       who
keys              2
values            3
bytes             1025
revision          7
created           2026-01-02T03:04:05Z
history           5
ttl               1h0m0s
allow ttl         true
marker ttl        30s
duplicate window  1m30s
max value size    64KiB
max bytes         1GiB
metadata          "map[a:1 b:\x1b[2J]"
read only         true
being imported    read only until 'raftbus import' has ended
`, "\n"), shown.String())
}

func TestNumbersOfBytesComeBackExactly(t *testing.T) {
	for text, want := range map[string]byteSize{
		"0": 0, "1023": 1023, "1536": 1536, "1KiB": 1 << 10, "1025KiB": 1025 << 10, "3MiB": 3 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40, "2048TiB": 2 << 50,
	} {
		var b byteSize
		require.NoError(t, b.Set(text))
		require.Equal(t, want, b, text)
		require.Equal(t, text, b.String())
	}
}

func TestHowLongAValueMayBeAskedToLive(t *testing.T) {
	for _, ttl := range []string{"never", "1s", "90s"} {
		f := &writeFlags{ttl: ttl}
		require.NoError(t, f.check(), ttl)
		header := f.header()
		require.Equal(t, ttl, header.Get("Nats-TTL"))
		require.NotEmpty(t, header.Get(nats.MsgIdHdr))
	}
	for _, ttl := range []string{"999ms", "soon", "5"} {
		require.Equal(t, exitUsage, exitCode((&writeFlags{ttl: ttl}).check()), ttl)
	}
}
