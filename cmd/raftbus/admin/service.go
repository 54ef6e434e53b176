// Package admin answers administrators on <prefix>.admin.<op> while its node leads: who belongs to the cluster, changes of that,
// transfers of leadership, and opening the cluster to what a newer release brought. It decides nothing: the core does, and this room puts it in JSON.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Node is what the service needs of the node.
type Node interface {
	Reconfigure(change raft.Change, done func(rpc.EntryID, error)) error
	ReadIndex(done func(error)) error
	Leadership(changed func(leading bool))
	Status() node.Status
}

// Options say what a Service stands on. All but Logger are required.
type Options struct {
	Conn   *nats.Conn // the client connection; stays the caller's
	Prefix string     // the first token of all subjects
	Node   Node       // not started yet
	// HandOver hands leadership to a voter, or if to is empty to the best one, after the services for clients have finished what
	// they have. With an error this node leads on, as far as it knows.
	HandOver func(ctx context.Context, to string) error
	// Raise opens the cluster to what all members know, and returns what it is open to then. An error is ErrNotKnown when they do not.
	Raise  func(ctx context.Context) (open uint64, err error)
	Logger *slog.Logger // nil discards
}

const (
	// requestsMax bounds the requests that wait: administrators are few.
	requestsMax = 32
	// bodyBytesMax bounds a request: as many members as there may be, and room.
	bodyBytesMax = 16 << 10
	// answerWait bounds how long a request may take before its sender hears that the outcome is unknown.
	answerWait = 5 * time.Second
	// retryWait is how long a subscription that failed waits before it is tried again.
	retryWait = 100 * time.Millisecond
)

// Service answers administrators while its node leads. Its methods may be called by several goroutines.
type Service struct {
	o      Options
	logger *slog.Logger

	// epoch counts the changes of leadership; it is odd while this node leads.
	epoch   atomic.Uint64
	waiting atomic.Int64

	wake   chan struct{} // leadership changed
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards closed, and with it the adding to wg
	closed bool
}

// New makes a service and registers it with the node: make it before the node starts. Close it.
func New(o Options) (*Service, error) {
	if o.Conn == nil || o.Prefix == "" || o.Node == nil || o.HandOver == nil || o.Raise == nil {
		return nil, errors.New("admin service: Conn, Prefix, Node, HandOver and Raise are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{o: o, logger: o.Logger, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.keeper)
	o.Node.Leadership(s.leadership)
	return s, nil
}

// Close stops listening, ends what is under way as unknown, and returns when nothing of the service runs any more.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// leadership hears from the node, on its goroutine, that it leads or no longer does.
func (s *Service) leadership(leading bool) {
	if leading == isLeading(s.epoch.Load()) {
		return
	}
	s.epoch.Add(1)
	select {
	case s.wake <- struct{}{}:
	default: // the keeper will look anyway
	}
}

func isLeading(epoch uint64) bool { return epoch%2 == 1 }

// keeper makes the subscription what leadership asks for: so 'no responders' means that nobody leads.
func (s *Service) keeper() {
	var sub *nats.Subscription
	retry := time.NewTicker(retryWait)
	defer retry.Stop()
	for {
		want := isLeading(s.epoch.Load())
		if want && sub == nil {
			sub = s.subscribe()
		}
		if !want && sub != nil {
			_ = sub.Unsubscribe() // fails only with the connection
			sub = nil
		}
		select {
		case <-s.wake:
		case <-retry.C:
		case <-s.ctx.Done():
			if sub != nil {
				_ = sub.Unsubscribe()
			}
			return
		}
	}
}

func (s *Service) subscribe() *nats.Subscription {
	sub, err := s.o.Conn.Subscribe(Subject(s.o.Prefix, ">"), s.handle)
	if err != nil {
		s.logger.Warn("leading, but cannot listen to administrators; trying again", "err", err)
		return nil
	}
	return sub
}

// request is one message of an administrator.
type request struct {
	msg   *nats.Msg
	op    string
	epoch uint64 // of leadership, when it came
}

// handle takes one message, on a goroutine of nats.go.
func (s *Service) handle(msg *nats.Msg) {
	if !jetstream.MayAnswer(s.o.Prefix, msg.Reply) {
		return // who may ask may not have the node speak to others
	}
	op := strings.TrimPrefix(msg.Subject, Subject(s.o.Prefix, ""))
	r := &request{msg, op, s.epoch.Load()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !isLeading(r.epoch) {
		return // another leads, and got the request too; or nobody does
	}
	if s.waiting.Add(1) > requestsMax {
		s.waiting.Add(-1)
		s.logger.Warn("request of an administrator dropped: as many wait as may wait", "max", requestsMax)
		return // silence: 'busy' would be a refusal, and only who shows that it led may refuse
	}
	s.wg.Go(func() {
		defer s.waiting.Add(-1)
		s.serve(r)
	})
}

// serve carries out a request, and answers it.
func (s *Service) serve(r *request) {
	ctx, cancel := context.WithTimeout(s.ctx, answerWait)
	defer cancel()
	var answer any
	var f *Failure
	switch r.op {
	case OpMembers:
		answer, f = s.members(ctx, r)
	case OpReconfigure:
		answer, f = s.reconfigure(ctx, r)
	case OpTransfer:
		answer, f = s.transfer(ctx, r)
	case OpRaise:
		answer, f = s.raise(ctx, r)
	default:
		f = UnknownOp.says("%s: there are %s, %s, %s and %s", r.op, OpMembers, OpReconfigure, OpTransfer, OpRaise)
	}
	s.reply(r, answer, s.honest(ctx, r, f))
}

// honest tells a refusal only if this node can show that it led since the request came: another that got a copy may have carried it
// out (design section 4).
func (s *Service) honest(ctx context.Context, r *request, f *Failure) *Failure {
	if f == nil || f.OfKind(OutcomeUnknown) || f.OfKind(Unavailable) || f.OfKind(UnknownOp) || s.confirmed(ctx, r) {
		return f
	}
	return OutcomeUnknown.says("this node ceased to lead before it could say: %s", f.Description)
}

// confirmed reports whether a majority confirms that this node leads, and did since the request came.
func (s *Service) confirmed(ctx context.Context, r *request) bool {
	done := make(chan error, 1)
	if err := s.o.Node.ReadIndex(func(err error) { done <- err }); err != nil {
		return false
	}
	select {
	case err := <-done:
		return err == nil && s.epoch.Load() == r.epoch
	case <-ctx.Done():
		return false
	}
}

func (s *Service) members(ctx context.Context, r *request) (any, *Failure) {
	if !s.confirmed(ctx, r) {
		return nil, Unavailable.says("this node leads, but no majority confirms it")
	}
	status := s.o.Node.Status()
	return newMembers(&status), nil
}

func (s *Service) reconfigure(ctx context.Context, r *request) (any, *Failure) {
	var body Change
	if f := r.json(&body); f != nil {
		return nil, f
	}
	change, err := body.change()
	if err != nil {
		return nil, BadRequest.says("%v", err)
	}
	type outcome struct {
		id  rpc.EntryID
		err error
	}
	done := make(chan outcome, 1)
	if err := s.o.Node.Reconfigure(change, func(id rpc.EntryID, err error) { done <- outcome{id, err} }); err != nil {
		return nil, failure(err)
	}
	select {
	case o := <-done:
		if o.err != nil {
			return nil, failure(o.err)
		}
		s.logger.Info("members changed by an administrator", "index", o.id.Index, "add", len(change.Add), "remove", change.Remove)
		return Changed{uint64(o.id.Index), uint64(o.id.Term)}, nil
	case <-ctx.Done():
		return nil, OutcomeUnknown.says("not committed within %v", answerWait)
	}
}

func (s *Service) transfer(ctx context.Context, r *request) (any, *Failure) {
	var body Transfer
	if f := r.json(&body); f != nil {
		return nil, f
	}
	if err := s.o.HandOver(ctx, body.To); err != nil {
		return nil, failure(err)
	}
	return Transferred{string(s.o.Node.Status().Leader)}, nil
}

func (s *Service) raise(ctx context.Context, r *request) (any, *Failure) {
	if f := r.json(&struct{}{}); f != nil {
		return nil, f
	}
	open, err := s.o.Raise(ctx)
	if err != nil {
		return nil, failure(err)
	}
	return Raised{open}, nil
}

// json reads a body: nothing, or one object with known fields only.
func (r *request) json(into any) *Failure {
	body := bytes.TrimSpace(r.msg.Data)
	switch {
	case len(body) == 0:
		return nil
	case len(body) > bodyBytesMax:
		return BadRequest.says("the body has %d bytes: at most %d", len(body), bodyBytesMax)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return BadRequest.says("the body is no JSON that %s takes: %v", r.op, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return BadRequest.says("the body holds more than one JSON object")
	}
	return nil
}

type failureReply struct {
	Type  string   `json:"type"`
	Error *Failure `json:"error"`
}

const (
	headerError     = "Nats-Service-Error"
	headerErrorCode = "Nats-Service-Error-Code"
)

// reply answers: a lost answer is asked for again.
func (s *Service) reply(r *request, answer any, f *Failure) {
	m := &nats.Msg{Subject: r.msg.Reply}
	if f != nil {
		answer = failureReply{fmt.Sprintf("io.raftbus.admin.v1.%s_response", r.op), f}
		m.Header = nats.Header{headerError: {strings.Map(printable, f.Description)}, headerErrorCode: {fmt.Sprint(f.Code)}}
	}
	body, err := json.Marshal(answer)
	if err != nil || r.msg.Reply == "" {
		return
	}
	m.Data = body
	if err := s.o.Conn.PublishMsg(m); err != nil {
		s.logger.Debug("answer to an administrator", "err", err)
	}
}

// printable makes a text fit for a header: it may quote what was sent.
func printable(c rune) rune {
	if c < ' ' || c == 0x7f {
		return ' '
	}
	return c
}
