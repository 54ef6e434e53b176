// Package busclient is all communication between this node and its peers, over NATS. It knows nothing of the consensus
// core nor of what is replicated: it carries the calls of rpc.IRaftRPC, says which peers can be reached, and lets nobody in
// who is not who he says he is.
//
//	Service.Using(peer) ─> IRaftClient ─> its state: connected ─> a round is opened, one message leaves ─> NATS
//	                                                 broken    ─> ErrConnectionBroken at once, nothing is queued
//	NATS ─> decoded and checked on the callback ─> Owner.Receive   (a command; Service.Answer sends the return)
//	                                            ─> the open round  (a return: done is called, once)
//
// With multicast, AppendLogs and CommitLogs that several peers are to get alike leave as one message (multicast.go), to those of
// them that are in step (step.go) and have said in their pings that they listen. A round is open at each of them, as if it had been called
// alone; those who were left out are called alone by whoever asked. 'No responders' is said of one peer only on its own subject: so a
// peer that is gone shows by its pings and heartbeats.
//
// Goroutines. A service has one, which drives the links of all peers: it is a thin shell around Turn, and a simulator calls
// Turn in its place (test/sim does so with what is exported). All else happens on the goroutines of the callers and of the bus, one that reads per connection (lane.go; over TLS one per
// subscription): these decode, check and hand over, and never wait. What is sent is written by who sends it; a goroutine writes only
// what the system did not take at once. What must not block is said at each function that is handed in.
//
// Members come and go: Admit says who may speak, and Owner.Learned brings what others say about that (learn.go). Of a member only
// the newest start counts that has answered this node (starts.go).
//
// What a peer says decides nothing here but whether its link is connected: no timeout and no 'no responders' changes a
// term, a vote or a log (fault model section 1).
package busclient
