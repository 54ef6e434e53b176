package importer

// Where an import goes to: a bucket of raftbus, over its native subjects, and what it holds so far.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/kv/command"
)

// Target is a bucket of raftbus that is imported.
type Target struct {
	Conn     *nats.Conn
	Asker    *native.Asker // of Conn
	Prefix   string
	Bucket   string
	Patience time.Duration // how long nobody may lead
}

// Reached is what raftbus answers.
type Reached struct {
	Revision uint64 `json:"revision"`
	Again    bool   `json:"again"`
}

// Begin begins an import, or goes on with one.
func (t *Target) Begin(ctx context.Context, config []byte) (r Reached, err error) {
	err = t.ask(ctx, "import_begin", config, &r)
	return r, err
}

// batchBytes bounds the entries that go together, by their Size: what fits one by one must fit together, whatever the bus carries (F11).
func (t *Target) batchBytes() int {
	return min(batchBytesMax, int(t.Conn.MaxPayload())-len(t.Bucket)-command.ImportOverheadBytes)
}

// Import adds entries, and returns the revision reached. It is done once, however often it is sent.
func (t *Target) Import(ctx context.Context, i command.Import) (uint64, error) {
	want := i.Last
	if len(i.Entries) > 0 {
		want = max(want, i.Entries[len(i.Entries)-1].Sequence)
	}
	var r Reached
	body := command.Command{Import: &i}.Encode()
	if limit := t.Conn.MaxPayload(); int64(len(body)) > limit {
		return 0, fmt.Errorf("%w: with revision %d of %s a message has %d bytes, and the NATS server of raftbus takes %d: raise its max_payload",
			ErrTooLarge, want, i.Entries[0].Key, len(body), limit)
	}
	err := t.ask(ctx, "import_entries", body, &r)
	var f *native.Failure
	if errors.As(err, &f) && f.OfKind(kv.WrongRevision) && f.Current == want {
		return want, nil // an answer was lost
	}
	return r.Revision, err
}

// End ends an import that has reached a revision.
func (t *Target) End(ctx context.Context, revision uint64) error {
	err := t.ask(ctx, "import_end", fmt.Appendf(nil, `{"revision":%d}`, revision), nil)
	var f *native.Failure
	if errors.As(err, &f) && f.OfKind(kv.NotImporting) && f.Current >= revision {
		return nil // an answer was lost, and the bucket may have gone on since
	}
	return err
}

// Info asks what the bucket is.
func (t *Target) Info(ctx context.Context) (i native.Info, err error) {
	err = t.ask(ctx, "info", nil, &i)
	return i, err
}

func (t *Target) subject(op string) string { return t.Prefix + ".bucket." + op + "." + t.Bucket }

// ask asks until it is answered, or for too long. What is asked twice must be done once.
func (t *Target) ask(ctx context.Context, op string, body []byte, into any) error {
	again := func(err error) bool { return passing(err) && !t.Conn.IsClosed() } // it comes back no more
	err := askAgain(ctx, t.Patience, again, func(ctx context.Context) error { return t.askOnce(ctx, op, body, into) })
	if err != nil && again(err) && ctx.Err() == nil {
		return fmt.Errorf("raftbus (prefix %s) does not answer for %v: %w: give the same command again, and the import goes on", t.Prefix, t.Patience, err)
	}
	return err
}

// answerTime bounds how long one answer is waited for; half the patience does too, since an answer may be lost.
const answerTime = 10 * time.Second

// askAgain asks until patience is over, as long as an error is one after which to ask again. ask has a deadline each time.
func askAgain(ctx context.Context, patience time.Duration, again func(error) bool, ask func(context.Context) error) error {
	once := func() error {
		ctx, cancel := context.WithTimeout(ctx, min(answerTime, patience/2))
		defer cancel()
		return ask(ctx)
	}
	for end := time.Now().Add(patience); ; {
		err := once()
		if err == nil || !again(err) || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(native.AskAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *Target) askOnce(ctx context.Context, op string, body []byte, into any) error {
	msg, err := t.Asker.Request(ctx, &nats.Msg{Subject: t.subject(op), Data: body})
	if err != nil {
		return err
	}
	var failed struct{ Error *native.Failure }
	if json.Unmarshal(msg.Data, &failed) == nil && failed.Error != nil {
		return fmt.Errorf("raftbus: %w", failed.Error)
	}
	if !native.Answers(strings.TrimPrefix(t.subject(op), t.Prefix+"."), msg) {
		return native.ErrStranger
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(msg.Data, into)
}

// passing reports whether an error goes by itself.
func passing(err error) bool {
	var f *native.Failure
	if errors.As(err, &f) {
		return f.OfKind(kv.Busy, kv.Unavailable, kv.OutcomeUnknown)
	}
	return errors.Is(err, native.ErrNoLeader) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionReconnecting)
}

// sums are the sums of what the bucket has, in order of revision, read a page at a time.
func (t *Target) sums(ctx context.Context) *sums { return &sums{ctx: ctx, target: t, more: true} }

type sums struct {
	ctx    context.Context
	target *Target
	page   []sumOf
	after  uint64
	more   bool
}

type sumOf struct {
	Revision uint64 `json:"revision"`
	SHA256   string `json:"sha256"`
}

// at is the sum of a revision; empty if there is none. Those before it that were not asked for are passed to skipped.
func (s *sums) at(revision uint64, skipped func(revision uint64)) (string, error) {
	for {
		for len(s.page) > 0 && s.page[0].Revision < revision {
			skipped(s.page[0].Revision)
			s.page = s.page[1:]
		}
		if len(s.page) > 0 {
			if s.page[0].Revision > revision {
				return "", nil
			}
			sum := s.page[0].SHA256
			s.page = s.page[1:]
			return sum, nil
		}
		if !s.more {
			return "", nil
		}
		if err := s.read(); err != nil {
			return "", err
		}
	}
}

func (s *sums) read() error {
	var page struct {
		Entries []sumOf `json:"entries"`
		More    bool    `json:"more"`
		After   uint64  `json:"after"`
	}
	if err := s.target.ask(s.ctx, "import_sums", fmt.Appendf(nil, `{"after":%d}`, s.after), &page); err != nil {
		return err
	}
	s.page, s.more, s.after = page.Entries, page.More, page.After
	return nil
}
