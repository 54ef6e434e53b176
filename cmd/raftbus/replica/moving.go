package replica

// A connection to clients that is to be made anew, since its NATS server is about to go (F8), or may grant by now what it refused (F12): a leader
// finishes first what has come over it. A client finds no responders meanwhile and asks again, as when leadership is handed over (L2).

import (
	"context"
	"errors"
	"time"
)

const (
	// moveTimeout bounds how long what has come is waited for, with a hand-over and a former leader before: less than the ten seconds after which a server
	// that goes begins to end its connections, as a rule.
	moveTimeout = 6 * time.Second
	// moveRetry is how often it is tried while leadership is handed over.
	moveRetry = 50 * time.Millisecond
)

// noteMove is told that the connection is to be made anew.
func (s *served) noteMove() {
	select {
	case s.moves <- struct{}{}:
	default: // it will be
	}
}

// watchMoves makes an account's connection anew when that is asked for, until the node begins to stop.
func (r *Replica) watchMoves(ctx context.Context, s *served) {
	for {
		select {
		case <-s.moves:
			r.move(ctx, s)
		case <-ctx.Done():
			return
		}
	}
}

// move makes an account's connection anew while nobody listens over it. Nobody hands over meanwhile, which would have its service listen again; the
// accounts do not wait for each other.
func (r *Replica) move(ctx context.Context, s *served) {
	before := s.reconnects()
	bounded, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	for !r.handing.TryRLock() {
		if pause(ctx, moveRetry) != nil {
			return
		}
	}
	defer r.handing.RUnlock()
	defer s.kv.Resume()
	err := s.finish(bounded)
	if ctx.Err() != nil || s.reconnects() != before {
		return // a stop has use for the connection, and one that was lost meanwhile is anew
	}
	if err != nil {
		r.logger.Warn("connecting to NATS anew all the same: requests may get no answer", "reason", err)
	}
	s.renew()
}

// renew makes the connection anew. What has asked for that until now has it by this.
func (s *served) renew() {
	select {
	case <-s.moves:
	default:
	}
	s.conn.Renew()
}

func (s *served) reconnects() uint64 { return s.conn.NATS().Stats().Reconnects }

// finish has the account's service stop listening and finish what it has, once nobody else listens there.
func (s *served) finish(ctx context.Context) error {
	alone, cancel := context.WithTimeout(ctx, formerWait)
	defer cancel()
	err := s.kv.AwaitAlone(alone)
	return errors.Join(err, s.kv.Drain(ctx))
}
