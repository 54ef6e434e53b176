// Package store is the replicated state of the key-value store: buckets, keys, revisions, history, what expires when, message ids and
// consumers, on an ordered engine (kv/store/engine): Pebble, or in the simulator one in memory. It is the state machine
// (raft/node.StateMachine) that every node of a cluster feeds the same log.
//
// Apply is the only writer, on the caller's goroutine. What a command does follows from the command and the state alone; the
// package reads no clock and no configuration for it. Pebble's write-ahead log is off, since the Raft log is the log: what a crash
// may lose is replayed from it. One goroutine, the flusher, owned by the Store and awaited by Close, bounds how much that is;
// Pebble has its own for flushes and compactions. With Options.ManualFlush there is no flusher: on an engine without goroutines
// the whole store then runs on the caller's.
//
// Reads see one moment of the state. Who begins a view waits for who commits, as Apply does, and so for the disk where that has
// commits wait (engine/gather.go, engine/backlog.go; F22); who has one waits for nobody who writes. Reads are in eight files:
//
//	look.go     what is over in a bucket
//	scan.go     by sequence, and what a bucket holds in terms of sequences
//	eachkey.go  keys in order, as a txn sees them
//	search.go   what may look at all of a bucket
//	lowest.go   the lowest of many sequences
//	page.go     parts of a bucket's entries, for histories and watches
//	cursor.go   up to where nothing is left
//	read.go     the rest: buckets, keys and entries by name
//
// What takes time the log's leader proposes: Due and NextDue say what is over, Apply decides. Follow has a watcher told of what
// each Apply has changed.
//
// It knows no bus and no client, and judges no names: package kv does that before a command is logged. DESIGN.md has the stored
// formats as tables.
package store
