// Package delivery is what runs package watch on a node: the goroutines around its step machines, which decide nothing.
//
// Service feeds the hub what the store has applied, what the leaf connection has heard, the pages that it asked for and the time, and
// carries out what it says; it announces the node to the others, and has the moves and removals logged that the placer proposes while
// this node leads.
//
// Goroutines, all owned by Service and awaited by Close: the server (steps the hub), the readers (pages of the store), the warden
// (announces, proposes). The follower of the store, on the goroutine that applies, and the callbacks of the leaf connection and of NATS
// put into the inbox and wait for nothing. The inbox is bounded: what was applied and does not fit is forgotten, and the
// server then takes the consumers from the store, as after a snapshot; watchers read what they have not got.
package delivery
