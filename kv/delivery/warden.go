package delivery

// What nodes tell each other about consumers, and what a leader does about it.

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// message is what nodes tell each other. One of them is set.
type message struct {
	Announcement *watch.Announcement `json:"announcement,omitempty"`
	Ask          *watch.Asked        `json:"ask,omitempty"`
	Pull         *watch.Pulled       `json:"pull,omitempty"`
}

const (
	// messageBytesMax bounds a message that is looked at.
	messageBytesMax = 64 << 10
	allNodes        = "_all" // stands for a node's id in what is for all; no id begins with _
)

// Subject is where a node, or with _all each node, hears what another tells of consumers. The sender is in the subject, so that
// permissions of NATS decide who speaks as whom (Q2).
func Subject(prefix, to, from string) string { return prefix + ".node." + to + ".consumers." + from }

func (s *Service) hear() error {
	for _, who := range []string{allNodes, string(s.o.Node)} {
		sub, err := s.o.Conn.Subscribe(Subject(s.o.Prefix, who, "*"), s.heard)
		if err != nil {
			return err
		}
		s.subs = append(s.subs, sub)
	}
	return nil
}

func (s *Service) heard(m *nats.Msg) {
	var told message
	if len(m.Data) > messageBytesMax || json.Unmarshal(m.Data, &told) != nil {
		return
	}
	switch {
	case told.Ask != nil:
		s.inbox.add(*told.Ask) // a lost one is asked again
	case told.Pull != nil && !strings.HasSuffix(m.Subject, ".consumers."+string(s.o.Node)): // its own it has
		s.inbox.add(*told.Pull)
	case told.Announcement == nil || !strings.HasSuffix(m.Subject, ".consumers."+told.Announcement.Node):
	case told.Announcement.Node == string(s.o.Node): // the placer has it; that it came back says that others' come
		s.place(func(p *watch.Placer) { p.Echo(s.now()) })
	default:
		s.place(func(p *watch.Placer) { p.Hear(s.now(), *told.Announcement) })
		if !told.Announcement.Deaf {
			s.reunite(rpc.NodeID(told.Announcement.Node))
		}
		if host := told.Announcement.Node; s.o.Stray != nil && !watch.SameAccount(host, string(s.o.Node)) {
			s.o.Stray(host)
		}
	}
}

// tell tells a node, or all. What is lost is told again.
func (s *Service) tell(node string, m message) {
	body, err := json.Marshal(m)
	if err == nil {
		err = s.o.Conn.Publish(Subject(s.o.Prefix, node, string(s.o.Node)), body)
	}
	if err != nil {
		s.o.Logger.Debug("other nodes are not told of consumers", "err", err)
	}
}

// place has something done with the placer.
func (s *Service) place(do func(*watch.Placer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(s.placer)
}

// lead hears from the node, on its goroutine, that it leads or no longer does.
func (s *Service) lead(leading bool) {
	s.place(func(p *watch.Placer) { p.Lead(leading) })
}

// Leave tells the others to take over this node's consumers.
func (s *Service) Leave() { s.leaving.Store(true); s.announce() }

// warden announces this node, and proposes what the placer says. It tells the hub that the leaf connection is up.
func (s *Service) warden() {
	tick := time.NewTicker(watch.AnnounceEvery)
	defer tick.Stop()
	for {
		s.follow()
		s.reunite("")
		s.announce()
		s.propose()
		if !s.ticks(tick.C) {
			return
		}
	}
}

// ticks waits for a tick; false: the service ends.
func (s *Service) ticks(tick <-chan time.Time) bool {
	for {
		select {
		case <-s.stop:
			return false
		case <-tick:
			return true
		case <-s.reunion.bell:
			s.reunite("")
		}
	}
}

// follow tells the hub whether this node follows the log.
func (s *Service) follow() {
	if astray := s.o.Leader() == ""; astray != s.astray && s.inbox.add(watch.Follows{Log: !astray}) {
		s.astray = astray
	}
}

func (s *Service) announce() {
	s.telling.Lock() // what is said before Leave leaves before what that says
	defer s.telling.Unlock()
	a := watch.Announcement{Node: string(s.o.Node), Instance: s.o.Instance.String(), Boot: uint64(s.o.Boot), Able: s.up.Load(), Pulls: true, Applied: uint64(s.o.Store.Applied().Index), Leaving: s.leaving.Load(), Idle: *s.idle.Load(), Deaf: !s.o.Listens()}
	var tells bool
	s.place(func(p *watch.Placer) { p.Hear(s.now(), a); tells = p.Tells(s.now(), &a) })
	if tells {
		s.tell(allNodes, message{Announcement: &a})
	}
}

func (s *Service) propose() {
	var p watch.Proposals
	s.place(func(placer *watch.Placer) { p = placer.Tick(s.now()) })
	for _, c := range Commands(p, s.o.Store.Open()) {
		if s.log(c) && c.MoveConsumers != nil { // else it is said again with each tick of a leader that cannot log
			s.o.Logger.Info("consumers of a node that is gone are given to others", "consumers", len(p.Moves))
		}
	}
}

// Command is a command that a leader is to log, and which consumers it is about.
type Command struct {
	command.Command
	About []watch.Ref
}

// Commands are what a placer's proposals come to, in a cluster that is open to a version.
func Commands(p watch.Proposals, open uint64) (list []Command) {
	if len(p.Moves) > 0 {
		list = append(list, move(p.Moves))
	}
	for _, r := range p.Removals {
		remove := command.RemoveConsumer{Bucket: r.Bucket, Name: r.Name, Added: rpc.Index(r.Created)}
		remove.As(rpc.Index(r.Changed), open) // a client may be told meanwhile that it has changed it
		list = append(list, Command{command.Command{RemoveConsumer: &remove}, []watch.Ref{r.Ref}})
	}
	return list
}

func move(list []watch.Move) Command {
	var moves command.MoveConsumers
	var refs []watch.Ref
	for _, m := range list {
		refs = append(refs, m.Ref)
		moves.Moves = append(moves.Moves, command.ConsumerMove{
			Bucket: m.Bucket, Name: m.Name, Added: rpc.Index(m.Created), Generation: m.Generation + 1, Host: rpc.NodeID(m.Host), Boot: rpc.BootEpoch(m.Boot),
		})
	}
	return Command{command.Command{MoveConsumers: &moves}, refs}
}

// log has a command logged, and reports whether that could be begun. What comes of it the placer sees when it is applied; what was not logged is proposed again.
func (s *Service) log(c Command) (begun bool) {
	if err := s.o.Proposer.Propose(c.Encode(), func(any, rpc.EntryID) {}); err == nil {
		return true
	}
	s.place(func(p *watch.Placer) {
		for _, ref := range c.About {
			p.Forget(ref)
		}
	})
	return false
}
