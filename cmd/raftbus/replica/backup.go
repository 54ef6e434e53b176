package replica

import (
	"context"

	"github.com/raftbus/raftbus/cmd/raftbus/backup"
)

// serveBackups gives this node's state to who takes backups. It may be asked while nobody leads: who asks says what it must reflect.
func (r *Replica) serveBackups(context.Context) error {
	service, err := backup.New(backup.Options{
		Conn: r.first().conn.NATS(), Prefix: r.config.Prefix(), Node: r.o.ID, Store: r.store, Status: r.node.Status, Logger: r.logger,
	})
	if err != nil {
		return err
	}
	r.closers = append(r.closers, func() error { service.Close(); return nil })
	return nil
}

// tellSuccessions says at each start that the folder once went on from a cluster that is no more.
func (r *Replica) tellSuccessions() {
	for _, s := range r.folder.Successions() {
		r.logger.Warn("this data folder went on from another cluster", "kind", s.Kind, "at", s.At, "old_cluster", s.Old, "cluster", s.Cluster,
			"revision", s.Revision, "certain_revision", s.Certain, "skip", s.Skip, "old_log", s.OldLog)
	}
}
