package replica

import (
	"context"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
)

// serveAdmin makes the service for administrators, which answers while this node leads. Before the node starts: it hears of
// leadership from the first election on.
func (r *Replica) serveAdmin(context.Context) error {
	service, err := admin.New(admin.Options{
		Conn: r.first().conn.NATS(), Prefix: r.config.Prefix(), Node: r.node, HandOver: r.TransferLeadership, Raise: r.raise, Logger: r.logger,
	})
	if err != nil {
		return err
	}
	r.closers = append(r.closers, func() error { service.Close(); return nil })
	return nil
}
