// Package bench puts a key-value store under load and measures what its clients see. It knows stores by an interface (Store), so
// that others than raftbus can be measured by the same code, and neither starts nor stops one.
//
// There are two kinds of load. In a closed loop each client sends its next operation when the one before is done: what the store
// gives to so many clients. In an open loop operations are due at a fixed rate, whatever the store does, and the latency of each
// counts from when it was due: a store that stalls for a second has a second in its percentiles for all that was due in it, and
// not only for those that happened to be under way (no coordinated omission).
//
// Everything is bounded: clients, keys, time, and what each operation may take. When the context ends, what was measured so far
// is the report.
package bench
