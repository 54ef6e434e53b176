package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// said runs a command, and returns what it prints and its exit code.
func said(args ...string) (string, int) {
	root := newRoot(func(string) (string, bool) { return "", false })
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	code := report(&out, root.Execute())
	return out.String(), code
}

// The log commands say what is damaged, and where: a payload is listed and the rest is read, a header ends the reading. Nothing is written.
func TestLogOfADamagedDisk(t *testing.T) {
	dir := t.TempDir()
	l, err := wal.Open(vfs.Default, filepath.Join(dir, "wal"), wal.Options{SegmentBytes: 8 << 10})
	require.NoError(t, err)
	b := wal.Batch{Base: &wal.Base{Configuration: []byte("table")}, HardState: &rpc.HardState{Term: 2, Vote: "n1"}}
	for i := rpc.Index(1); i <= 3; i++ {
		b.Entries = append(b.Entries, rpc.Entry{Index: i, Term: 2, Kind: rpc.EntryCommand, Time: 1, Data: []byte(strings.Repeat("x", 100))})
	}
	require.NoError(t, l.Append(b))
	require.NoError(t, l.Close())
	text, code := said("log", "verify", "--dir", dir)
	require.Equal(t, exitOK, code, text)

	var records []recordLine
	read := func(flags ...string) int {
		text, code := said(append([]string{"log", "dump", "--dir", dir, "--json"}, flags...)...)
		records = nil
		for line := range strings.Lines(text) {
			var r recordLine
			if json.Unmarshal([]byte(line), &r) == nil {
				records = append(records, r)
			}
		}
		return code
	}
	for flags, want := range map[string][]uint64{
		"--from 2": {2, 3}, "--to 2": {1, 2}, "--from 2 --to 2": {2}, "--from 1 --to 3": {1, 2, 3}, "--from 4": nil, "--from 0 --to 0": {1, 2, 3},
	} {
		require.Equal(t, exitOK, read(strings.Fields(flags)...), flags)
		var listed []uint64
		for _, r := range records {
			if r.Kind == "entry" {
				listed = append(listed, r.Index)
			}
		}
		require.Equal(t, want, listed, flags)
	}
	text, code = said("log", "dump", "--dir", dir, "--from", "3", "--to", "2")
	require.Equal(t, exitUsage, code, text)
	require.Contains(t, text, "--from 3, --to 2: no entry is among these")

	require.Equal(t, exitOK, read())
	second := records[len(records)-2]
	require.Equal(t, recordLine{Segment: second.Segment, Offset: second.Offset, Kind: "entry", Index: 2, Term: 2, Entry: "command", Time: second.Time, Bytes: 100}, second)

	file := filepath.Join(dir, "wal", second.Segment)
	flip := func(offset int64) []byte {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		content[offset] ^= 1
		require.NoError(t, os.WriteFile(file, content, 0o600))
		return content
	}
	flip(second.Offset + 100) // in the payload
	require.Equal(t, exitError, read())
	require.True(t, records[len(records)-2].Damaged)
	require.False(t, records[len(records)-1].Damaged)
	text, code = said("log", "dump", "--dir", dir, "--from", "3")
	require.Equal(t, exitError, code, "what is damaged is not listed, and damaged all the same")
	require.Contains(t, text, "1 entries are damaged, the first in segment "+second.Segment)
	text, code = said("log", "verify", "--dir", dir)
	require.Equal(t, exitError, code)
	require.Contains(t, text, "1 entries are damaged, the first in segment "+second.Segment)
	require.Contains(t, text, "(entry 2 of term 2)")

	before := flip(second.Offset + 8) // in the header
	text, code = said("log", "verify", "--dir", dir, "--json")
	require.Equal(t, exitError, code)
	var r logReport
	require.NoError(t, json.Unmarshal([]byte(text[:strings.Index(text, "\n")]), &r))
	require.Contains(t, r.Problem, "segment "+second.Segment+" is damaged at offset ")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
}
