// Package kv is what clients talk to: the key-value service, on native subjects and on those of NATS KV clients (package
// jetstream), in front of the replicated store.
//
// It parses and checks requests, has writes logged (node.Proposer.Propose) and reads confirmed (ReadIndex), and answers. Both
// protocols become the same work (work.go), which is carried out in one way (course.go). It keeps no data and decides no outcome:
// package store does, when an entry is applied. It knows no Raft subject and no peer.
//
// Who may say what (design section 4; C5). Only the leader listens. An answer that reveals state is made at the apply of a
// logged entry or after ReadIndex. What any node would say of a request alone (bad key) is said at once. 'busy', 'full' and 'too large', as each node
// hears by itself what the bus carries, are said after a ReadIndex begun after the request came: then this node surely led when it came, and
// no other node can have carried out a copy. A node that was deposed meanwhile says 'done' of what applies, and nothing else.
//
// A leader that is about to stop listening hushes first, so that a client that asks again loses nothing between two NATS servers (hush.go).
//
// A node that serves several accounts of NATS has a Service for each (Q7), with bounds of its own (Q12; inflight.go). What is done once, expiry and
// republishing, the first account's does.
//
// Watches are consumers: records like other data, which their hosts serve and answer for (package delivery).
//
// Beside answering, a leader proposes the expiry of what is over (expirer.go), and publishes again what buckets say (republish.go).
//
// Goroutines, all owned by Service and awaited by Close: the keeper (subscribes and unsubscribes, ends what is overdue), the
// replier (goes on with writes that were applied, where the node's goroutine may not: lane.go), readersCount readers, the prober (asks other
// JetStreams before a bucket is made), the wider (proposes what looks at many keys, one after the other: wide.go), the expirer, the republisher.
// The callbacks of the subscriptions, on the goroutine that reads the lane or on those of nats.go, check and pass on; those of the node and of the
// store pass on, or answer by the lane: also a read that needs no disk.
package kv
