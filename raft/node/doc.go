// Package node is the driver of one Raft group on one node: it connects the consensus core with the clock, the disk, the
// bus and a replicated state machine.
//
// Four goroutines, all owned by Node and awaited by Stop; each is a thin shell around a step that decides nothing:
//
//	loop      owns the core, the only writer of consensus state. Waits for the inbox or a tick, takes all that waits, steps
//	          the core, hands out the effects. It never blocks: not on disk, not on the bus, not on the state machine.
//	appender  takes all writes that wait, appends them with one sync, lets the messages go that attest them (group commit).
//	applier   applies one run of committed entries, answers whoever proposed them.
//	loader    reads entries from the log for followers that are far behind.
//
// Everything that happens comes back to the loop as an event in its one bounded inbox. What the bus brings beyond the bound
// is dropped and counted: its sender retries. What clients bring beyond it is refused with ErrBusy.
//
// On a first boot the node gathers the configuration table before there is a core (gather.go).
package node
