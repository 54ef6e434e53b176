// Package native asks the leader on the native subjects, as a client does: it asks again while that is safe, and says of each
// request whether it was done, refused (certainly not done), or may yet be done. It knows no command line.
package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/kv/jetstream"
)

// Client asks one cluster, for one goroutine at a time.
type Client struct {
	conn   *nats.Conn
	asker  *Asker
	prefix string
	wait   time.Duration
}

// New makes a client of a connection. wait bounds how long a request is pursued, with all its repetitions.
func New(conn *nats.Conn, prefix string, wait time.Duration) *Client {
	return &Client{conn: conn, asker: NewAsker(conn), prefix: prefix, wait: wait}
}

// Conn is the client's connection.
func (c *Client) Conn() *nats.Conn { return c.conn }

// BodyMax is how many bytes a value may have.
func (c *Client) BodyMax() int64 { return c.conn.MaxPayload() - jetstream.PayloadReserve }

// Options are what the connection must have of a Client, and of whoever else asks for a while: it outlives a NATS server, and what could
// not be sent is not sent later, when nobody waits for it any more.
func Options(o *nats.Options) error {
	o.AllowReconnect, o.MaxReconnect, o.ReconnectWait, o.ReconnectBufSize = true, -1, 50*time.Millisecond, -1
	return nil
}

// Request is what a client asks for.
type Request struct {
	Subject string // without the prefix: kv.put.app.color
	Header  nats.Header
	Body    []byte
	Read    bool // it changes nothing: it may be sent again at any time
	// Again is asked for how long after the first sending it may be sent again although it may have been done. nil: it may not.
	// What was certainly not done is sent again in any case.
	Again func(ctx context.Context) time.Duration
}

// Once is for writes that carry a message id: they may be sent again while the bucket remembers it. Half of that time is used, since
// it is judged by the cluster's clock.
func (c *Client) Once(bucket string) func(ctx context.Context) time.Duration {
	return func(ctx context.Context) time.Duration {
		info, err := c.Info(ctx, bucket)
		if err != nil {
			return 0
		}
		return info.Window() / 2
	}
}

// What became of a request that brought no answer.
var (
	// ErrNoLeader: nobody listened, all the time: certainly not done.
	ErrNoLeader = errors.New("no leader answers")
	// ErrUnknown: it may have been done, or may yet be.
	ErrUnknown = errors.New("the outcome is unknown")
	// ErrDenied: NATS refused the request itself: certainly not done.
	ErrDenied = errors.New("NATS refuses")
	// ErrUnheard: an answer could not be heard, so nothing was sent: certainly not done.
	ErrUnheard = errors.New("NATS lets no answer be heard")
	// ErrCaptured: a JetStream keeps the request in a stream, and its answer came first. A write is ErrUnknown too, since a leader may have had it as well.
	ErrCaptured = errors.New("what answers is not raftbus, but a JetStream")
	// ErrStranger: somebody else answered, and may have been the first to. A write is ErrUnknown too, as with ErrCaptured.
	ErrStranger = errors.New("what answers is no raftbus leader: check --prefix")
)

const (
	// answerTime bounds how long one answer is waited for; at most half of the time that there is.
	answerTime = 2 * time.Second
	// AskAgain is the pause before a request is sent again, whoever asks.
	AskAgain = 100 * time.Millisecond
)

// Ask asks until the answer is final. An error is a *Failure, one of those above, or ctx's.
func (c *Client) Ask(ctx context.Context, r Request) (*nats.Msg, error) {
	began := time.Now()
	pursued, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	doubt, again := false, r.Again // a sending may have been done
	var until time.Duration        // since the first sending: how long it may be sent again all the same
	var before error               // of the sending before
	for {
		if ctx.Err() != nil {
			return nil, c.honest(ctx, ctx.Err(), doubt)
		}
		answer, err := c.once(pursued, r)
		if r.Read && before != nil && errors.Is(err, ErrUnknown) && pursued.Err() != nil { // the time cut this one short
			err = before
		}
		before = err
		doubt = doubt || !r.Read && mayBeDone(err)
		if err == nil || errors.Is(err, ErrDenied) || ctx.Err() != nil {
			return answer, c.honest(ctx, err, doubt)
		}
		if !passing(err) {
			return nil, c.honest(ctx, err, doubt)
		}
		if mayBeDone(err) && again != nil {
			until, again = again(pursued), nil
		}
		if doubt && time.Since(began) > until {
			return nil, c.honest(ctx, err, doubt)
		}
		if c.wait-time.Since(began) < 2*AskAgain { // no time for an answer: to ask again would only make the outcome unknown
			return nil, c.honest(ctx, err, doubt)
		}
		select {
		case <-time.After(AskAgain):
		case <-pursued.Done():
			return nil, c.honest(ctx, err, doubt)
		}
	}
}

// honest is an error with what is known of the outcome: once a sending may have been done, that nobody answers now proves nothing. Nor does a full disk,
// which refuses what is to be logged, or a bus that takes less than it did: they say nothing of what was logged before (C5).
func (c *Client) honest(ctx context.Context, err error, doubt bool) error {
	var f *Failure
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !doubt:
		return errors.Join(err, ctx.Err())
	case errors.As(err, &f) && !passing(err) && !(doubt && f.OfKind(kv.Full, kv.TooLarge)):
		return f
	case doubt && !errors.Is(err, ErrUnknown):
		return ErrUnknown
	case errors.As(err, &f):
		return f
	}
	return err
}

func (c *Client) once(ctx context.Context, r Request) (*nats.Msg, error) {
	if c.conn.IsClosed() { // NATS takes these credentials no more: nobody will answer
		return nil, nats.ErrConnectionClosed
	}
	waiting, cancel := context.WithTimeout(ctx, min(answerTime, c.wait/2))
	defer cancel()
	answer, err := c.asker.Request(waiting, &nats.Msg{Subject: c.prefix + "." + r.Subject, Header: r.Header, Data: r.Body})
	switch {
	case errors.Is(err, ErrNoLeader):
		return nil, ErrNoLeader
	case errors.Is(err, ErrDenied), errors.Is(err, ErrUnheard), errors.Is(err, ErrCaptured) && r.Read:
		return nil, err
	case errors.Is(err, ErrCaptured):
		return nil, fmt.Errorf("%w, and %w", err, ErrUnknown)
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, &Failure{ErrCode: kv.TooLarge.ErrCode, Description: fmt.Sprintf("too large: %d bytes, and the bus allows %d: split it, or raise max_payload of the NATS server", len(r.Body), c.BodyMax())}
	case err != nil:
		return nil, ErrUnknown
	}
	if err := failed(answer); !errors.Is(err, ErrStranger) && (err != nil || Answers(r.Subject, answer)) {
		return answer, err
	}
	if r.Read {
		return nil, ErrStranger
	}
	return nil, fmt.Errorf("%w, and %w", ErrStranger, ErrUnknown)
}

// Answers reports whether a message is what raftbus answers on a subject, without the prefix: it names the bucket, or the watch, or lists the buckets, or has a
// value with its revision. Of an error failed is the judge.
func Answers(subject string, m *nats.Msg) bool {
	if m.Header.Get("Rb-Revision") != "" {
		return true
	}
	var answer struct {
		Bucket, Watch string
		Buckets       *[]string
		Error         json.RawMessage
	}
	if json.Unmarshal(m.Data, &answer) != nil {
		return false
	}
	tokens := strings.SplitN(subject, ".", 4)
	switch {
	case len(tokens) < 3:
		return answer.Buckets != nil
	case tokens[1] == "watch" && (answer.Watch != "" || answer.Error != nil): // see errNotBegun
		return true
	}
	return answer.Bucket == tokens[2]
}

// Failure is an error that raftbus answered, one of the kinds of package kv.
type Failure struct {
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
	Current     uint64 `json:"current_revision"`
}

func (f *Failure) Error() string { return f.Description }

// OfKind reports whether it is of a kind.
func (f *Failure) OfKind(kinds ...kv.ErrorKind) bool {
	for _, kind := range kinds {
		if f.ErrCode == kind.ErrCode {
			return true
		}
	}
	return false
}

// failed is the error that an answer brings.
func failed(answer *nats.Msg) error {
	if answer.Header.Get("Nats-Service-Error-Code") == "" {
		return nil
	}
	var body struct{ Error *Failure }
	if err := json.Unmarshal(answer.Data, &body); err != nil || body.Error == nil {
		return ErrStranger
	}
	return body.Error
}

func mayBeDone(err error) bool {
	var f *Failure
	return errors.Is(err, ErrUnknown) || errors.As(err, &f) && f.OfKind(kv.OutcomeUnknown)
}

// passing reports whether an error goes by itself.
func passing(err error) bool {
	var f *Failure
	if errors.As(err, &f) {
		return f.OfKind(kv.Busy, kv.Unavailable, kv.OutcomeUnknown, kv.SettingsChanged)
	}
	return errors.Is(err, ErrNoLeader) || errors.Is(err, ErrUnknown) && !errors.Is(err, ErrCaptured) && !errors.Is(err, ErrStranger)
}
