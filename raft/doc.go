// Package raft is the consensus core: Raft (Ongaro's thesis, 2014) as a pure step machine. Events go in by Step, effects come
// out of Effects; nothing else happens. The package has no goroutine, no clock, no randomness of its own, does no I/O and
// does not log, so that any run can be replayed from its events.
//
// The driver (package raft/node) calls Step for everything that waits, then Effects once, and then
//
//   - hands Effects.Send to the bus at once;
//   - hands Effects.Write and Effects.SendAfterSync to the appender: those messages leave only after that write, and all
//     writes before it, are durable; then it steps DiskDone;
//   - hands Effects.Apply to the applier, and steps ApplyDone when reads see it;
//   - answers Effects.Proposed, Effects.Reconfigured and Effects.Reads, reads Effects.Loads from the log, sends Effects.Pings;
//   - streams its state to Effects.Snapshots, stores the commands of Effects.Chunks and lets the streams go on by its returns,
//     puts a stored snapshot in the place of the state for Effects.Install, and lets the log begin at Effects.Compact;
//   - lets the bus listen to whom RosterChanged names, a fact like what else an operator may want to know.
//
// What an effect may wait for is part of its kind, so that no vote and no ack can leave before the state it attests
// (I10). A message that attests nothing unsynced is in Send; when in doubt the core chooses SendAfterSync.
//
// The cursors of a node's log, all monotonic (I8) but last, submitted and synced, which fall when a suffix is replaced:
//
//	base <= applied <= min(committed, synced)       base: entries up to here are forgotten, or came as a snapshot
//	        synced <= submitted <= last             submitted: given to the disk; synced: known durable
//	                  matched <= last               matched: known equal to this term's leader's log
//	        committed <= matched                    on a follower, for what this term taught it
//
// Who belongs to the cluster is said by the log: its last configuration is in force, committed or not. All counting is by that
// one, and by instances: a member whose disk was lost is another (membership.go).
//
// Time is counted in ticks that the driver steps; those that do nothing it may step together (Quiet). No safety rule reads them: timeouts,
// pings and 'no responders' decide only when to ask for an election, never how it ends.
//
// A broken invariant panics with *InvariantError; the driver stops the node. Where we leave the thesis: DESIGN.md.
package raft
