package delivery

// The store's terms in the hub's.

import (
	"log/slog"
	"time"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// answerWithin is how long after it made a consumer, or changed it, a client may still wait to be told.
const answerWithin = 10 * time.Second

// Changes are what a batch has changed.
func Changes(b *store.Batch, log *slog.Logger) []watch.Change {
	list := make([]watch.Change, 0, len(b.Events))
	for i := range b.Events {
		e := &b.Events[i]
		switch e.Kind {
		case store.Stored:
			list = append(list, watch.Stored{Incarnation: e.Incarnation, Entry: entry(&e.Entry, len(e.Entry.Value))})
		case store.Removed:
			list = append(list, watch.Dropped{Incarnation: e.Incarnation, Key: e.Entry.Key, Sequence: e.Entry.Sequence, NextOfThisKey: e.Next})
		case store.BucketPurged:
			list = append(list, watch.Purged{Incarnation: e.Incarnation})
		case store.BucketRemoved:
			list = append(list, watch.BucketGone{Incarnation: e.Incarnation})
		case store.ConsumerRemoved:
			list = append(list, watch.Removed{Ref: watch.Ref{Incarnation: e.Incarnation, Name: e.Consumer.Name}})
		case store.ConsumerAdded, store.ConsumerMoved:
			if r, ok := record(e.Consumer, log); ok {
				if e.Kind == store.ConsumerAdded {
					r.Answer = e.Consumer.Answer // this is the request, however often the consumer was moved
				}
				list = append(list, watch.Placed{Record: r})
			}
		}
	}
	return list
}

// Load takes the consumers of a node's account from a store. Those of others are not even read: each account of a node has a service. What those ask for
// that another life of a node serves is not kept: at a start each node would hold all that the account's watches ask for (Q12).
func Load(s *store.Store, node string, boot rpc.BootEpoch, log *slog.Logger) (watch.Reset, error) {
	var reset watch.Reset
	at, err := s.EachConsumer(func(c store.Consumer) bool {
		if !watch.SameAccount(c.Name, node) {
			return true
		}
		r, ok := record(&c, log)
		if !ok { // nor is it taken when it is moved
			return true
		}
		if string(c.Host) != node || c.Boot != boot {
			weight := r.Weight
			r = placed(&c)
			r.Weight = weight
		}
		reset.Records = append(reset.Records, r)
		return true
	})
	reset.Index = uint64(at)
	return reset, err
}

// Page reads a page that a hub asks for, for as long as that is wanted.
func Page(s *store.Store, read *watch.Read, wanted func() bool) (watch.Page, error) {
	p, err := s.Page(store.Query{
		Bucket: read.Bucket, Incarnation: read.Incarnation, From: read.From, Since: read.FromTime, Filter: read.Filter,
		Which: store.Which(read.Mode), AsOf: read.AsOf, NoValues: read.NoValues, Count: read.Count, Max: read.EntriesMax, MaxBytes: read.BytesMax,
		Wanted: wanted,
	})
	if err != nil {
		return watch.Page{Failed: true}, err
	}
	page := watch.Page{From: p.From, Next: p.Next, Done: p.Done, Count: p.Count, Last: p.Last, Applied: uint64(p.At)}
	for i := range p.Entries {
		page.Entries = append(page.Entries, entry(&p.Entries[i], p.Sizes[i]))
	}
	return page, nil
}

func entry(e *store.Entry, size int) watch.Entry {
	return watch.Entry{
		Key: e.Key, Sequence: e.Sequence, Time: e.Time, Header: jetstream.HeaderOf(*e), Value: e.Value, Size: size,
		Operation: jetstream.OperationOf(e), Revision: e.Revision,
	}
}

func jetStreamConfig(c *store.Consumer) (watch.Config, any, error) {
	config, err := jetstream.ConsumerConfig(c.Bucket, c.Config)
	return config, jetstream.ConsumerEcho{Config: c.Config, Created: c.Created}, err
}

// answer is the body of an answer about a consumer.
func answer(s *watch.State) []byte {
	if s.Record != nil && s.Record.Echo == (nativeEcho{}) {
		return nativeState(s)
	}
	return jetstream.ConsumerState(s, time.Now())
}

// record reads a consumer's record; false if what it asks for cannot be read, which the version that wrote it could.
func record(c *store.Consumer, log *slog.Logger) (watch.Record, bool) {
	config, echo, err := configOf(c)
	if err != nil {
		log.Error("a consumer cannot be served", "bucket", c.Bucket, "consumer", c.Name, "err", err)
		return watch.Record{}, false
	}
	r := placed(c)
	r.Config, r.Echo, r.Deliver, r.Weight = config, echo, c.Deliver, watch.Weigh(len(c.Config), config.Filter, c.Deliver)
	r.Config.Pull = c.Deliver == watch.PullDeliver
	if c.Generation == 1 || time.Duration(c.MovedAt-max(c.Created, c.ChangedAt)) < answerWithin {
		r.Answer = c.Answer
	}
	return r, true
}

// placed is of a consumer's record what those need who do not serve it.
func placed(c *store.Consumer) watch.Record {
	return watch.Record{
		Ref: watch.Ref{Incarnation: c.Incarnation, Name: c.Name}, Bucket: c.Bucket, Config: watch.Config{Pull: c.Deliver == watch.PullDeliver},
		Echoed: len(c.Config), Created: uint64(c.Added), Changed: uint64(c.Changed), Start: c.Start,
		Host: string(c.Host), Boot: uint64(c.Boot), Generation: c.Generation - 1, Moved: c.Moved,
	}
}
