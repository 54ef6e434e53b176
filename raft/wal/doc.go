// Package wal is the durable log that consensus stands on: the entries, hard states and bases of all Raft groups of a
// node, in preallocated segments, with one write and one sync per Append however many groups or entries it holds.
//
// It decides nothing about Raft. It refuses what no Raft node may ever write (a gap, a term or a vote that goes back), it
// never lets an Append return before what it holds is durable (I10, K49), it never syncs again what failed to sync (D5,
// K53), and it never shortens itself by a byte that may once have been synced (D2). What a disk did to it is noticed before
// it is believed (D1): Open refuses such a log, or, when only data of entries was hit, lists them for repair from a peer.
//
// Two goroutines live here, at most: the caller of Append, and the preparer, which the Log starts and awaits and which makes
// the next segment ahead of need. With Options.Inline, as simulations have it, there is the caller only.
//
// DESIGN.md, beside this file, has the format as byte tables, the steps of recovery, every crash state, and what is
// assumed of disks.
package wal
