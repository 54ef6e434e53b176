package node

// Sending snapshots (thesis 5): one stream of chunks per peer that needs one, in a window, over the bulk connection. A stream goes on
// from what its peer says it has stored; what is stored is forgotten here. The loop owns the streams; the state is read by the
// cutter, one chunk at a time. A stream ends when its peer has installed the snapshot, when this node ceases to lead in the
// stream's term, when the peer is no member any more, or when it gets nowhere.

import (
	"errors"
	"hash/crc32"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/raftbus/raftbus/raft"
	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	// windowChunks bounds the chunks of a stream that are cut and not known to be stored: its memory, and what is in flight.
	windowChunks = 8
	// streamsMax bounds the streams under way. Others wait.
	streamsMax = 2

	// After how many ticks
	streamPause      = 10   // a stream goes on that met a failure
	streamRetry      = 25   // what was not stored is sent again
	streamInstalling = 50   // a peer that installs all of it is asked again, or sooner (asksAfter)
	streamBehind     = 100  // a peer is believed that says that it has lost what it had
	streamGiveUp     = 1000 // a stream is given up whose peer is silent
	streamStuck      = 6000 // and one whose peer takes in nothing more

	// For how many ticks no view of the state is opened after one that could not be read to its end: twice as long each time, and unreadMax at most.
	unreadMin, unreadMax = 100, 6000

	// Over a slow way what is not stored is sent again after twice what lies between two chunks that are stored, if that is later than streamRetry. It
	// is taken for streamGap at the beginning. After streamRetryMax a call has failed anyway (busclient).
	streamGap, streamRetryMax = 50, 200

	// streamFar is how long a chunk may be on its way before fewer are sent at a time: what else is to go over the way waits for all of them. Below
	// half of it more are.
	streamFar = time.Second
)

var errViewHangs = errors.New("the state cannot be read: its disk hangs")

// chunkBytesSent is the size of chunks: what waits behind one on its way, in the bus and in each process, waits for all of it.
const chunkBytesSent = 128 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type streams struct {
	machine   StateMachine
	size      int // of chunks
	inbox     *inbox
	cutter    *cutter
	send      func(rpc.Message)
	self      rpc.NodeID
	logger    *slog.Logger
	notice    func(Notice)                     // nil: nobody wants to know
	timeOf    func(rpc.EntryID) (int64, error) // called by the cutter
	confAt    func(rpc.Index) rpc.Configuration
	list      []*stream  // in order of peer
	transfers uint64     // how many were begun
	served    rpc.NodeID // the peer that was sent a chunk last
	pace      pace
	asks      int // ticks after which a peer that installs all of it is asked again
	now       func() time.Time
	unread    int // the last pause, for views that could not be read to their end; 0: the last one could
	blind     int // ticks until a view is opened again
}

// stream is the way of one snapshot to one peer.
type stream struct {
	peer     rpc.NodeID
	term     rpc.Term
	transfer uint64 // 0: it waits for its turn
	source   *source
	id       rpc.EntryID
	conf     rpc.Configuration // at id
	ended    bool
	unread   bool // this node could not read its state to the end

	cutting bool    // the cutter is at work for it
	chunks  []chunk // not known to be stored
	unsent  int     // the first of them that is to be sent
	flight  int     // how many may be on their way
	whole   bool    // the last chunk has been cut, and the view of the state let go
	end     uint64  // of the last chunk that was cut
	sent    uint64  // bytes, what was sent again too
	stored  uint64  // by the peer
	behind  bool    // the peer said last that it has less
	rewound bool    // since the peer stored more
	pause   int     // ticks until more is sent
	quiet   int     // ticks since the peer stored more
	gap     int     // what quiet came to, lately, before it did: up at once, down slowly
	silent  int     // ticks since the peer said anything
	reached uint64  // the most that the peer has stored
	idle    int     // ticks since the peer stored more than ever, or its state machine took more in; at first, since its view is awaited
	// restored is what the peer's state machine has taken in; from nothing again when its process is started again.
	restored uint64
}

type chunk struct {
	offset uint64
	data   []byte
	digest []byte // with the last one
	sent   time.Time
	again  bool // it was sent more than once: whose answer comes is not known
}

// begin takes a core's wish for a stream. One to that peer of an earlier wish is over.
func (s *streams) begin(peer rpc.NodeID, term rpc.Term) {
	s.endPeer(peer)
	s.list = append(s.list, &stream{peer: peer, term: term, flight: 1, gap: streamGap})
	slices.SortFunc(s.list, func(a, b *stream) int { return strings.Compare(string(a.peer), string(b.peer)) })
	s.open()
}

// open begins the streams that may be.
func (s *streams) open() {
	for _, t := range s.list {
		if t.transfer != 0 || s.blind > 0 || s.underWay() >= streamsMax {
			continue
		}
		s.transfers++
		t.transfer, t.cutting = s.transfers, true
		s.cutter.open(s.machine, s.size, s.timeOf, func(source *source, err error) { s.inbox.call(func() { s.opened(t, source, err) }) })
	}
}

func (s *streams) underWay() int {
	n := 0
	for _, t := range s.list {
		if t.transfer != 0 {
			n++
		}
	}
	return n
}

// opened: the state's view for a stream is there.
func (s *streams) opened(t *stream, source *source, err error) {
	t.cutting = false
	switch {
	case t.ended && source != nil:
		s.cutter.close(source)
	case t.ended:
	case err != nil:
		s.notRead(t, err)
	default:
		t.source, t.id, t.idle = source, source.snapshot.ID(), 0
		t.conf = s.confAt(t.id.Index)
		s.logger.Info("sending a snapshot", "peer", t.peer, "snapshot", t.id.String())
		s.tell(t, "sending", "")
		s.pump()
	}
}

// pump has chunks cut and sent, as far as the windows and the pace allow, of the streams in turn: the leader's office may hang on any of
// them.
func (s *streams) pump() {
	for t := s.next(); t != nil && s.pace.take(); t = s.next() {
		s.sendChunk(t, &t.chunks[t.unsent])
		t.unsent, s.served = t.unsent+1, t.peer
	}
	for _, t := range s.list {
		if t.source != nil && !t.cutting && !t.whole && len(t.chunks) < windowChunks {
			t.cutting = true
			s.cutter.cut(t.source, func(data, digest []byte, err error) { s.inbox.call(func() { s.cut(t, data, digest, err) }) })
		}
	}
}

// next is the stream that is to send a chunk: the first that has one after the one that was served last.
func (s *streams) next() *stream {
	var first *stream
	for _, t := range s.list {
		if t.pause > 0 || t.unsent == len(t.chunks) || t.unsent >= t.flight {
			continue
		}
		if t.peer > s.served {
			return t
		}
		if first == nil {
			first = t
		}
	}
	return first
}

func (s *streams) sendChunk(t *stream, c *chunk) {
	c.again, c.sent = !c.sent.IsZero(), s.now()
	t.sent += uint64(len(c.data))
	cmd := &rpc.InstallSnapshotCommand{
		Snapshot: t.id, Transfer: t.transfer, Offset: c.offset, Data: c.data,
		Sum: uint64(crc32.Checksum(c.data, castagnoli)), Final: c.digest != nil, Digest: c.digest,
	}
	if cmd.Final {
		cmd.Configuration = &t.conf
	}
	s.send(rpc.Message{From: s.self, To: t.peer, Term: t.term, Body: cmd})
}

// cut: a stream's next chunk is there.
func (s *streams) cut(t *stream, data, digest []byte, err error) {
	t.cutting = false
	switch {
	case t.ended:
	case err != nil:
		s.notRead(t, err)
	default:
		t.chunks = append(t.chunks, chunk{offset: t.end, data: data, digest: digest})
		t.end += uint64(len(data))
		if t.whole = digest != nil; t.whole {
			s.unread = 0
			s.cutter.close(t.source)
		}
		s.pump()
	}
}

// returned takes what a peer says of its stream. The core has held it against the term.
func (s *streams) returned(m rpc.Message) {
	body := m.Body.(*rpc.InstallSnapshotReturn)
	t := s.of(m.From)
	if t == nil || body.Transfer != t.transfer || body.Snapshot != t.id || m.Term != t.term || body.Next > t.end {
		return // of another transfer
	}
	t.silent = 0
	if body.Next > t.reached || body.Restored > t.restored {
		t.idle = 0
	}
	t.reached, t.restored = max(t.reached, body.Next), body.Restored
	t.behind = body.Next < t.stored // late, or it has lost what it had: the next answers will tell
	switch {
	case body.Installed:
		s.logger.Info("snapshot installed by a peer", "peer", t.peer, "snapshot", t.id.String(), "bytes", t.end)
		s.tell(t, "sent", "")
		s.endStream(t)
		s.open()
	case body.Next > t.stored:
		s.stored(t, body.Next)
	case !t.behind && !t.rewound && t.unsent > 1 && !t.done():
		t.rewound, t.unsent = true, 0 // something is missing, or comes twice: once is enough to find out
	}
	s.pump()
}

// done reports whether the peer has stored all, and only has to install it.
func (t *stream) done() bool { return t.whole && t.stored == t.end }

// stored forgets what the peer has stored, but for the last chunk: that one asks for the outcome.
func (s *streams) stored(t *stream, next uint64) {
	t.gap = max(min(t.quiet, streamRetryMax), t.gap-(t.gap+31)/32)
	t.stored, t.quiet, t.rewound = next, 0, false
	for len(t.chunks) > 0 && t.chunks[0].digest == nil && t.chunks[0].offset+uint64(len(t.chunks[0].data)) <= next {
		if first := &t.chunks[0]; !first.again && t.unsent > 0 {
			took := s.now().Sub(first.sent)
			s.pace.stored(took)
			t.arrived(took)
		}
		t.chunks[0] = chunk{}
		t.chunks, t.unsent = t.chunks[1:], max(t.unsent-1, 0)
	}
}

// arrived: a chunk that was sent once was so long on its way.
func (t *stream) arrived(took time.Duration) {
	switch {
	case took > streamFar:
		t.flight = max(t.flight-1, 1)
	case took < streamFar/2 && t.unsent >= t.flight: // else it is the pace that holds chunks back
		t.flight = min(t.flight+1, windowChunks)
	}
}

// again has what is not stored sent again, and less at a time, and slower: it may be lost since the way is full (L7).
func (s *streams) again(t *stream) {
	t.unsent, t.flight = 0, max(t.flight/2, 1)
	s.pace.lost()
}

// failed: a chunk was not sent, or not answered.
func (s *streams) failed(peer rpc.NodeID) {
	if t := s.of(peer); t != nil {
		s.again(t)
		t.pause = max(streamPause, t.gap) // what is still on a slow way would hold up what is sent now, until that has failed too
	}
}

// tick has time pass. A stream that gets nowhere sends again, and ends at last.
func (s *streams) tick() {
	s.pace.tick()
	if s.blind > 0 {
		s.blind--
		s.open()
	}
	for _, t := range slices.Clone(s.list) {
		if t.source == nil {
			s.waitForView(t)
			continue
		}
		t.pause, t.quiet, t.silent, t.idle = max(t.pause-1, 0), t.quiet+1, t.silent+1, t.idle+1
		switch retry := s.retry(t); {
		case t.behind && t.quiet > streamBehind:
			s.giveUp(t, "the peer has lost what it had received")
		case t.silent > streamGiveUp:
			s.giveUp(t, "the peer does not answer")
		case t.idle > streamStuck: // as one whose disk hangs: it holds the log, which could fill this disk too (F22)
			s.giveUp(t, "the peer takes in nothing more")
		case t.quiet%retry != 0:
		case t.done():
			t.unsent = 0 // it is asked
		case t.unsent > 0:
			s.again(t)
		}
	}
	s.pump()
}

// waitForView gives up a stream whose view of the state does not open, as where the disk hangs: until it is there the log is not compacted (F22).
func (s *streams) waitForView(t *stream) {
	if t.transfer == 0 {
		return // it waits for its turn
	}
	if t.idle++; t.idle > streamStuck {
		s.notRead(t, errViewHangs)
	}
}

// retry is after how many ticks what is not stored is sent again: seldom while the peer installs the snapshot.
func (s *streams) retry(t *stream) int {
	if t.done() {
		return s.asks
	}
	return min(max(streamRetry, 2*t.gap), streamRetryMax)
}

// asksAfter: the answers of a peer that installs a snapshot keep a leader, so two are to come in an election timeout, however short that is (K60, L7).
func asksAfter(t raft.Ticks) int { return max(min(streamInstalling, t.ElectionMin/2), 1) }

// keep ends the streams that are not this leader's in this term, or whose peer left.
func (s *streams) keep(leading bool, term rpc.Term, conf *rpc.Configuration) {
	for _, t := range slices.Clone(s.list) {
		if _, member := conf.Member(t.peer); !leading || t.term != term || !member {
			s.endStream(t)
		}
	}
	s.open()
}

// opening reports whether a view of the state is being opened: which entry it ends with nobody knows yet, and the log is asked for the time of that.
func (s *streams) opening() bool {
	return slices.ContainsFunc(s.list, func(t *stream) bool { return t.transfer != 0 && t.source == nil })
}

// floor is the index up to which the log may be compacted without harm to the streams.
func (s *streams) floor(to rpc.Index) rpc.Index {
	for _, t := range s.list {
		if t.source != nil {
			to = min(to, t.id.Index)
		}
	}
	return to
}

// passed gives up what is sent for nothing: the log no longer holds what follows it, so whoever installs it needs another one at once. Who has stored
// all of it installs it anyway, and says when that is done.
func (s *streams) passed(base rpc.Index) {
	for _, t := range slices.Clone(s.list) {
		if t.source != nil && t.id.Index < base && !t.done() {
			s.giveUp(t, "the disk is full, and the log no longer holds what follows it")
		}
	}
}

// notRead gives up a stream of which the state could not be read to its end. That may pass, as too many open files do, and is no damage that is known: of
// that the store and the log tell, and it ends the node. But the next view most likely ends at the same place, and whoever is sent all up to there gains nothing.
func (s *streams) notRead(t *stream, err error) {
	s.unread = min(max(2*s.unread, unreadMin), unreadMax)
	t.unread, s.blind = true, s.unread
	s.giveUp(t, err.Error())
}

// giveUp ends a stream without success, and has the core probe the peer anew.
func (s *streams) giveUp(t *stream, reason string) {
	s.logger.Warn("snapshot not sent", "peer", t.peer, "snapshot", t.id.String(), "stored", t.stored, "reason", reason)
	s.tell(t, "failed", reason)
	s.endStream(t)
	s.inbox.completed(raft.SnapshotEnded{Peer: t.peer, Term: t.term, Unread: t.unread})
	s.open()
}

func (s *streams) tell(t *stream, state, reason string) {
	if s.notice != nil {
		s.notice(Notice{Kind: NoticeSnapshot, State: state, Peer: t.peer, Index: t.id.Index, Reason: reason})
	}
}

func (s *streams) endPeer(peer rpc.NodeID) {
	if t := s.of(peer); t != nil {
		s.endStream(t)
	}
}

func (s *streams) endStream(t *stream) {
	t.ended, t.chunks = true, nil
	s.list = slices.DeleteFunc(s.list, func(o *stream) bool { return o == t })
	if t.source != nil && !t.whole {
		s.cutter.close(t.source)
	}
}

func (s *streams) status() []StreamStatus {
	var list []StreamStatus
	for _, t := range s.list {
		list = append(list, StreamStatus{Peer: t.peer, Snapshot: t.id, Sent: t.sent, Stored: t.stored, Whole: t.done()})
	}
	return list
}

func (s *streams) of(peer rpc.NodeID) *stream {
	i := slices.IndexFunc(s.list, func(t *stream) bool { return t.peer == peer })
	if i < 0 {
		return nil
	}
	return s.list[i]
}
