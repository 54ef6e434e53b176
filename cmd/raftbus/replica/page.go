package replica

import (
	"net/http"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/page"
)

// Page is the web page of the node's cluster. It asks over the node's client connection, as any client would.
func (r *Replica) Page() http.Handler {
	return page.New(page.Options{
		Conn: r.first().conn.NATS(), Prefix: r.config.Prefix(), Stats: busclient.StatsSubject(r.config.Prefix(), busclient.AllNodes),
	})
}
