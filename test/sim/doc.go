// Package sim is the simulator: a cluster of nodes that run the production code (the loop of raft/node, the log of raft/wal, the
// links of busclient, the state machine of kv/store) over a simulated bus, disk and clock, on one goroutine, under every fault of
// the fault model, with clients. One number, the seed, decides all of it: the same seed is the same run, to the bit.
//
// What must hold is checked at every step (watch*.go) and of the clients' histories at the end (ledger.go, judge.go). Then the faults end
// for a quorum, and progress is demanded; then for all, and they must come to the same state.
//
// It changes nothing of what it tests and decides nothing for it. DESIGN.md says how it works, BUGS.md what it has found.
package sim
