package busclient

// What pings say about who belongs to the cluster. A node that was away, or that is to join, may know none of those who are
// members now, so it must listen to some that it does not know: this file says to whom, and decides nothing else. Safety never
// rests on it: who counts for what is the core's, by the configurations in its log.

import (
	"strings"

	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

// newsText is what a sender is told whom this node will know as soon as it has taken in what the ping brought.
const newsText = "this node did not know yet what the ping told it of the members: it takes that in, nothing needs to be done unless this is said again and again"

// receiveStranger takes a command of who is no peer. Only a ping is looked at: it may bring the news that its sender is one by
// now, and a node that was removed must be told so. Nothing is remembered of it.
func (s *Service) receiveStranger(p path, from rpc.NodeID, method rpc.Method, d Delivery) {
	if plain(method) != rpc.MethodPing || !config.ValidToken(string(from)) {
		s.drop(from, unknownSender, nil)
		return
	}
	h, body, ok := s.decode(from, s.self.ID, d.Data)
	if !ok {
		return
	}
	ping, isPing := body.(*rpc.PingCommand)
	if !isPing || !strings.HasPrefix(d.Reply, returnsTo(s.prefix, from, s.self.ID)) {
		s.drop(from, misaddressed, nil)
		return
	}
	s.acceptPing(p, h, ping, s.judge(h, true), d.Reply)
}

// acceptPing learns what a ping has to tell, and answers it. Whoever is not let in is told why, but for strangers that do not
// belong here either by their cluster.
func (s *Service) acceptPing(p path, h *rpc.Header, ping *rpc.PingCommand, why fault, reply string) {
	if why == unprovenStart {
		why = noFault // both must answer before either can prove anything
	}
	learned := s.learn(h, ping.Configuration, why)
	r := s.roster.Load()
	waits := r == nil && s.joining // to be let in: it may be asked by anybody, and nobody is refused
	if why != noFault && !learned && !waits {
		s.drop(h.From, why, h)
	}
	switch {
	case why == noFault || waits:
		s.answerPing(p, h, ping, "", reply)
	case r == nil || why == unknownSender && !r.shares(h):
	case learned:
		s.answerPing(p, h, ping, newsText, reply)
	default:
		s.answerPing(p, h, ping, s.explain(r, why, h), reply)
	}
}

// shares reports whether the sender is of this cluster, or of none yet.
func (r *roster) shares(h *rpc.Header) bool {
	return h.Cluster == r.cluster || h.Cluster == rpc.ClusterID{}
}

func (s *Service) answerPing(p path, h *rpc.Header, ping *rpc.PingCommand, refusal, reply string) {
	own := s.content()
	pong := &rpc.PingReturn{
		SenderID: s.self.ID, Timestamp: s.now().UnixNano(), Leader: own.Leader, Refusal: clip(refusal), Forgot: s.forgot(ping.Start),
		Lacks: own.Lacks, NoRoom: own.NoRoom,
		Start:     s.starts.of(rpc.Member{ID: h.From, Instance: h.Instance}),
		Multicast: s.several.on, Commands: own.Commands,
	}
	r, conf := s.roster.Load(), own.Configuration
	if conf != nil && (r == nil || r.shares(h)) && (ping.WantTable || conf.Index > ping.Known) {
		pong.Configuration = conf
	}
	if ping.WantStarts && refusal == "" && conf != nil {
		pong.Starts = s.starts.list(conf)
	}
	back := s.header(h.From, own.Term, h.Round)
	if err := s.publish(p, reply, "", &back, pong); err != nil {
		s.log.Debug("ping not answered", "peer", h.From, "err", err)
	}
}

// clip keeps a refusal within what a decoder takes.
func clip(text string) string { return text[:min(len(text), rpc.MaxRefusalBytes)] }

// learn hands a configuration to the owner if it is later than what this node knows, of the cluster that its sender speaks for,
// and if the sender may say so: a member may, and of the others those that vouched lets.
func (s *Service) learn(h *rpc.Header, conf *rpc.Configuration, why fault) bool {
	if conf == nil || conf.ClusterID() != h.Cluster || !s.isNews(conf) {
		return false
	}
	stranger := why == unknownSender || why == otherInstance
	if why != noFault && !(stranger && s.vouched(h, conf)) {
		return false
	}
	s.owner.Learned(h.Cluster, *conf)
	return true
}

func (s *Service) isNews(conf *rpc.Configuration) bool {
	own := s.content().Configuration
	return own == nil || conf.Index > own.Index
}

// vouched reports whether a configuration that an unknown sender brings may be listened to: it is of this cluster (of any, for a
// node that waits to be let into one), and names both the sender and this node, by the instances that they are. So nobody
// is moved by what was said of an earlier data folder of either.
func (s *Service) vouched(h *rpc.Header, conf *rpc.Configuration) bool {
	r := s.roster.Load()
	if r == nil && !s.joining || r != nil && h.Cluster != r.cluster {
		return false
	}
	sender, listed := conf.Member(h.From)
	self, mine := conf.Member(s.self.ID)
	return listed && mine && sender.Instance == h.Instance && self.Instance == s.self.Instance
}
