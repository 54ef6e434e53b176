// Package jetstream speaks the part of the JetStream API that NATS KV clients use: a message becomes a Plan, and what came of the
// plan becomes the reply, byte by byte what those clients expect.
//
// It is pure: no connection, no clock, no goroutine, no state. Package kv has all that: it listens, has commands logged, has reads
// confirmed, and publishes. So whatever is decided here follows from the message alone, or from a read of the store at a moment
// that package kv has shown to be linearizable; the outcome of a write is decided by the store, when its entry is applied.
//
// A bucket B is the stream KV_B, a key k its subject $KV.B.k, a revision its sequence. What of JetStream is no bucket is refused
// when it is asked for, so that nothing here has to remember it.
//
// # What differs from nats-server, on purpose
//
// test/kvclients asks both the same and compares; these are the differences.
//
//   - A request that nobody knows gets the status 503, where nats-server may leave its sender waiting. Of a write whose outcome is unknown nothing is
//     said, since every error would be taken for a refusal (C5); nor of what package kv drops.
//   - Reads are linearizable, direct gets too.
//   - A put under a message id that was used within the window hears what the first one did, whatever else it expects.
//   - What a put's headers ask for that cannot be is refused before it is looked at what the put expects, where nats-server refuses some of it after.
//   - A value leaves 8 KiB of a message free, so that what was put can be read in every form that has room for it: MSG.GET, which is base64, has room for
//     three quarters of the largest, and says 10054 of more, where JetStream answers however large that is.
//   - Streams that are no buckets, mirrors, sources, and whatever else would change what a bucket is, are refused by name. History is
//     1 to 64, metadata 16 KiB; max_bytes needs discard new.
//   - Every member keeps every bucket on its disk. placement, num_replicas, storage and compression are only said back.
//   - A key has no wildcards, where nats-server stores a message under them, and takes what purges it, or cleans up after it, for
//     what purges all keys that they match. (nats.py has kv.purge("hello.*") so.)
//   - Single messages are never deleted. Purges and roll-ups are always allowed.
//   - A bucket that is asked for with the keys of one token ($KV.B.*), as nats.php does, has the subject that all have.
//   - An update that names no subjects leaves a bucket those that it has, where nats-server gives the stream its name for a subject, and its clients
//     cannot write any more.
//   - After an update that lowers history, the older messages go soon and not at once.
//   - STREAM.INFO says how many messages between the first and the last are gone, and not which: deleted_details is passed over.
//   - Messages are not published again to subjects of buckets or of the API: two buckets that publish to each other would never end.
//     Only clients of the first account that is served have a bucket publish again. A destination has 1 KiB, a subject 3 KiB.
//   - A get of many messages is of one moment, a batch too, and is answered with 64 MiB and 65,536 messages at most, whatever it asks for. One that takes longer
//     than any request may is cut short, without its end. multi_last has 4,096 subjects, 256 of them with wildcards, and more are 408. Up to a sequence
//     beyond the end there is what there is, as in a stream in memory of nats-server; in one in a file there is nothing.
//   - A put expects the last sequence of its own subject only. A purge up to a sequence beyond the end leaves the next one as it was; an empty bucket has no last_ts.
//   - CONSUMER.LIST says how consumers were made, and not how far they are. A consumer's name has no @.
//   - Headers whose names nats.go could not send back are refused; their order is not kept, and unknown fields of requests are passed over when they
//     say nothing.
//   - The metadata that nats-server adds (_nats.*) says level 1 of the API, and the release that came with that.
//   - A consumer may have 4,096 filters, 256 of them with wildcards, and 64 KiB of configuration.
//   - Consumers are push or pull, and nothing is delivered again for want of an acknowledgement: no deliver groups, no priority groups. A pull consumer may say
//     that it acknowledges all, as that of nats.ex does, and an ephemeral push consumer that or that it acknowledges each message, as those who subscribe
//     to a stream do unless they say otherwise: what it was sent counts as acknowledged, and what it says of it goes nowhere. So may an ephemeral pull
//     consumer that has no name and says nothing of what is to become of a message that is not acknowledged, as that with which nats.php lists a bucket.
//   - No consumer is paused, replays in the original time, or has a rate limit, a backoff, direct or sourcing. pedantic is passed over.
//   - A durable consumer is a push consumer without acknowledgements. It goes once nobody has listened for an hour, if it names no inactive threshold, where
//     nats-server keeps it for ever. None stays longer than that, whatever threshold it names: it is told as it was named. What it was sent is known to the node that serves it only: when that goes, or loses its leaf connection, everything is
//     sent again from where the consumer began, since its client does not come back for what it missed.
//   - Who pulls from a consumer is served one request after the other, where nats-server serves the requests that wait in turn. No more than 16,384 wait on a
//     node. A pull consumer whose node goes, or loses its leaf connection, is deleted; who waits there is told so (409 Consumer Deleted), and an ordered client
//     makes another.
//   - A pull consumer that begins with the newest of each key says that nothing was delivered yet, where nats-server names what it does not begin with.
//   - No consumer delivers to a subject that begins with $, or is the cluster's own: a node may send there what its client may not.
//   - A consumer is given another deliver subject also while somebody listens to the old one. Who asks with the action create for one that is there just so
//     is told of it, as who asks without an action is.
//   - Consumers are counted (consumer_count) for all accounts and native watches together, as messages are. CONSUMER.NAMES has those of the account.
//   - While no node has a leaf connection, requests about consumers are checked and then refused as temporarily unavailable.
package jetstream
