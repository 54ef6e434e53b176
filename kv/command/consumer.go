package command

// Commands on consumers: the records of who delivers a bucket's entries to whom. What is in a configuration is for the host to
// read.

import (
	"github.com/raftbus/raftbus/kv/internal/wire"
	"github.com/raftbus/raftbus/raft/rpc"
)

// AddConsumer makes a consumer of a bucket, or gives one that exists another configuration.
type AddConsumer struct {
	Bucket, Name string
	Config       []byte // as the client gave it
	Deliver      string // the subject that entries go to
	// Host is the node that delivers, in its life of Boot.
	Host rpc.NodeID
	Boot rpc.BootEpoch
	Mode AddMode
	// Answer is where the answer to the request goes, which the host gives once it delivers.
	Answer string
}

// AddMode says what becomes of a consumer that exists, or does not.
type AddMode uint8

const (
	// AddOrUpdate makes it, or updates it.
	AddOrUpdate AddMode = iota
	// AddOnly is refused if it exists, unless with equal configuration and subject.
	AddOnly
	// UpdateOnly is refused if it does not exist.
	UpdateOnly
)

// MoveConsumers gives consumers other hosts.
type MoveConsumers struct {
	Moves []ConsumerMove
}

// ConsumerMove gives a consumer another host, if it is the one that the log's entry Added has added, and of the generation named.
type ConsumerMove struct {
	Bucket, Name string
	Added        rpc.Index
	Generation   uint64
	Host         rpc.NodeID
	Boot         rpc.BootEpoch
}

// RemoveConsumer removes a consumer; if Added is not 0, only the one of that name which the log's entry of that index added.
type RemoveConsumer struct {
	Bucket, Name string
	Added        rpc.Index
}

const (
	tagConsumerBucket = 1<<3 | wire.Bytes
	tagConsumerName   = 2<<3 | wire.Bytes

	tagAddConfig  = 3<<3 | wire.Bytes
	tagAddDeliver = 4<<3 | wire.Bytes
	tagAddHost    = 5<<3 | wire.Bytes
	tagAddBoot    = 6<<3 | wire.Varint
	tagAddMode    = 7<<3 | wire.Varint
	tagAddAnswer  = 8<<3 | wire.Bytes

	tagMove           = 1<<3 | wire.Bytes
	tagMoveGeneration = 3<<3 | wire.Varint
	tagMoveHost       = 4<<3 | wire.Bytes
	tagMoveBoot       = 5<<3 | wire.Varint
	tagMoveAdded      = 6<<3 | wire.Varint

	tagRemoveAdded = 3<<3 | wire.Varint
)

func (a *AddConsumer) encode() []byte {
	b := wire.AppendBytes(nil, tagConsumerBucket, a.Bucket)
	b = wire.AppendBytes(b, tagConsumerName, a.Name)
	b = wire.AppendBytes(b, tagAddConfig, a.Config)
	b = wire.AppendBytes(b, tagAddDeliver, a.Deliver)
	b = wire.AppendBytes(b, tagAddHost, a.Host)
	b = wire.AppendUint(b, tagAddBoot, uint64(a.Boot))
	b = wire.AppendUint(b, tagAddMode, uint64(a.Mode))
	return wire.AppendBytes(b, tagAddAnswer, a.Answer)
}

func decodeAddConsumer(data []byte) (*AddConsumer, error) {
	var a AddConsumer
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagConsumerBucket:
			a.Bucket = string(f.Data)
		case tagConsumerName:
			a.Name = string(f.Data)
		case tagAddConfig:
			a.Config = f.Data
		case tagAddDeliver:
			a.Deliver = string(f.Data)
		case tagAddHost:
			a.Host = rpc.NodeID(f.Data)
		case tagAddBoot:
			a.Boot = rpc.BootEpoch(f.Uint)
		case tagAddAnswer:
			a.Answer = string(f.Data)
		case tagAddMode:
			return choice(&a.Mode, f.Uint, UpdateOnly, "mode of add_consumer")
		default:
			return unknownField("add_consumer", f.Tag)
		}
		return nil
	})
	return &a, err
}

func (m *MoveConsumers) encode() []byte {
	var b, one []byte
	for i := range m.Moves {
		move := &m.Moves[i]
		one = wire.AppendBytes(one[:0], tagConsumerBucket, move.Bucket)
		one = wire.AppendBytes(one, tagConsumerName, move.Name)
		one = wire.AppendUint(one, tagMoveGeneration, move.Generation)
		one = wire.AppendBytes(one, tagMoveHost, move.Host)
		one = wire.AppendUint(one, tagMoveBoot, uint64(move.Boot))
		one = wire.AppendUint(one, tagMoveAdded, uint64(move.Added))
		b = wire.AppendMessage(b, tagMove, one)
	}
	return b
}

func decodeMoveConsumers(data []byte) (*MoveConsumers, error) {
	var m MoveConsumers
	err := wire.Each(data, func(f wire.Field) error {
		if f.Tag != tagMove {
			return unknownField("move_consumers", f.Tag)
		}
		move, err := decodeConsumerMove(f.Data)
		m.Moves = append(m.Moves, move)
		return err
	})
	return &m, err
}

func decodeConsumerMove(data []byte) (ConsumerMove, error) {
	var m ConsumerMove
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagConsumerBucket:
			m.Bucket = string(f.Data)
		case tagConsumerName:
			m.Name = string(f.Data)
		case tagMoveGeneration:
			m.Generation = f.Uint
		case tagMoveHost:
			m.Host = rpc.NodeID(f.Data)
		case tagMoveBoot:
			m.Boot = rpc.BootEpoch(f.Uint)
		case tagMoveAdded:
			m.Added = rpc.Index(f.Uint)
		default:
			return unknownField("move", f.Tag)
		}
		return nil
	})
	return m, err
}

func (r *RemoveConsumer) encode() []byte {
	b := wire.AppendBytes(nil, tagConsumerBucket, r.Bucket)
	b = wire.AppendBytes(b, tagConsumerName, r.Name)
	return wire.AppendUint(b, tagRemoveAdded, uint64(r.Added))
}

func decodeRemoveConsumer(data []byte) (*RemoveConsumer, error) {
	var r RemoveConsumer
	err := wire.Each(data, func(f wire.Field) error {
		switch f.Tag {
		case tagConsumerBucket:
			r.Bucket = string(f.Data)
		case tagConsumerName:
			r.Name = string(f.Data)
		case tagRemoveAdded:
			r.Added = rpc.Index(f.Uint)
		default:
			return unknownField("remove_consumer", f.Tag)
		}
		return nil
	})
	return &r, err
}
