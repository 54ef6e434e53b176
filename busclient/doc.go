// Package busclient is all communication between this node and its peers, over NATS. It knows nothing of the consensus
// core nor of what is replicated: it carries the calls of rpc.IRaftRPC, says which peers can be reached, and lets nobody in
// who is not who he says he is.
//
//	Service.Using(peer) ─> IRaftClient ─> its state: connected ─> a round is opened, one message leaves ─> NATS
//	                                                 broken    ─> ErrConnectionBroken at once, nothing is queued
//	NATS ─> decoded and checked on the callback ─> Owner.Receive   (a command; Service.Answer sends the return)
//	                                            ─> the open round  (a return: done is called, once)
//
// Goroutines. A service has one, which drives the links of all peers: it is a thin shell around Turn, and a simulator calls
// Turn in its place. All else happens on the goroutines of the callers and of the bus, one per subscription: these decode,
// check and hand over, and never wait. What must not block is said at each function that is handed in.
//
// What a peer says decides nothing here but whether its link is connected: no timeout and no 'no responders' changes a
// term, a vote or a log (fault model section 1).
package busclient
