// Package leaf is one leaf connection to a NATS server: the protocol by which a whole NATS server joins another, spoken by a
// client. No NATS library speaks it on the client's side, so it is written here. It knows nothing of keys, watches and nodes: it
// carries messages, and says who listens.
//
// # Why a leaf at all
//
// A watcher of the JetStream-KV protocol gets its messages on its inbox, under a subject that is not that inbox but the key
// ($KV.<bucket>.<key>), with a reply that begins with $JS.ACK. and holds revision, time and how many are still to come. Clients take
// all of it from there; a message whose subject is the inbox is control to them, not data. An ordinary connection can send neither:
// the subject of a delivery is the subject that was published, and a reply under $JS.ACK. is refused. From a leaf the server takes
// both: it cuts the reply
//
//	$JS.ACK.<stream>.<consumer>.<n>.<stream seq>.<consumer seq>.<time>.<pending>@<subject>
//
// at the @, and shows the client <subject>. Across the servers of a cluster the last one does that. And only a leaf is told which subjects
// the clients of its account listen on, which is how a watcher that came, or went, is known.
//
// # What it may not carry
//
// A server lets nothing under $JS.API., $KV. and $OBJ. over a leaf in either direction, and says nothing about it. Requests come in over
// the ordinary connection. A message published here reaches plain subscriptions; a queue group gets it only if the publisher names the
// group, which this package does not do, and so what queue groups subscribe to is no interest either.
//
// # Goroutines
//
// A connection has two while it is up: one dials, reads and calls everything that was handed in (OnStatus, OnInterest, OnMessage), one
// after the other in the order in which things happened; it waits for whom it calls, so nothing called may wait. The other writes what callers have put into a bounded buffer, and calls OnRoom. Close ends both.
//
// Nothing is kept across a reconnect (K73): what was published and not yet written is lost with the connection, and who publishes is told
// that it is down. What was written may still arrive, even after what the next connection carries, when it was the server that
// stood still.
package leaf
