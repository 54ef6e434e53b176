package native

// One request, and what NATS says of it: whether it carries it at all, and whether an answer could be heard.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// Asker sends requests over a connection, one at a time.
type Asker struct {
	conn   *nats.Conn
	heard  bool                    // answers can be: see hear
	denied atomic.Pointer[refusal] // what ends the wait for an answer, if NATS refuses the request
}

// refusal is how a request hears that NATS refuses it.
type refusal struct {
	publish string // what NATS says in that case, or how that begins
	stop    context.CancelCauseFunc
}

// NewAsker makes an asker of a connection, whose error handler it takes.
func NewAsker(conn *nats.Conn) *Asker {
	a := &Asker{conn: conn}
	conn.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if r := a.denied.Load(); r != nil && errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), r.publish) {
			r.stop(fmt.Errorf("%w: %w", ErrDenied, err)) // of another refusal, as that of a watch's flow control, nothing follows for this request
		}
	})
	return a
}

// Request sends a request once. ctx has a deadline. Of an error that is ErrNoLeader, ErrDenied or ErrUnheard it was certainly not done. ErrCaptured says
// nothing of that.
func (a *Asker) Request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	if err := a.hear(ctx); err != nil {
		return nil, err
	}
	ctx, stop := a.watch(ctx, `Publish to "`+m.Subject+`"`)
	defer stop()
	answer, err := a.conn.RequestMsgWithContext(ctx, m)
	switch denied := context.Cause(ctx); {
	case errors.Is(denied, ErrDenied):
		return nil, denied
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded):
		return nil, fmt.Errorf("%w: %w", ErrNoLeader, err)
	case err != nil:
		return nil, err
	}
	return answer, captured(m.Subject, answer)
}

// captured is an error if an answer is the word of a JetStream that it keeps the request in a stream, or would. It is JSON without headers that names the
// stream, which no answer of raftbus does.
func captured(subject string, answer *nats.Msg) error {
	var word struct{ Stream string }
	if len(answer.Header) > 0 || json.Unmarshal(answer.Data, &word) != nil || word.Stream == "" {
		return nil
	}
	return fmt.Errorf("%w: its stream %s captures %s", ErrCaptured, word.Stream, subject)
}

// Refused is for requests that others send over the connection: NATS's refusal of one whose subject begins so ends the context that it returns, with
// ErrDenied as the cause. It holds until the asker's own next request.
func (a *Asker) Refused(ctx context.Context, begins string) (context.Context, context.CancelFunc) {
	return a.watch(ctx, `Publish to "`+begins)
}

func (a *Asker) watch(ctx context.Context, publish string) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	a.denied.Store(&refusal{publish, stop})
	return ctx, func() {
		a.denied.Store(nil)
		stop(nil)
	}
}

// hear makes sure, before anything is sent, that NATS lets answers come: a request whose answer it refuses is carried out all the same (C5).
func (a *Asker) hear(ctx context.Context) error {
	if a.heard {
		return nil
	}
	inbox := a.conn.NewInbox() + ".*" // as nats.go has them
	sub, err := a.conn.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoLeader, err) // the connection is gone
	}
	defer func() { _ = sub.Unsubscribe() }() // likewise
	err = Heard(ctx, a.conn, inbox)
	if err != nil && !errors.Is(err, ErrUnheard) {
		return fmt.Errorf("%w: %w", ErrNoLeader, err)
	}
	a.heard = err == nil
	return err
}

// Heard returns ErrUnheard if NATS has refused a subscription that was just made. ctx has a deadline.
func Heard(ctx context.Context, conn *nats.Conn, subject string) error {
	if err := conn.FlushWithContext(ctx); err != nil { // its word comes before that of a flush
		return err
	}
	if err := conn.LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), subject) {
		return fmt.Errorf("%w: %w", ErrUnheard, err)
	}
	return nil
}
