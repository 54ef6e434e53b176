package backup

// A node gives its state away in chunks that are asked for by number, each answered once: so who takes a backup sets the pace, a chunk that was
// lost is asked for again, and NATS's permission to answer a request is all that the node needs.

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Subject is where a node is asked for its state.
func Subject(prefix, id string) string {
	return busclient.NodeSubject(prefix, id, "backup")
}

const (
	// sessionsMax bounds the backups under way on one node. Each holds back what compactions would free.
	sessionsMax = 4
	// idleMax is how long a backup waits for the next question before the node lets go of the state.
	idleMax = 30 * time.Second
	// aheadMax is how many chunks may be asked for at once; as many are kept for who asks again.
	aheadMax = 16
	// chunkBytesMax bounds a chunk; what the bus carries in one message may bound it lower.
	chunkBytesMax = 256 << 10
	// headroomBytes is what a message has beside its chunk.
	headroomBytes = 8 << 10
	// chunkBytesMin is a chunk where messages may hardly be larger than the headroom.
	chunkBytesMin = 1 << 10
	// catchUpWait bounds how long a node that is behind is waited for.
	catchUpWait = 5 * time.Second
	catchUpLook = 5 * time.Millisecond
)

// question is what is asked: for a new backup, or for a chunk of one.
type question struct {
	AtLeast uint64 `json:"at_least,omitempty"` // of a new one: the entry that it must reflect
	Backup  string `json:"backup,omitempty"`
	Chunk   int    `json:"chunk"`
	Over    bool   `json:"over,omitempty"` // no more of it is wanted
}

// begun answers a question for a new backup.
type begun struct {
	Backup string `json:"backup"`
	Ahead  int    `json:"ahead"` // chunks that may be asked for at once
	Head   Head   `json:"head"`
	Error  string `json:"error,omitempty"`
}

// Headers of a chunk.
const (
	headerError  = "Rb-Error"  // instead of a chunk
	headerDigest = "Rb-Digest" // of the last chunk: SHA-256 of all of them
)

// Options say what a Service stands on. All are required.
type Options struct {
	Conn   *nats.Conn // the client connection; stays the caller's
	Prefix string
	Node   string
	Store  *store.Store
	Status func() node.Status
	Logger *slog.Logger
}

// Service gives a node's state away. Close it before the store.
type Service struct {
	o      Options
	sub    *nats.Subscription
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*session
	opening  int
	closed   bool
}

// New begins to answer.
func New(o Options) (*Service, error) {
	s := &Service{o: o, sessions: map[string]*session{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	sub, err := o.Conn.Subscribe(Subject(o.Prefix, o.Node), s.handle)
	s.sub = sub
	return s, err
}

// Close lets go of the state, whoever is still reading it.
func (s *Service) Close() {
	_ = s.sub.Unsubscribe() // fails only with the connection
	s.cancel()
	s.mu.Lock()
	s.closed = true
	open := s.sessions
	s.sessions = nil
	s.mu.Unlock()
	s.wg.Wait()
	for _, one := range open {
		one.close()
	}
}

// handle takes a question, on the subscription's goroutine. What reads the disk or waits does so on another one; there are as many of
// those as may be asked for at once, by as many as may ask.
func (s *Service) handle(m *nats.Msg) {
	if !jetstream.MayAnswer(s.o.Prefix, m.Reply) {
		return // who may ask may not have the node speak to others
	}
	var q question
	if err := json.Unmarshal(m.Data, &q); err != nil || m.Reply == "" {
		s.refuse(m, "the request is no question of 'raftbus backup'")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if q.Backup == "" {
		if len(s.sessions)+s.opening >= sessionsMax {
			s.refuse(m, fmt.Sprintf("%d backups are under way on this node: wait until one has ended", sessionsMax))
			return
		}
		s.opening++
		s.wg.Go(func() { s.open(m, rpc.Index(q.AtLeast)) })
		return
	}
	one := s.sessions[q.Backup]
	switch {
	case one == nil:
		s.refuse(m, "this node knows no such backup, or has waited too long for the next question: begin anew")
	case q.Over:
		delete(s.sessions, q.Backup)
		s.wg.Go(one.close)
	case !one.enter(): // too much at once: silence, after which it is asked for again
	default:
		s.wg.Go(func() {
			defer one.leave()
			s.give(m, one, q.Chunk)
		})
	}
}

func (s *Service) refuse(m *nats.Msg, why string) {
	body, _ := json.Marshal(begun{Error: why}) // never fails
	s.answer(m, &nats.Msg{Header: nats.Header{headerError: {why}}, Data: body})
}

// answer sends an answer; a lost one is asked for again.
func (s *Service) answer(m, answer *nats.Msg) {
	answer.Subject = m.Reply
	if err := s.o.Conn.PublishMsg(answer); err != nil {
		s.o.Logger.Debug("answer to a backup", "err", err)
	}
}

// open takes a view of the state, once it reflects an entry.
func (s *Service) open(m *nats.Msg, atLeast rpc.Index) {
	one, err := s.begin(atLeast)
	s.mu.Lock()
	s.opening--
	if err == nil && !s.closed {
		s.sessions[one.id] = one
		one.idle = time.AfterFunc(idleMax, func() { s.forget(one) })
	}
	gone := err == nil && s.closed
	s.mu.Unlock()
	switch {
	case gone:
		one.close()
	case err != nil:
		s.refuse(m, err.Error())
	default:
		body, _ := json.Marshal(begun{Backup: one.id, Ahead: aheadMax, Head: one.head}) // never fails
		s.answer(m, &nats.Msg{Data: body})
		s.o.Logger.Info("backup begins", "revision", one.head.Revision, "index", one.head.Index)
	}
}

// forget ends a backup that nobody asks for any more.
func (s *Service) forget(one *session) {
	s.mu.Lock()
	known := s.sessions[one.id] == one
	delete(s.sessions, one.id)
	s.mu.Unlock()
	if known {
		one.close()
		s.o.Logger.Info("backup was broken off: nobody asked for more of it", "revision", one.head.Revision)
	}
}

func (s *Service) begin(atLeast rpc.Index) (*session, error) {
	ctx, cancel := context.WithTimeout(s.ctx, catchUpWait)
	defer cancel()
	look := time.NewTicker(catchUpLook)
	defer look.Stop()
	for s.o.Store.Applied().Index < atLeast {
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("node %s has applied entry %d, and entry %d is committed: it is behind; ask another node", s.o.Node, s.o.Store.Applied().Index, atLeast)
		}
	}
	view, at, holds, err := s.o.Store.Still()
	if err != nil {
		return nil, err
	}
	status := s.o.Status()
	return newSession(view, int(min(chunkBytesMax, max(chunkBytesMin, s.o.Conn.MaxPayload()-headroomBytes))), Head{
		Cluster: status.Cluster.String(), Prefix: s.o.Prefix, Node: s.o.Node, Index: uint64(at.ID.Index), Term: uint64(at.ID.Term),
		Revision: at.Revision, Time: time.Unix(0, at.Time).UTC(), Taken: time.Now().UTC(), Holds: holds,
	}), nil
}

func (s *Service) give(m *nats.Msg, one *session, k int) {
	chunk, digest, err := one.chunk(k)
	switch {
	case errors.Is(err, errPast):
		return // it was asked for ahead of the end
	case err != nil:
		s.refuse(m, err.Error())
		return
	}
	answer := &nats.Msg{Data: chunk}
	if digest != "" {
		answer.Header = nats.Header{headerDigest: {digest}}
	}
	s.answer(m, answer)
}

// session is one backup under way: the view, cut into chunks as they are asked for.
type session struct {
	id    string
	head  Head
	idle  *time.Timer
	seats chan struct{} // of those that ask

	mu     sync.Mutex
	view   node.Snapshot
	next   func() ([]byte, error, bool)
	stop   func()
	cut    int            // chunks cut
	kept   map[int][]byte // the last of them
	ahead  []byte         // cut and not numbered: whether it is the last is not known before the next
	digest hash.Hash
	last   int // the number of the last; -1: it is not known
	err    error
}

var (
	errPast = errors.New("there are not so many chunks")
	errOver = errors.New("the backup was ended")
)

func newSession(view node.Snapshot, chunkBytes int, head Head) *session {
	one := &session{id: rand.Text(), head: head, seats: make(chan struct{}, aheadMax), view: view, kept: map[int][]byte{}, digest: sha256.New(), last: -1}
	one.next, one.stop = iter.Pull2(node.Chunks(nil, view, chunkBytes))
	return one
}

// enter takes a seat for who asks; false: there is none.
func (one *session) enter() bool {
	select {
	case one.seats <- struct{}{}:
		return true
	default:
		return false
	}
}

func (one *session) leave() { <-one.seats }

// chunk returns a chunk, and with the last one the digest of all. It cuts those before it that were not asked for yet.
func (one *session) chunk(k int) ([]byte, string, error) {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.idle.Reset(idleMax)
	if k < 0 || k >= one.cut+aheadMax && one.last < 0 {
		return nil, "", fmt.Errorf("chunk %d is asked for, and %d were given", k, one.cut)
	}
	for one.err == nil && one.last < 0 && one.cut <= k {
		one.err = one.cutNext()
	}
	data, kept := one.kept[k]
	switch {
	case one.err != nil:
		return nil, "", one.err
	case one.last >= 0 && k > one.last:
		return nil, "", errPast
	case !kept:
		return nil, "", fmt.Errorf("chunk %d is asked for again, and %d were given since", k, one.cut-k)
	case k == one.last:
		return data, fmt.Sprintf("%x", one.digest.Sum(nil)), nil
	}
	return data, "", nil
}

// cutNext cuts the next chunk, and forgets one that was cut long ago.
func (one *session) cutNext() (err error) {
	if one.view == nil {
		return errOver
	}
	if one.cut == 0 {
		if one.ahead, err = one.pull(); err != nil {
			return err
		}
	}
	data := one.ahead
	if one.ahead, err = one.pull(); err != nil {
		return err
	}
	one.digest.Write(data)
	one.kept[one.cut] = data
	delete(one.kept, one.cut-aheadMax)
	if one.ahead == nil {
		one.last = one.cut
	}
	one.cut++
	return nil
}

func (one *session) pull() ([]byte, error) {
	data, err, _ := one.next()
	return data, err
}

// close lets go of the state. It may be called again.
func (one *session) close() {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.idle != nil {
		one.idle.Stop()
	}
	if one.view == nil {
		return
	}
	one.stop()
	_ = one.view.Close() // it was only read
	one.view = nil
}
