package replica

// When a node that leads listens to no clients of an account all the same: while another cluster leads under the prefix, to none; and to those
// of a further account if it cannot serve them rightly, which is no reason to let those of others wait.

import (
	"context"
	"strings"
	"sync"

	"github.com/raftbus/raftbus/kv"
)

// refusal is why an account is not served; none: it is.
type refusal struct {
	mu   sync.Mutex
	text string
}

func (f *refusal) reason() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text
}

// notYet is the reason until it is known that an account lets nobody speak as a node, that no JetStream answers in it, and no other cluster in the first.
const notYet = "whether it can be served rightly is not known yet"

// settle has an account served, or not, by what there is against it after a change.
func (r *Replica) settle(s *served, change func(now string) string) {
	s.refused.mu.Lock()
	defer s.refused.mu.Unlock()
	before := s.refused.text
	if s.refused.text = change(before); s.refused.text != before && s.refused.text != "" {
		r.logger.Error("an account is not served", "account", s.name, "reason", s.refused.text)
	}
	s.kv.Withhold(s.refused.text != "" || r.rival.Load() != nil)
}

// refuse ends the service of an account, for the first reason that there is.
func refuse(reason string) func(string) string {
	return func(now string) string {
		if now == "" || now == notYet {
			return reason
		}
		return now
	}
}

// allow begins it, if it was not refused meanwhile.
func allow(now string) string {
	if now == notYet {
		return ""
	}
	return now
}

func asItIs(now string) string { return now }

// withhold serves nobody, or those again whom nothing else speaks against, as another cluster leads under the prefix or none does any more.
func (r *Replica) withhold() {
	for _, s := range r.served {
		r.settle(s, asItIs)
	}
}

// strays has what is one account of NATS with another that is served be served once: each of its requests would come over two connections, and
// be done twice. The first account goes before the others, and those by their names.
func (r *Replica) strays(s *served) func(host string) {
	return func(host string) {
		if _, account, _ := strings.Cut(host, "@"); account < s.name && s.ready.Load() { // else it is said again
			r.settle(s, refuse("it is one account of NATS with another that is served: give the node other credentials for it, and start it anew"))
		}
	}
}

// checkFurther serves each of the further accounts once nothing is found that speaks against it.
func (r *Replica) checkFurther(ctx context.Context) {
	var all sync.WaitGroup
	for i, s := range r.further() {
		closed := make(chan struct{})
		who := somebody{"this node's connection to clients of the account " + s.name, r.o.NATS.Accounts[i].Clients}
		all.Go(func() {
			r.abort(ctx, r.checkBus(ctx, []somebody{who}, isFull, sync.OnceFunc(func() { close(closed) })))
		})
		all.Go(func() { r.checkAccount(ctx, s, closed) })
	}
	all.Wait()
}

// checkAccount serves an account once its bus is closed and, with DefaultAPI, no JetStream answers in it.
func (r *Replica) checkAccount(ctx context.Context, s *served, closed <-chan struct{}) {
	if !r.await(ctx, closed) {
		return
	}
	switch err := r.checkAPI(ctx, s); {
	case err == nil:
		r.settle(s, allow)
	case ctx.Err() == nil:
		r.settle(s, refuse(err.Error()))
	}
}

// checkAPI returns kv.ErrJetStream if a JetStream answers in an account where this node is to answer.
func (r *Replica) checkAPI(ctx context.Context, s *served) error {
	if !r.o.DefaultAPI {
		return nil
	}
	return kv.CheckDefaultAPI(ctx, s.conn.NATS(), r.config.Prefix())
}
