package bench

// The native subjects, by plain requests.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Native is a bucket on the native subjects.
type Native struct {
	Connect func() (*nats.Conn, error)
	Prefix  string
	Bucket  string
	Timeout time.Duration // for an answer before the load begins: who asks for one operation says how long it may take
}

// Create makes the bucket.
func (n Native) Create(ctx context.Context) error { return n.ask(ctx, "add") }

// Remove removes the bucket.
func (n Native) Remove(ctx context.Context) error { return n.ask(ctx, "rm") }

func (n Native) ask(ctx context.Context, op string) error {
	conn, err := n.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = ask(ctx, conn, &nats.Msg{Subject: n.Prefix + ".bucket." + op + "." + n.Bucket})
	return err
}

// Open connects.
func (n Native) Open(ctx context.Context) (Store, error) {
	conn, err := n.Connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, n.Timeout)
	defer cancel()
	if _, err := ask(ctx, conn, &nats.Msg{Subject: n.Prefix + ".bucket.info." + n.Bucket}); err != nil {
		conn.Close()
		return nil, err
	}
	return &nativeStore{conn: conn, timeout: n.Timeout, prefix: n.Prefix + ".kv.", bucket: "." + n.Bucket}, nil
}

type nativeStore struct {
	conn           *nats.Conn
	timeout        time.Duration
	prefix, bucket string // of subjects, with the dots between
}

func (s *nativeStore) Close() { s.conn.Close() }

func (s *nativeStore) subject(op, key string) string { return s.prefix + op + s.bucket + "." + key }

func (s *nativeStore) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return s.write(ctx, &nats.Msg{Subject: s.subject("put", key), Data: value})
}

func (s *nativeStore) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.write(ctx, &nats.Msg{
		Subject: s.subject("update", key), Data: value, Header: nats.Header{nats.ExpectedLastSubjSeqHdr: {strconv.FormatUint(revision, 10)}},
	})
}

func (s *nativeStore) write(ctx context.Context, m *nats.Msg) (uint64, error) {
	answer, err := ask(ctx, s.conn, m)
	if err != nil {
		return 0, err
	}
	return revisionIn(answer, m.Subject)
}

// revisionIn is the revision that an answer in JSON tells.
func revisionIn(answer *nats.Msg, subject string) (uint64, error) {
	var done struct {
		Revision uint64 `json:"revision"`
	}
	if err := json.Unmarshal(answer.Data, &done); err != nil || done.Revision == 0 { // a JetStream that captures the subject acknowledges too
		return 0, errors.Join(fmt.Errorf("what answers on %s is no raftbus: check --prefix, and that no stream of a JetStream captures it", subject), err)
	}
	return done.Revision, nil
}

func (s *nativeStore) Get(ctx context.Context, key string) (uint64, error) {
	m := &nats.Msg{Subject: s.subject("get", key), Header: nats.Header{"Rb-Reply": {"raw"}}}
	answer, err := ask(ctx, s.conn, m)
	if err != nil {
		return 0, err
	}
	if revision := answer.Header.Get("Rb-Revision"); revision != "" {
		return strconv.ParseUint(revision, 10, 64)
	}
	return revisionIn(answer, m.Subject) // an empty value is told as JSON
}

func (s *nativeStore) Watch(ctx context.Context, changed func([]byte)) error {
	inbox := s.conn.NewInbox()
	events, err := s.conn.Subscribe(inbox, func(m *nats.Msg) {
		if m.Header.Get("Rb-Key") != "" { // else a mark, or a question of flow control
			changed(m.Data)
		}
		if m.Reply != "" {
			_ = m.Respond(nil) // a lost one is asked for again
		}
	})
	if err != nil {
		return err
	}
	request, err := json.Marshal(map[string]any{"deliver": inbox, "first": "nothing", "flow_control": true})
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err = ask(asking, s.conn, &nats.Msg{Subject: s.prefix + "watch" + s.bucket, Data: request})
	context.AfterFunc(ctx, func() { _ = events.Unsubscribe() }) // the watch ends when nobody listens
	return err
}

// Refusal is an error that raftbus answered.
type Refusal struct {
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (r *Refusal) Error() string { return "raftbus: " + r.Description }

// refusals are the codes of kv/ERRORS.md that have words of this package. They are written here again, since they are API, and since
// who measures another store need not link raftbus's.
var refusals = map[int]error{30001: ErrNotFound, 30002: ErrExists, 30003: ErrNotFound, 30005: ErrConflict, 30014: ErrUnknown}

// Unwrap is what it says in this package's words.
func (r *Refusal) Unwrap() error { return refusals[r.ErrCode] }

// ask sends a request. A refusal is an error.
func ask(ctx context.Context, conn *nats.Conn, m *nats.Msg) (*nats.Msg, error) {
	answer, err := conn.RequestMsgWithContext(ctx, m)
	if err != nil {
		return nil, err
	}
	if answer.Header.Get("Nats-Service-Error-Code") == "" {
		return answer, nil
	}
	var failed struct{ Error *Refusal }
	if err := json.Unmarshal(answer.Data, &failed); err != nil || failed.Error == nil {
		return nil, errors.Join(fmt.Errorf("what answers on %s is no raftbus: check --prefix", m.Subject), err)
	}
	return nil, failed.Error
}
