package cluster

// One operation of a client through the native API.

import (
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/test/linear"
)

// Operate carries out one operation, once. Its key is "<bucket>.<key>", or a bucket's name. The connection has no buffer for when it is away.
func Operate(nc *nats.Conn, patience time.Duration, in linear.Input) linear.Output {
	m, err := nc.RequestMsg(asRequest(in), patience)
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded):
		return linear.Output{Outcome: linear.NotDone}
	case err != nil:
		return linear.Output{Outcome: linear.Unknown}
	}
	return linear.Understand(in, m.Data)
}

func asRequest(in linear.Input) *nats.Msg {
	switch in.Kind {
	case linear.MakeBucket:
		return nats.NewMsg("raftbus.bucket.add." + in.Key)
	case linear.RemoveBucket:
		return nats.NewMsg("raftbus.bucket.rm." + in.Key)
	}
	m := nats.NewMsg("raftbus.kv." + in.Kind.String() + "." + in.Key)
	switch in.Kind {
	case linear.Update:
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(in.Expected, 10))
		fallthrough
	case linear.Put, linear.Create:
		m.Data = []byte(in.Value)
	}
	if in.ID != "" {
		m.Header.Set(nats.MsgIdHdr, in.ID)
	}
	return m
}
