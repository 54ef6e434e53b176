// Package kv is what clients talk to: the key-value service on native subjects, in front of the replicated store.
//
// It parses and checks requests, has writes logged (node.Proposer.Propose) and reads confirmed (ReadIndex), and answers. It
// keeps no data and decides no outcome: package store does, when an entry is applied. It knows no Raft subject and no peer.
//
// Who may say what (design section 4; C5). Only the leader listens. An answer that reveals state is made at the apply of a
// logged entry or after ReadIndex. What any node would say of a request alone (bad key, too large for the bus) is said at
// once. 'busy' and 'full' are said after a ReadIndex begun after the request came: then this node surely led when it came, and
// no other node can have carried out a copy. A node that was deposed meanwhile says 'done' of what applies, and nothing else.
//
// Goroutines, all owned by Service and awaited by Close: the keeper (subscribes and unsubscribes, ends what is overdue), the
// replier (answers of writes), readersCount readers. The callbacks of the subscriptions, on goroutines of nats.go, check and
// pass on; those of the node only pass on.
package kv
