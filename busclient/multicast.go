package busclient

// Messages to several: an AppendLog or a CommitLog that peers are to get alike is encoded once and leaves once, on a subject
// that all nodes listen on, so that a leader's cost does not grow with its peers (design section 4). The header names those it is for;
// each of them answers by itself, on a subject of its own, and an answer ends a round of that peer's alone (K4, Q2, K77). The MAC covers the
// names (Q3).
//
// It is for peers in step (step.go) that have said that they listen (F28). The bus says of none of them that nobody listens there, so a
// call to one that has gone ends by its deadline, or as its link breaks: pings and heartbeats, on the peer's own subject, find that out.
// What one of them leaves unread holds up no other: each has the bounds of its own link (F9).

import (
	"slices"
	"strconv"
	"time"

	"github.com/raftbus/raftbus/raft/rpc"
)

// several is what a service knows of messages to several.
type several struct {
	on        bool
	subjects  string // "<prefix>.rpc._all.": what their subjects begin with
	own       string // and those of this node's; the method follows
	returns   string // what the reply subjects of this node's begin with; the round follows
	heartbeat time.Duration
}

// MulticastAppendLog has one message carry a command to several peers. It returns those that it did not go to, for whatever reason:
// they are to be called by themselves, which says why if that does not work either. For each of the others done is called once, as
// by a call of its own. Safe for use by several goroutines.
func (s *Service) MulticastAppendLog(to []rpc.NodeID, term rpc.Term, cmd *rpc.AppendLogCommand, done rpc.Done[*rpc.AppendLogReturn]) (left []rpc.NodeID) {
	clients := s.inStep(to, cmd)
	if len(clients) < 2 {
		return to
	}
	h := s.header(AllNodes, term, s.lastRound.Add(1))
	for _, c := range clients {
		if c.openShared(roundOf(c, cmd, done), h.Round, rpc.Size(cmd)) {
			h.Addressees = append(h.Addressees, c.peer)
		}
	}
	if len(h.Addressees) == 0 {
		return to
	}
	err := s.publish(bulk, s.several.own+string(rpc.MethodAppendLog), s.several.returns+strconv.FormatUint(h.Round, 10), &h, cmd)
	return slices.DeleteFunc(slices.Clone(to), func(id rpc.NodeID) bool {
		return slices.Contains(h.Addressees, id) && (err == nil || !s.takeBack(id, h.Round))
	})
}

// openShared opens a round of that number, if there is room for it.
func (c *client) openShared(r round, id uint64, bytes int) bool {
	r.id, r.shared, r.bytes = id, true, bytes
	if c.rounds.begin(r) != nil {
		return false
	}
	c.step.asked(c.service.now())
	return true
}

// takeBack ends a round whose message did not leave, without a word. It reports whether it was still open.
func (s *Service) takeBack(peer rpc.NodeID, id uint64) bool {
	c, err := s.client(peer)
	if err != nil {
		return false // it left meanwhile, and done was told
	}
	return c.rounds.withdraw(id)
}

// MulticastCommitLog is MulticastAppendLog for a command that nobody need answer: what a leader would learn from that, AppendLogs and
// heartbeats tell it too, and a lost one costs latency only (design section 3). How many are under way is bounded by what is
// acknowledged, without which no commit index moves.
func (s *Service) MulticastCommitLog(to []rpc.NodeID, term rpc.Term, cmd *rpc.CommitLogCommand) (left []rpc.NodeID) {
	clients := s.inStep(to, cmd)
	if len(clients) < 2 {
		return to
	}
	h := s.header(AllNodes, term, 0)
	for _, c := range clients {
		h.Addressees = append(h.Addressees, c.peer)
	}
	if s.publish(bulk, s.several.own+string(rpc.MethodCommitLog), "", &h, cmd) != nil {
		return to
	}
	return slices.DeleteFunc(slices.Clone(to), func(id rpc.NodeID) bool { return slices.Contains(h.Addressees, id) })
}

// inStep are those of the peers that a message may go to together with others. Nobody is, if it is too large for one publish.
func (s *Service) inStep(to []rpc.NodeID, cmd rpc.Body) (clients []*client) {
	if !s.several.on || s.roster.Load() == nil {
		return nil
	}
	now := s.now()
	for _, id := range to {
		if c, err := s.client(id); err == nil && c.Connected() && c.listens.Load() && c.step.in(now, s.patience(c)) {
			clients = append(clients, c)
		}
	}
	size := rpc.Size(cmd) + len(to)*rpc.AddresseeBytes
	if len(clients) == 0 || int64(size) > s.buses[bulk].MaxPayload() { // asked only where there are links: else NATS's client may have yet to connect
		return nil
	}
	return clients
}

// patience is how long a peer may take to answer before it is spoken to alone: some round trips, with a sync among them.
func (s *Service) patience(c *client) time.Duration {
	return max(4*c.status.Load().RTT, s.several.heartbeat)
}

// receiveShared takes a command that several get. One for others is passed over unread, as is what this node sent itself.
func (s *Service) receiveShared(p path, d Delivery) {
	from, method, ok := parseRequest(s.several.subjects, d.Subject)
	switch {
	case from == s.self.ID, method == MethodCheck:
		return
	case !ok || !slices.Contains(toSeveral, method) || isPart(d.Data):
		s.drop(from, misaddressed, nil)
		return
	case !rpc.Addresses(d.Data, s.self.ID):
		s.drops.count(forOthers)
		return
	}
	c := s.sender(from)
	if c == nil {
		return
	}
	inbox := ""
	if d.Reply != "" {
		if inbox, ok = c.routes.ownInbox(d.Reply); !ok {
			s.drop(from, misaddressed, nil)
			return
		}
	}
	if h, body, ok := s.openWhole(c, AllNodes, method, d.Data); ok {
		s.accept(c, p, h, body, inbox)
	}
}

// unheardByAll takes the bus's word that nobody at all listens to messages to several. It says nothing of any peer, whose own subject may be heard: NATS may
// not know yet, on this side, of those who listen to the other (K75). So no link breaks, and each peer is spoken to alone for a while.
func (s *Service) unheardByAll(p path, id uint64, d Delivery) {
	if !d.NoResponders {
		s.drop(AllNodes, misaddressed, nil)
		return
	}
	now := s.now()
	for _, c := range s.sorted() {
		if r, open := c.rounds.end(id, func(r round) bool { return r.path == p }); open {
			c.step.unheard(now, s.patience(c))
			r.done(outcome{err: ErrNoResponders})
		}
	}
}
