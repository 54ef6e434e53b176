package backup

// Taking a backup from a node: its state is asked for in chunks, checked as it goes by, and written whole or as an increment.

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Source says whom to take a backup from.
type Source struct {
	Conn    *nats.Conn // whose error handler is taken
	Prefix  string
	Node    string
	AtLeast uint64 // the entry that the backup must reflect
	// Patience is how long one chunk is asked for before the backup is given up, and the start of one, if that is less than the node may take.
	Patience time.Duration
	Base     io.ReadSeeker // a whole backup: what is written is an increment of it
	wait     time.Duration // how long a silence is before a chunk is asked for again, at first; 0: askWait
	stay     time.Duration // how long only records of the base may pass before the node hears of the backup; 0: stayWait
}

// ErrRefused is what a node says that gives no backup.
var ErrRefused = errors.New("the node gives no backup")

const (
	askWait = 2 * time.Second
	// nobodyWait is the pause before a node is asked again that is not there.
	nobodyWait = 200 * time.Millisecond
	// openWait is for a new backup: a node that is behind is waited for.
	openWait = catchUpWait + 2*time.Second
	stayWait = idleMax / 3
)

// Fetch writes a node's state to w, as a backup, and says of what moment it is. What it wrote was checked, record by record, as it went by; it
// counts only if the error is nil. It has no more than a window of chunks in memory. progress hears how many entries of how many came, now and then.
func (s Source) Fetch(ctx context.Context, w io.Writer, progress func(entries uint64, of *Head)) (Summary, error) {
	var base *File
	var name *Base
	if s.Base != nil { // before a node holds its state for it
		var err error
		if base, name, err = openBase(s.Base); err != nil {
			return Summary{}, err
		}
	}
	started, err := s.open(ctx)
	if err != nil {
		return Summary{}, err
	}
	defer s.over(started.Backup)
	head := &started.Head
	told := func(n uint64) { progress(n, head) }
	out := newWriter(w)
	if base == nil {
		err = s.whole(ctx, started, out, told)
	} else {
		head.Base = name
		err = s.increment(ctx, started, base, out, told)
	}
	if err != nil {
		return Summary{}, err
	}
	digest, err := out.end()
	return Summary{Head: *head, Bytes: out.written, SHA256: fmt.Sprintf("%x", digest)}, err
}

// whole copies the state, and reads it as it goes by.
func (s Source) whole(ctx context.Context, b *begun, out *writer, progress func(uint64)) error {
	if err := out.begin(&b.Head); err != nil {
		return err
	}
	read, write := io.Pipe()
	inspected := inspect(read, progress, nil)
	return s.copy(ctx, b, io.MultiWriter(out, write), write, inspected)
}

// increment reads the state, and writes what is not in the base.
func (s Source) increment(ctx context.Context, b *begun, old *File, out *writer, progress func(uint64)) error {
	if err := fits(&old.Head, &b.Head); err != nil {
		return err
	}
	if err := out.begin(&b.Head); err != nil {
		return err
	}
	base, err := newCursor(old)
	defer base.stop()
	if err != nil {
		return err
	}
	d := &differ{base: base, passes: s.staying(b.Backup)}
	if d.out, err = store.NewSnapshotWriter(out, rpc.EntryID{Index: rpc.Index(b.Head.Index), Term: rpc.Term(b.Head.Term)}); err != nil {
		return err
	}
	read, write := io.Pipe()
	if err := s.copy(ctx, b, write, write, inspect(read, progress, d.record)); err != nil {
		return err
	}
	return d.end()
}

// staying returns what is told of records of the base that pass, of which the node sends nothing: of a large bucket that was removed they may be so many
// that it would take the backup for one that nobody wants any more. Each question has it wait anew, also one for a chunk that it gave long ago, and
// nobody listens to what it says to that.
func (s Source) staying(backup string) (passes func()) {
	heard := time.Now()
	body, _ := json.Marshal(question{Backup: backup}) // never fails
	return func() {
		if time.Since(heard) < cmp.Or(s.stay, stayWait) {
			return
		}
		heard = time.Now()
		_ = s.Conn.PublishRequest(Subject(s.Prefix, s.Node), s.Conn.NewInbox(), body) // if it fails, or is lost, another follows
	}
}

// copy fetches the state into w, and thereby into the pipe of who inspects it.
func (s Source) copy(ctx context.Context, b *begun, w io.Writer, pipe *io.PipeWriter, inspected <-chan inspection) error {
	err := s.chunks(ctx, b, w)
	_ = pipe.CloseWithError(err) // nil is the end
	got := <-inspected
	if err == nil || errors.Is(err, io.ErrClosedPipe) {
		err = got.against(&b.Head)
	}
	return err
}

func (s Source) open(ctx context.Context) (*begun, error) {
	m, err := s.ask(ctx, question{AtLeast: s.AtLeast}, min(openWait, s.Patience))
	if err != nil {
		return nil, err
	}
	var b begun
	if err := json.Unmarshal(m.Data, &b); err != nil || b.Backup == "" || b.Ahead < 1 {
		return nil, fmt.Errorf("what answers on %s is no raftbus node: check --prefix", Subject(s.Prefix, s.Node))
	}
	return &b, nil
}

// over tells the node that it may let go of the state; if that is lost it does so by itself, later.
func (s Source) over(backup string) {
	body, _ := json.Marshal(question{Backup: backup, Over: true}) // never fails
	_ = s.Conn.PublishRequest(Subject(s.Prefix, s.Node), s.Conn.NewInbox(), body)
	_ = s.Conn.FlushTimeout(askWait)
}

// ask asks once. Nobody there is nats.ErrNoResponders, other errors are those of an Asker.
func (s Source) ask(ctx context.Context, q question, wait time.Duration) (*nats.Msg, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m, err := native.NewAsker(s.Conn).Request(asking, &nats.Msg{Subject: Subject(s.Prefix, s.Node), Data: body})
	if errors.Is(err, nats.ErrNoResponders) {
		err = nats.ErrNoResponders // the node's absence, not a leader's
	}
	if err != nil {
		return nil, err
	}
	if why := m.Header.Get(headerError); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrRefused, why)
	}
	return m, nil
}

// chunks copies all chunks in order, and asks for as many at once as the node takes.
func (s Source) chunks(ctx context.Context, b *begun, w io.Writer) error {
	f, err := s.follow(b)
	if err != nil {
		return err
	}
	defer f.close()
	digest := sha256.New()
	for k := 0; ; k++ {
		m, err := f.chunk(ctx, k)
		if err != nil {
			return err
		}
		digest.Write(m.Data)
		if _, err := w.Write(m.Data); err != nil {
			return err
		}
		if want := m.Header.Get(headerDigest); want == fmt.Sprintf("%x", digest.Sum(nil)) {
			return nil
		} else if want != "" {
			return fmt.Errorf("%w: checksum of what came", ErrBadFile)
		}
	}
}

// follower asks for chunks ahead, and puts what comes in order. A silence says that something was lost, or that the way is slow: then only the
// chunk that is needed next is asked for again, the rest of those that were under way once that has come, and each silence makes
// the next one longer, so that a slow way is not filled with what is on it already.
type follower struct {
	s       Source
	backup  string
	ahead   int
	inbox   string
	sub     *nats.Subscription
	came    map[int]*nats.Msg // out of order
	asked   int               // chunks below it were asked for
	suspect int               // chunks below it were under way at the last silence
	wait    time.Duration
	first   time.Duration // wait, as it is when all goes well
}

func (s Source) follow(b *begun) (*follower, error) {
	f := &follower{s: s, backup: b.Backup, ahead: min(b.Ahead, aheadMax), inbox: s.Conn.NewInbox() + ".", came: map[int]*nats.Msg{}, first: min(cmp.Or(s.wait, askWait), s.Patience)}
	f.wait = f.first
	var err error
	f.sub, err = s.Conn.SubscribeSync(f.inbox + "*")
	return f, err
}

func (f *follower) close() { _ = f.sub.Unsubscribe() } // fails only with the connection

// ask sends one question; if that fails, or is lost, the silence is noticed.
func (f *follower) ask(k int) {
	body, _ := json.Marshal(question{Backup: f.backup, Chunk: k}) // never fails
	_ = f.s.Conn.PublishRequest(Subject(f.s.Prefix, f.s.Node), f.inbox+strconv.Itoa(k), body)
}

// chunk returns chunk k, which is the one after the last.
func (f *follower) chunk(ctx context.Context, k int) (*nats.Msg, error) {
	for ; f.asked < k+f.ahead; f.asked++ {
		f.ask(f.asked)
	}
	for until := time.Now().Add(f.s.Patience); f.came[k] == nil; {
		err := f.receive(ctx, k)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil || errors.Is(err, ErrRefused) || f.s.Conn.IsClosed() || time.Now().After(until):
			return nil, err
		case errors.Is(err, context.DeadlineExceeded):
			f.slower()
		}
		f.suspect = f.asked
		f.ask(k)
	}
	m := f.came[k]
	delete(f.came, k)
	for again := k + 1; again < f.suspect; again++ {
		if f.came[again] == nil {
			f.ask(again)
		}
	}
	f.suspect, f.wait = 0, max(f.first, f.wait/2) // what is lost once in a while is no reason to wait longer each time
	return m, nil
}

// slower has the next silence be longer, within bounds: the node must hear of us, and we be there when an outage ends.
func (f *follower) slower() { f.wait = min(2*f.wait, max(f.s.Patience/4, f.first), idleMax/3) }

// receive takes the next message; chunk k is what is needed. An error is a silence, nobody there, or a refusal.
func (f *follower) receive(ctx context.Context, k int) error {
	waiting, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	m, err := f.sub.NextMsgWithContext(waiting)
	if err != nil && errors.Is(err, nats.ErrNoResponders) {
		select { // for a moment
		case <-time.After(nobodyWait):
		case <-ctx.Done():
		}
	}
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(m.Subject, f.inbox))
	if err != nil || n < k || f.came[n] != nil {
		return nil // it came before
	}
	if why := m.Header.Get(headerError); why != "" {
		return fmt.Errorf("%w: %s", ErrRefused, why)
	}
	f.came[n] = m
	return nil
}
