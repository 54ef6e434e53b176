package importer

// Where an import comes from: a bucket of a JetStream, read entry by entry in order of revision.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/jetstream"
)

// source is a bucket of a JetStream.
type source struct {
	conn     *nats.Conn
	asker    *native.Asker // of conn
	domain   string
	bucket   string
	patience time.Duration
	allowTTL bool // entries may have a time of their own
}

type streamInfo struct {
	Config json.RawMessage `json:"config"`
	State  struct {
		Messages uint64    `json:"messages"`
		LastSeq  uint64    `json:"last_seq"`
		LastTime time.Time `json:"last_ts"`
	} `json:"state"`
	Error *struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
	limits struct {
		MaxAge   time.Duration `json:"max_age"`
		AllowTTL bool          `json:"allow_msg_ttl"`
	}
}

// expires reports whether entries go by themselves.
func (i *streamInfo) expires() bool { return i.limits.MaxAge > 0 || i.limits.AllowTTL }

func (s *source) stream() string { return "KV_" + s.bucket }

func (s *source) apiPrefix() string {
	if s.domain == "" {
		return "$JS.API."
	}
	return "$JS." + s.domain + ".API."
}

// whoTime bounds the question who answers: who does not say it is asked for the bucket all the same.
const whoTime = 2 * time.Second

// is reports whether it is the cluster of a prefix that answers in the JetStream's place, and would copy from itself.
func (s *source) is(ctx context.Context, prefix string) bool {
	ctx, cancel := context.WithTimeout(ctx, min(whoTime, s.patience))
	defer cancel()
	msg, err := s.asker.Request(ctx, &nats.Msg{Subject: s.apiPrefix() + "INFO"})
	return err == nil && msg.Header.Get(jetstream.HeaderPrefix) == prefix // who may not ask that may import all the same
}

// same reports whether the target's cluster is heard on another connection: both are of one account of one NATS then, where a prefix is of one cluster.
// A user may publish to nobody's inbox, and hear its own only. But NATS lets a request name any subject for its answer, and a node answer there.
func same(into *Target, from *nats.Conn) bool {
	if into.Conn == from {
		return true
	}
	inbox := from.NewInbox()
	sub, err := from.SubscribeSync(inbox + ".*")
	if err != nil {
		return false
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	if from.Flush() != nil {
		return false
	}
	const pause = 100 * time.Millisecond
	for i := range whoTime / pause { // other servers of NATS hear of the subscription a little later
		reply := fmt.Sprintf("%s.%d", inbox, i) // NATS lets a node answer once on each
		if into.Conn.PublishRequest(into.subject("info"), reply, nil) != nil {
			return false
		}
		if _, err := sub.NextMsg(pause); err == nil {
			return true
		}
	}
	return false
}

// info asks for configuration and state.
func (s *source) info(ctx context.Context) (*streamInfo, error) {
	var msg *nats.Msg
	again := func(err error) bool {
		return passing(err) && !errors.Is(err, nats.ErrNoResponders) && !s.conn.IsClosed()
	}
	err := askAgain(ctx, s.patience, again, func(ctx context.Context) (err error) {
		msg, err = s.asker.Request(ctx, &nats.Msg{Subject: s.apiPrefix() + "STREAM.INFO." + s.stream()})
		return err
	})
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("%w on %s>: %w: name its domain with --from-domain, its NATS with --from-nats", ErrNoJetStream, s.apiPrefix(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("the JetStream does not say what %s is: %w: see that it has a leader, and give the same command again", s.stream(), err)
	}
	info := &streamInfo{}
	if err := json.Unmarshal(msg.Data, info); err != nil {
		return nil, fmt.Errorf("what the JetStream says of %s cannot be read: %w", s.stream(), err)
	}
	switch {
	case info.Error != nil && info.Error.Code == 404:
		return nil, fmt.Errorf("%w: the JetStream has no stream %s", ErrNoBucket, s.stream())
	case info.Error != nil:
		return nil, fmt.Errorf("the JetStream says of %s: %s (%d)", s.stream(), info.Error.Description, info.Error.ErrCode)
	}
	return info, json.Unmarshal(info.Config, &info.limits)
}

// each visits all entries from a revision on, in order of revision, as long as visit returns true.
func (s *source) each(ctx context.Context, from uint64, visit func(command.ImportEntry) (bool, error)) error {
	options := []nats.JSOpt{nats.MaxWait(s.patience)}
	if s.domain != "" {
		options = append(options, nats.Domain(s.domain))
	}
	js, err := s.conn.JetStream(options...)
	if err != nil {
		return err
	}
	reading, stop := s.asker.Refused(ctx, s.apiPrefix()+"CONSUMER.CREATE."+s.stream())
	defer stop()
	sub, err := js.SubscribeSync("$KV."+s.bucket+".>", nats.OrderedConsumer(), nats.BindStream(s.stream()), nats.StartSequence(from), nats.Context(reading))
	if refused := context.Cause(reading); errors.Is(refused, native.ErrDenied) { // as text: of an ErrDenied nothing was done, and here the import has begun
		return fmt.Errorf("%s cannot be read: %v: use credentials that may do it, and give the same command again", s.stream(), refused)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be read: %w: see that it has a leader, and give the same command again", s.stream(), err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	if pending, err := sub.InitialConsumerPending(); err != nil || pending == 0 {
		return err
	}
	read := uint64(0)
	for {
		e, about, err := s.next(ctx, sub)
		if errors.Is(err, errSilent) && ended(sub, read) {
			return nil
		}
		if err != nil {
			return err
		}
		if more, err := visit(e); err != nil || !more || about.NumPending == 0 {
			return err
		}
		read = about.Sequence.Consumer
	}
}

// errSilent says that nothing came for as long as patience lasts.
var errSilent = errors.New("nothing came")

// ended reports whether so many messages are all that the consumer has to send: the entries that were counted last may have expired since.
func ended(sub *nats.Subscription, read uint64) bool {
	info, err := sub.ConsumerInfo()
	return err == nil && info.NumPending == 0 && info.Delivered.Consumer == read
}

// next reads one entry, and what the JetStream says about it. The error is errSilent if nothing comes in time.
func (s *source) next(ctx context.Context, sub *nats.Subscription) (e command.ImportEntry, about *nats.MsgMetadata, err error) {
	waiting, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	msg, err := sub.NextMsgWithContext(waiting)
	if ctx.Err() != nil {
		return e, nil, ctx.Err()
	}
	if err != nil {
		return e, nil, fmt.Errorf("the JetStream sends no more of %s for %v (%w): %w: give the same command again, and the import goes on", s.stream(), s.patience, errSilent, err)
	}
	about, err = msg.Metadata()
	if err != nil {
		return e, nil, err
	}
	e, err = jetstream.ImportMessage(s.bucket, msg.Subject, msg.Header, msg.Data, about.Sequence.Stream, about.Timestamp)
	if err != nil {
		err = fmt.Errorf("revision %d of %s: %w", about.Sequence.Stream, s.stream(), err)
	}
	if !s.allowTTL && e.TTL > 0 { // NATS stores one that comes from another stream or from before 2.11, and heeds only never
		e.TTL = 0
	}
	return e, about, err
}
