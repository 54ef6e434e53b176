package store

// Consumers: records of who delivers a bucket's entries to whom. The store keeps them and decides in which order they change; what
// they ask for is for their hosts to read.

import (
	"bytes"
	"fmt"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/internal/wire"
	"github.com/raftbus/raftbus/kv/store/engine"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Consumer is a consumer's record.
type Consumer struct {
	Bucket      string
	Incarnation uint64 // of the bucket
	Name        string
	Config      []byte // as the client gave it
	Deliver     string // the subject that entries go to
	Host        rpc.NodeID
	Boot        rpc.BootEpoch
	Generation  uint64    // 1, and one more with each move
	Added       rpc.Index // the log's entry that added it: no other consumer of the bucket has it
	Changed     rpc.Index // the log's entry that last gave it a configuration
	Created     int64     // nanoseconds since 1970 UTC, by the log's time
	Start       uint64    // the sequence of the bucket's last entry when it was added
	Moved       uint64    // the same, when its host last changed; 0: it never did
	MovedAt     int64     // when that was, by the log's time
	Answer      string    // where the answer to the request goes that last gave it a configuration
}

// consumersMax bounds the consumers of one bucket.
const consumersMax = 100_000

func (t *txn) addConsumer(c *command.AddConsumer) (Result, error) {
	b, old, err := t.consumer(c.Bucket, c.Name)
	switch {
	case err != nil:
		return Result{}, err
	case b == nil:
		return Result{Code: NoBucket}, nil
	case old == nil:
		return t.newConsumer(b, c), nil
	case c.Mode == command.AddOnly && c.Deliver == old.Deliver && bytes.Equal(c.Config, old.Config):
		return Result{Again: true, Sequence: old.Start}, nil
	case c.Mode == command.AddOnly:
		return Result{Code: ConsumerExists}, nil
	}
	updated := *old
	updated.Config, updated.Deliver, updated.Answer, updated.Changed = c.Config, c.Deliver, c.Answer, t.state.applied.Index
	t.setConsumer(b, c.Name, &updated, ConsumerAdded)
	return Result{Again: true, Sequence: old.Start}, nil
}

func (t *txn) newConsumer(b *bucket, c *command.AddConsumer) Result {
	if c.Mode == command.UpdateOnly {
		return Result{Code: NoConsumer}
	}
	if b.stats.consumers >= consumersMax {
		return Result{Code: TooManyConsumers, Limit: consumersMax}
	}
	b.stats.consumers++
	t.setConsumer(b, c.Name, &Consumer{
		Bucket: b.name, Incarnation: b.record.incarnation, Name: c.Name, Config: c.Config, Deliver: c.Deliver, Host: c.Host, Boot: c.Boot,
		Generation: 1, Added: t.state.applied.Index, Changed: t.state.applied.Index, Created: t.state.time, Start: b.stats.sequence,
		Answer: c.Answer,
	}, ConsumerAdded)
	return Result{Sequence: b.stats.sequence}
}

func (t *txn) moveConsumers(c *command.MoveConsumers) (Result, error) {
	var r Result
	for _, move := range c.Moves {
		b, old, err := t.consumer(move.Bucket, move.Name)
		if err != nil {
			return r, err
		}
		if old == nil || old.Added != move.Added || old.Generation != move.Generation {
			continue
		}
		moved := *old
		moved.Host, moved.Boot, moved.Generation = move.Host, move.Boot, old.Generation+1
		moved.Moved, moved.MovedAt = b.stats.sequence, t.state.time
		t.setConsumer(b, move.Name, &moved, ConsumerMoved)
		r.Count++
	}
	return r, nil
}

func (t *txn) removeConsumer(c *command.RemoveConsumer) (Result, error) {
	b, old, err := t.consumer(c.Bucket, c.Name)
	switch {
	case err != nil:
		return Result{}, err
	case b == nil:
		return Result{Code: NoBucket}, nil
	case old == nil || c.Added != 0 && c.Added != old.Added:
		return Result{Code: NoConsumer}, nil
	}
	b.stats.consumers--
	b.consumers[c.Name], b.wrote = nil, true
	t.batch.Delete(consumerKey(b.record.incarnation, c.Name))
	t.feed.consumer(ConsumerRemoved, b, old)
	return Result{}, nil
}

// consumer finds a bucket, nil if there is none, and a consumer of it, nil if there is none.
func (t *txn) consumer(bucketName, name string) (*bucket, *Consumer, error) {
	b, err := t.bucket(bucketName)
	if err != nil || b == nil || b.stats.consumers == 0 {
		return b, nil, err
	}
	if c, known := b.consumers[name]; known {
		return b, c, nil
	}
	c, err := readConsumer(t.db, b, name)
	if err == nil {
		b.know(name, c)
	}
	return b, c, err
}

func (b *bucket) know(name string, c *Consumer) {
	if b.consumers == nil {
		b.consumers = map[string]*Consumer{}
	}
	b.consumers[name] = c
}

func (t *txn) setConsumer(b *bucket, name string, c *Consumer, kind EventKind) {
	b.know(name, c)
	b.wrote = true
	t.batch.Set(consumerKey(b.record.incarnation, name), c.encode())
	t.feed.consumer(kind, b, c)
}

// readConsumer reads a consumer; nil if there is none of that name.
func readConsumer(r engine.Reader, b *bucket, name string) (*Consumer, error) {
	key := consumerKey(b.record.incarnation, name)
	data, err := r.Get(key)
	if data == nil || err != nil {
		return nil, err
	}
	return decodeConsumer(key, data)
}

// Consumer returns a consumer of a bucket. The error is NoBucket, NoConsumer, ErrClosed, or one of the disk.
func (s *Store) Consumer(bucket, name string) (Consumer, error) {
	var found Consumer
	err := s.viewBucket(bucket, func(v *bucketView) error {
		c, err := readConsumer(v.r, v.bucket, name)
		if err != nil {
			return err
		}
		if c == nil {
			return NoConsumer
		}
		found = *c
		return nil
	})
	return found, err
}

// ConsumerNames lists the consumers of a bucket by name, at most limit, those that come after a name. The error is as that of Bucket.
func (s *Store) ConsumerNames(bucket, after string, limit int) (Page, error) {
	var page Page
	err := s.viewBucket(bucket, func(v *bucketView) (err error) {
		page, err = list(v.r, numbered(tableConsumer, v.record.incarnation), "", after, limit, func([]byte) (bool, error) { return true, nil })
		return err
	})
	return page, err
}

// EachConsumer visits all consumers of all buckets as of one moment, until visit wants no more, and says of which applied entry of
// the log that is.
func (s *Store) EachConsumer(visit func(Consumer) (more bool)) (at rpc.Index, err error) {
	err = s.view(func(r engine.Reader) error {
		of, err := readState(r)
		if err != nil {
			return err
		}
		at = of.applied.Index
		return r.Scan([]byte{tableConsumer}, []byte{tableConsumer + 1}, func(key, value []byte) (bool, error) {
			c, err := decodeConsumer(key, bytes.Clone(value))
			if err != nil {
				return false, err
			}
			return visit(*c), nil
		})
	})
	return at, err
}

const (
	tagConsumerBucket     = 1<<3 | wire.Bytes
	tagConsumerConfig     = 2<<3 | wire.Bytes
	tagConsumerDeliver    = 3<<3 | wire.Bytes
	tagConsumerHost       = 4<<3 | wire.Bytes
	tagConsumerBoot       = 5<<3 | wire.Varint
	tagConsumerGeneration = 6<<3 | wire.Varint
	tagConsumerAdded      = 7<<3 | wire.Varint
	tagConsumerChanged    = 8<<3 | wire.Varint
	tagConsumerCreated    = 9<<3 | wire.Varint
	tagConsumerStart      = 10<<3 | wire.Varint
	tagConsumerMoved      = 11<<3 | wire.Varint
	tagConsumerMovedAt    = 12<<3 | wire.Varint
	tagConsumerAnswer     = 13<<3 | wire.Bytes
)

func (c *Consumer) encode() []byte {
	b := wire.AppendBytes(nil, tagConsumerBucket, c.Bucket)
	b = wire.AppendBytes(b, tagConsumerConfig, c.Config)
	b = wire.AppendBytes(b, tagConsumerDeliver, c.Deliver)
	b = wire.AppendBytes(b, tagConsumerHost, c.Host)
	b = wire.AppendUint(b, tagConsumerBoot, uint64(c.Boot))
	b = wire.AppendUint(b, tagConsumerGeneration, c.Generation)
	b = wire.AppendUint(b, tagConsumerAdded, uint64(c.Added))
	b = wire.AppendUint(b, tagConsumerChanged, uint64(c.Changed))
	b = wire.AppendUint(b, tagConsumerCreated, uint64(c.Created))
	b = wire.AppendUint(b, tagConsumerStart, c.Start)
	b = wire.AppendUint(b, tagConsumerMoved, c.Moved)
	b = wire.AppendUint(b, tagConsumerMovedAt, uint64(c.MovedAt))
	return wire.AppendBytes(b, tagConsumerAnswer, c.Answer)
}

func decodeConsumer(key, record []byte) (*Consumer, error) {
	numbers, err := numbersIn(key, 1, true)
	if err != nil {
		return nil, err
	}
	c := Consumer{Incarnation: numbers[0], Name: string(key[1+8:])}
	err = wire.Each(record, func(f wire.Field) error {
		switch f.Tag {
		case tagConsumerBucket:
			c.Bucket = string(f.Data)
		case tagConsumerConfig:
			c.Config = f.Data
		case tagConsumerDeliver:
			c.Deliver = string(f.Data)
		case tagConsumerHost:
			c.Host = rpc.NodeID(f.Data)
		case tagConsumerBoot:
			c.Boot = rpc.BootEpoch(f.Uint)
		case tagConsumerGeneration:
			c.Generation = f.Uint
		case tagConsumerAdded:
			c.Added = rpc.Index(f.Uint)
		case tagConsumerChanged:
			c.Changed = rpc.Index(f.Uint)
		case tagConsumerCreated:
			c.Created = int64(f.Uint)
		case tagConsumerStart:
			c.Start = f.Uint
		case tagConsumerMoved:
			c.Moved = f.Uint
		case tagConsumerMovedAt:
			c.MovedAt = int64(f.Uint)
		case tagConsumerAnswer:
			c.Answer = string(f.Data)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", c.Name, err)
	}
	return &c, nil
}
