package kv

// Whether another JetStream answers the same clients: asked before a bucket is made, and before the service takes the place of one.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
)

const (
	// probesMax bounds the buckets that wait to be made.
	probesMax = 64
	// probeWait bounds how long another JetStream may take to say what it has.
	probeWait = 500 * time.Millisecond
	// probeRetry is how often it is asked again while NATS is away.
	probeRetry = 50 * time.Millisecond
)

// prober asks for the buckets that are to be made.
func (s *Service) prober() {
	defer s.wg.Done()
	for {
		select {
		case <-s.stop:
			return
		case p := <-s.probes:
			s.probe(s.andWaiting(p))
		}
	}
}

// andWaiting is one who waits for a probe, and all others who do.
func (s *Service) andWaiting(p todo) []todo {
	list := []todo{p}
	for range len(s.probes) {
		list = append(list, <-s.probes)
	}
	return list
}

// probe asks for several buckets at once: what is silent is waited for once, however many are to be made (L9). They go on in the order in which they came.
func (s *Service) probe(list []todo) {
	goOn := make([]func(), len(list))
	var all sync.WaitGroup
	for i, p := range list {
		all.Go(func() { goOn[i] = s.asked(p) })
	}
	all.Wait()
	for _, do := range goOn {
		do()
	}
}

// asked asks for a bucket, and returns how who is to make it goes on.
func (s *Service) asked(p todo) func() {
	switch {
	case s.hurries.Load():
		return func() { s.withdrawUnconfirmed(p.request) }
	case !s.inflight.waiting(p.request): // a JetStream that is slow to answer is not to be asked for who was told that it is overdue
		return func() {}
	case s.taken(p.work.made):
		return func() {
			s.giveUp(p.request, StreamTaken.says("another JetStream, or another raftbus with --serve-default-api, has the stream KV_%s in an account that is served: choose another name, or remove it there", p.work.made))
		}
	}
	return func() { s.propose(p.request, p.work) }
}

// taken reports whether another JetStream, of any account that is served, has a bucket's stream. All are asked at once: what is silent in one
// is waited for once.
func (s *Service) taken(bucket string) bool {
	var taken atomic.Bool
	var all sync.WaitGroup
	for _, conn := range s.probed {
		all.Go(func() {
			if hasStream(conn, bucket, s.probeWait) {
				taken.Store(true)
			}
		})
	}
	all.Wait()
	return taken.Load()
}

// hasStream reports whether the JetStream of an account has a bucket's stream. One that does not answer has not.
func hasStream(conn *nats.Conn, bucket string, wait time.Duration) bool {
	msg, err := askJetStream(context.Background(), conn, "STREAM.INFO.KV_"+bucket, wait)
	if err != nil {
		return false
	}
	var info struct {
		Config json.RawMessage `json:"config"`
	}
	return json.Unmarshal(msg.Data, &info) == nil && len(info.Config) > 0
}

// askJetStream asks whoever answers $JS.API.
func askJetStream(ctx context.Context, conn *nats.Conn, verb string, wait time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return conn.RequestWithContext(ctx, "$JS.API."+verb, nil)
}

// ErrJetStream: a JetStream answers where the service was to answer.
var ErrJetStream = errors.New("a JetStream answers $JS.API of this account already")

// CheckDefaultAPI returns ErrJetStream if somebody else than a node of the prefix answers $JS.API.INFO. While NATS is away it waits.
func CheckDefaultAPI(ctx context.Context, conn *nats.Conn, prefix string) error {
	return checkDefaultAPI(ctx, conn, prefix, probeWait)
}

func checkDefaultAPI(ctx context.Context, conn *nats.Conn, prefix string, wait time.Duration) error {
	for {
		msg, err := askJetStream(ctx, conn, "INFO", wait)
		switch {
		case err == nil && msg.Header.Get(jetstream.HeaderPrefix) == prefix:
			return nil
		case err == nil:
			return fmt.Errorf("%w: start without --serve-default-api, and have clients name the domain (nats --js-domain %s); or use %s", ErrJetStream, prefix, insteadOf(msg))
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, nats.ErrNoResponders), conn.IsConnected() && errors.Is(err, context.DeadlineExceeded):
			return nil
		}
		select {
		case <-time.After(probeRetry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// insteadOf is what to use in the place of who answered: servers of NATS that run JetStream answer also for the accounts that have none.
func insteadOf(msg *nats.Msg) string {
	const notEnabledForAccount = 10039
	var info struct {
		Error struct {
			Code int `json:"err_code"`
		} `json:"error"`
	}
	if json.Unmarshal(msg.Data, &info) == nil && info.Error.Code == notEnabledForAccount {
		return "NATS servers without JetStream: those that run it answer for this account too, though it has none"
	}
	return "an account without JetStream"
}
