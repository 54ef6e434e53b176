package wal

// The format stays: a node must open what an older build wrote, and an older build what a newer one wrote.

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

// writeOldLog writes what the first build of the format was made to write.
func writeOldLog(t *testing.T, fs vfs.FS) model {
	l := openTest(t, fs)
	m := model{}
	add := func(bs ...Batch) {
		require.NoError(t, l.Append(bs...))
		m = m.with(bs...)
	}
	add(Batch{Group: 1, Base: &Base{Configuration: []byte("the table")}}, Batch{Group: 2, HardState: &rpc.HardState{Term: 1, Vote: "n3"}})
	for i := rpc.Index(1); i < 60; i++ {
		es := entries(rpc.Term(1+i/20), i, i+1)
		es[0].Data = make([]byte, int(i)*7)
		add(Batch{Group: 1, HardState: &rpc.HardState{Term: rpc.Term(1 + i), Vote: "n1"}, Entries: es})
	}
	add(Batch{Group: 1, Entries: entries(9, 40, 44)}, Batch{Group: 2, Entries: entries(2, 1, 3)})
	base := Base{ID: rpc.EntryID{Term: 2, Index: 30}, Configuration: []byte("later")}
	require.NoError(t, l.Compact(1, base))
	m = m.with(Batch{Group: 1, Base: &base})
	add(Batch{Group: 2, Base: &Base{ID: rpc.EntryID{Term: 7, Index: 70}}})
	require.NoError(t, l.Close())
	return m
}

// TestFormatStays compares with the bytes that the first build wrote, which are in the log's segments up to the active one.
func TestFormatStays(t *testing.T) {
	fs := vfs.NewMem()
	m := writeOldLog(t, fs)
	l := openTest(t, fs)
	m.check(t, l)
	active := l.active.name
	require.NoError(t, l.Close())
	h := sha256.New()
	d := readDisk(t, fs)
	for _, name := range d.names() {
		if name <= active {
			fmt.Fprintln(h, name)
			h.Write(d[name])
		}
	}
	require.Equal(t, "9aaa6b52178bab1856efbd92852eb1be884290301ccdd0dda3723bffcdf817a8", fmt.Sprintf("%x", h.Sum(nil)))
}
