// Package memengine is an engine for kv/store in memory, for the simulator and for tests: the very store that runs on
// Pebble runs on it, on one goroutine, thousands of times a second. It passes the same conformance suite as Pebble.
//
// It has durability without a disk: a Memory is what a disk would be, and Crash gives another with what was durable. It has
// no goroutine, no clock and no randomness: what it does follows from the calls alone. It counts nothing and frees nothing;
// the product does not use it.
package memengine
