// Package rpc is the contract between two raftbus nodes: the names of Raft's nouns (Term, Index, Entry, Member), the
// commands and returns of IRaftRPC, and how they are written on the wire (protobuf; raftbus.proto is the schema).
//
// It holds no state, starts no goroutine and imports nothing else of ours. Decoders take hostile bytes: they check every
// length before they allocate, and the entries they return share the memory of the message they came in.
package rpc
