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
	ChangedAt   int64     // when it was last given another configuration; 0: it never was, or below feature level 3
}

const (
	// consumersMax bounds the consumers of one bucket.
	consumersMax = 100_000
	// changedAtSince is the version of commands from which on it is kept when a consumer was changed.
	changedAtSince = 3
)

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
	if t.state.version() >= changedAtSince {
		updated.ChangedAt = t.state.time
	}
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
	case old == nil || c.Added != 0 && c.Added != old.Added || c.Changed != 0 && c.Changed != old.Changed:
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

func (c *Consumer) encode() []byte {
	w := wire.Append(make([]byte, 0, recordRoom))
	c.fields(&w)
	return w.Bytes()
}

func decodeConsumer(key, record []byte) (*Consumer, error) {
	numbers, err := numbersIn(key, 1, true)
	if err != nil {
		return nil, err
	}
	c, w := &Consumer{Incarnation: numbers[0], Name: string(key[1+8:])}, wire.Read(record)
	for w.Next() {
		c.fields(&w)
	}
	if w.Err != nil {
		return nil, fmt.Errorf("consumer %s: %w", c.Name, w.Err)
	}
	return c, nil
}

func (c *Consumer) fields(w *wire.Walk) {
	wire.Text(w, 1, &c.Bucket)
	wire.Shared(w, 2, &c.Config)
	wire.Text(w, 3, &c.Deliver)
	wire.Text(w, 4, &c.Host)
	wire.Number(w, 5, &c.Boot)
	wire.Number(w, 6, &c.Generation)
	wire.Number(w, 7, &c.Added)
	wire.Number(w, 8, &c.Changed)
	wire.Number(w, 9, &c.Created)
	wire.Number(w, 10, &c.Start)
	wire.Number(w, 11, &c.Moved)
	wire.Number(w, 12, &c.MovedAt)
	wire.Text(w, 13, &c.Answer)
	wire.Number(w, 14, &c.ChangedAt)
}
