// Package node is the driver of one Raft group on one node: it connects the consensus core with the clock, the disk, the
// bus and a replicated state machine.
//
// Seven goroutines, all owned by Node and awaited by Stop; each is a thin shell around a step that decides nothing, so that a
// simulator can take the steps itself (steps.go):
//
//	loop      takes turns: all that waits in the inbox, the core stepped with it, the effects handed out. A turn never blocks: not on
//	          disk, not on the bus, not on the state machine. Who brings something often takes the turn in its place (turns.go).
//	appender  takes all writes that wait, appends them with one sync, lets the messages go that attest them (group commit).
//	applier   applies one run of committed entries, answers whoever proposed them; or installs a snapshot.
//	loader    reads entries from the log for followers that are far behind.
//	cutter    reads the state for snapshots that are sent, a chunk at a time (streams.go).
//	receiver  stores and verifies a snapshot that is received (receiver.go).
//	compactor looks how much of the log may be forgotten, and cuts it (compactor.go). Beside that it writes down what is known
//	          of the peers' starts (starts.go).
//
// An eighth is there now and then: a timer's, which takes a turn when proposals have waited long enough for others to go with them (commitdelay.go).
// Small writes and short runs are done in the appender's and the applier's place by who took the turn, after it, if that may wait (spot.go).
//
// Everything that happens comes back as an event in its one bounded inbox. What the bus brings beyond the bound
// is dropped and counted: its sender retries. What clients bring beyond it is refused with ErrBusy.
//
// On a first boot the node gathers the configuration table before there is a core (gather.go); a node that is to join a cluster waits
// until it was added (joining.go).
package node
