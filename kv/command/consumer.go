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
	// Changed, if not 0, is the index of the entry that last gave it a configuration: one with a later one is left as it is. From version 3 on, see As.
	Changed rpc.Index
}

// As names the configuration that is meant, where the cluster is open to a version whose commands may.
func (r *RemoveConsumer) As(changed rpc.Index, open uint64) {
	if open >= removalAs {
		r.Changed = changed
	}
}

// removalAs is the version since which a removal may name a configuration.
const removalAs = 3

func (r *RemoveConsumer) version() uint64 {
	if r.Changed > 0 {
		return removalAs
	}
	return 0
}

func (a *AddConsumer) fields(w *wire.Walk) {
	wire.Text(w, 1, &a.Bucket)
	wire.Text(w, 2, &a.Name)
	wire.Shared(w, 3, &a.Config)
	wire.Text(w, 4, &a.Deliver)
	wire.Text(w, 5, &a.Host)
	wire.Number(w, 6, &a.Boot)
	choose(w, 7, &a.Mode, UpdateOnly, "mode of add_consumer")
	wire.Text(w, 8, &a.Answer)
}

func (m *MoveConsumers) fields(w *wire.Walk) {
	wire.Messages(w, 1, "move", &m.Moves, func(m *ConsumerMove) { m.fields(w) })
}

func (m *ConsumerMove) fields(w *wire.Walk) {
	wire.Text(w, 1, &m.Bucket)
	wire.Text(w, 2, &m.Name)
	wire.Number(w, 3, &m.Generation)
	wire.Text(w, 4, &m.Host)
	wire.Number(w, 5, &m.Boot)
	wire.Number(w, 6, &m.Added)
}

func (r *RemoveConsumer) fields(w *wire.Walk) {
	wire.Text(w, 1, &r.Bucket)
	wire.Text(w, 2, &r.Name)
	wire.Number(w, 3, &r.Added)
	wire.Number(w, 4, &r.Changed)
}
