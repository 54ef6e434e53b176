package kv

// Requests that name a subject as the place of their answer where the answer would be an order, or cost the node its connection, see jetstream.MayAnswer:
// with `Rb-Reply: raw` a client chooses every byte of what the leader says, and NATS lets a node answer wherever it was asked to.

import (
	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
)

// unlessOrder drops requests that are to be answered by an order, or at a subject that is too long.
func (s *Service) unlessOrder(take nats.MsgHandler) nats.MsgHandler {
	return func(m *nats.Msg) {
		if !jetstream.MayAnswer(s.prefix, m.Reply) {
			if dropped := s.ordersDrops.Add(1); dropped&(dropped-1) == 0 {
				s.logger.Warn("requests dropped: their answers would have been orders to nodes or to NATS, or at subjects longer than NATS takes: ask with an inbox as the reply subject", "subject", m.Subject[:min(len(m.Subject), 100)], "reply", m.Reply[:min(len(m.Reply), 100)], "so_far", dropped)
			}
			return
		}
		take(m)
	}
}
