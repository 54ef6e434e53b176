// Package watch is the hub that serves watchers, and the rule by which the leader places them: consumers, in the words of JetStream.
// It is two step machines, event in, effects out. There is no clock, no goroutine, no disk and no bus in it: package delivery feeds it what
// the store applied, what the leaf connection heard, the pages that it asked for and the time, and carries out what it says. So
// all it does can be replayed, and the simulator steps it.
//
// A consumer is a record in the log, so every node knows it. The hub of the node that the record names as its host, in that node's present
// boot, serves it; the others only know that it exists (Placer: who is to serve it when the host is gone).
//
// How a consumer gets its entries. First its snapshot: what was stored up to the entry that made it (Record.Start), and what came after until it is sent,
// read from the store page by page. Then all that is stored after, which the hub is fed once, however many watch. Entries that were just stored
// are matched once per distinct filter and sent at once to the consumers that are at the head of the bucket; a consumer that may not be
// sent to (nobody listens, its window is full, the connection is) keeps no more than its position, and later catches up from the
// bucket's ring of recent entries, or from pages of the store. An order of sequence, no gap, none twice (W1, W2) follows from that one
// position: next, the first sequence not yet looked at.
//
// A pull consumer sends to the subject of the first request that waits, and nowhere while none does (pull.go); the rest is the same.
//
// What is held in memory: per consumer its record and position, about 1 KiB and its configuration, and at most one entry held back
// (Limits.HeldBytes in all); the rings (Limits.RingBytes in all); pages being read (Limits.Reads of Limits.PageBytes); requests that wait (pullsMax in all).
package watch
