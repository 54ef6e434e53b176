package replica

// What any node answers to whoever asks about it.

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/raft/measure"
)

// flushTimeout bounds how long a start waits until NATS knows what this node listens for.
const flushTimeout = time.Second

// endpoints are on <prefix>.node.<id>.<name>, and on <prefix>.node._all.<name>.
var endpoints = []struct {
	name string
	say  func(*Replica) ([]byte, error)
}{
	{"status", func(r *Replica) ([]byte, error) { return json.Marshal(r.Status()) }},
	{"stats", func(r *Replica) ([]byte, error) { return json.Marshal(r.Stats()) }},
	{"health", func(r *Replica) ([]byte, error) { return json.Marshal(r.Health()) }},
	{"metrics", (*Replica).exposition},
}

// serveStatus answers on the node's own subjects and on those of all nodes, and as a NATS service. When it returns NATS delivers what is
// asked, if it is there: whoever started the node may ask it at once, and 'no responders' means that it does not run.
func (r *Replica) serveStatus(context.Context) error {
	conn := r.first().conn
	var shown []observe.Endpoint
	for _, e := range endpoints {
		asked := &asked{}
		for _, who := range []string{busclient.AllNodes, r.o.ID} {
			if err := observe.Answer(conn.NATS(), busclient.NodeSubject(r.config.Prefix(), who, e.name), r.answering(asked, e.say)); err != nil {
				return err
			}
		}
		shown = append(shown, observe.Endpoint{Name: e.name, Subject: busclient.NodeSubject(r.config.Prefix(), r.o.ID, e.name), Count: asked.count})
	}
	if err := observe.NewService(r, append(shown, r.clientEndpoints()...)).Subscribe(conn.NATS()); err != nil {
		return err
	}
	if conn.NATS().IsConnected() { // conn.Up is told of it later
		_ = conn.Flush(flushTimeout) // a connection that was lost subscribes anew when it is back
	}
	return nil
}

// clientEndpoints are what clients ask, while this node leads.
func (r *Replica) clientEndpoints() (list []observe.Endpoint) {
	domain := r.o.Domain
	if domain == "" {
		domain = r.config.Prefix()
	}
	for _, door := range []struct{ name, subject string }{
		{"kv", r.config.Prefix() + "." + busclient.FamilyKV + ".>"},
		{"bucket", r.config.Prefix() + "." + busclient.FamilyBucket + ".>"},
		{"jetstream", "$JS." + domain + ".API.>"},
	} {
		list = append(list, observe.Endpoint{
			Name: door.name, Subject: door.subject, Metadata: map[string]string{"answers": "while the node leads"},
			Count: func() (uint64, uint64, time.Duration) {
				s := r.Stats()
				return s.Count(door.name)
			},
		})
	}
	return list
}

// asked counts what an endpoint was asked.
type asked struct {
	took   measure.Histogram
	failed atomic.Uint64
}

func (a *asked) count() (requests, errors uint64, took time.Duration) {
	d := a.took.Read()
	return d.Count(), a.failed.Load(), d.Sum
}

func (r *Replica) answering(a *asked, say func(*Replica) ([]byte, error)) nats.MsgHandler {
	return func(m *nats.Msg) {
		if !jetstream.MayAnswer(r.config.Prefix(), m.Reply) {
			return // who may look at nodes may not have them speak to others
		}
		began := time.Now()
		body, err := say(r)
		if err == nil {
			err = m.Respond(body)
		}
		if err != nil { // a lost answer is asked for again
			a.failed.Add(1)
			r.logger.Debug("not answered", "subject", m.Subject, "err", err)
		}
		a.took.Observe(time.Since(began))
	}
}
