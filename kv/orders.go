package kv

// Requests that name a subject as the place of their answer where the answer would be an order, see jetstream.IsOrder: with
// `Rb-Reply: raw` a client chooses every byte of what the leader says, and NATS lets a node answer wherever it was asked to.

import (
	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
)

// unlessOrder drops requests that are to be answered by an order.
func (s *Service) unlessOrder(take nats.MsgHandler) nats.MsgHandler {
	return func(m *nats.Msg) {
		if jetstream.IsOrder(s.prefix, m.Reply) {
			if dropped := s.ordersDrops.Add(1); dropped&(dropped-1) == 0 {
				s.logger.Warn("requests dropped: their answers would have been orders to nodes or to NATS, ask with an inbox as the reply subject", "subject", m.Subject, "reply", m.Reply, "so_far", dropped)
			}
			return
		}
		take(m)
	}
}
