package observe

// A node answers as a NATS service does (ADR-32), so that `nats micro ls`, `info` and `stats` show it. The requests themselves do not go
// through nats.go's micro: clients' subjects are the leader's only, and come by a lane. So what is told of them is told here.

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/raftbus/raftbus/kv/jetstream"
)

const microDescription = "raftbus: a strongly consistent key-value store"

// Endpoint is a subject that a node answers on.
type Endpoint struct {
	Name, Subject string
	Metadata      map[string]string // never changes
	// Count is how many requests were answered, how many of them with an error, and how long they took in all.
	Count func() (requests, errors uint64, took time.Duration)
}

// Service is a node as a NATS service.
type Service struct {
	node      Node
	identity  micro.ServiceIdentity
	started   time.Time
	endpoints []Endpoint
}

// NewService makes one. Its name is the prefix, which names the cluster, and its id the node's.
func NewService(n Node, endpoints []Endpoint) *Service {
	s := n.Stats()
	return &Service{
		node: n, started: s.Started.UTC(), endpoints: endpoints,
		identity: micro.ServiceIdentity{Name: s.Prefix, ID: s.Node, Version: semantic(s.Version), Metadata: map[string]string{"product": "raftbus", "node": s.Node, "build": s.Version}},
	}
}

// verbs are what a service is asked. The answers' subjects end with nothing, the service's name, or that and its id.
var verbs = map[micro.Verb]func(*Service) any{
	micro.PingVerb:  func(s *Service) any { return micro.Ping{ServiceIdentity: s.identity, Type: micro.PingResponseType} },
	micro.InfoVerb:  func(s *Service) any { return s.info() },
	micro.StatsVerb: func(s *Service) any { return s.figures() },
}

// askedMax bounds how many questions wait, and askedBytesMax their bodies (Q12): NATS's client counts no subjects, which may be long. Who is not answered
// asks again.
const (
	askedMax      = 64
	askedBytesMax = 1 << 20
)

// Answer has questions on a subject answered on a connection, one after the other, until that is closed. Of too many at once some are dropped.
func Answer(conn *nats.Conn, subject string, answer nats.MsgHandler) error {
	sub, err := conn.Subscribe(subject, answer)
	if err != nil {
		return err
	}
	return sub.SetPendingLimits(askedMax, askedBytesMax)
}

// Subscribe has the service answer on a connection, until that is closed.
func (s *Service) Subscribe(conn *nats.Conn) error {
	for verb, answer := range verbs {
		handler := func(m *nats.Msg) {
			if !jetstream.MayAnswer(s.identity.Name, m.Reply) {
				return // who may look at nodes may not have them speak to others
			}
			if body, err := json.Marshal(answer(s)); err == nil {
				_ = m.Respond(body) // a lost answer is asked for again
			}
		}
		for _, whose := range [][2]string{{}, {s.identity.Name}, {s.identity.Name, s.identity.ID}} {
			subject, err := micro.ControlSubject(verb, whose[0], whose[1])
			if err == nil {
				err = Answer(conn, subject, handler)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) info() micro.Info {
	list := make([]micro.EndpointInfo, len(s.endpoints))
	for i, e := range s.endpoints {
		list[i] = micro.EndpointInfo{Name: e.Name, Subject: e.Subject, Metadata: e.Metadata}
	}
	return micro.Info{ServiceIdentity: s.identity, Type: micro.InfoResponseType, Description: microDescription, Endpoints: list}
}

func (s *Service) figures() micro.Stats {
	now := s.node.Stats()
	data, _ := json.Marshal(map[string]any{"role": now.Role, "term": now.Term, "leader": now.Leader, "ready": now.Health.Ready}) // plain values: it cannot fail
	list := make([]*micro.EndpointStats, len(s.endpoints))
	for i, e := range s.endpoints {
		requests, errors, took := e.Count()
		list[i] = &micro.EndpointStats{
			Name: e.Name, Subject: e.Subject, NumRequests: int(requests), NumErrors: int(errors), ProcessingTime: took,
		}
		if i == 0 {
			list[i].Data = data
		}
		if requests > 0 {
			list[i].AverageProcessingTime = took / time.Duration(requests)
		}
		if errors > 0 {
			list[i].LastError = strconv.FormatUint(errors, 10) + " in all: " + now.Prefix + ".node." + now.Node + ".stats says which"
		}
	}
	return micro.Stats{ServiceIdentity: s.identity, Type: micro.StatsResponseType, Started: s.started, Endpoints: list}
}

// Count is for the Endpoint of the clients' door of that name.
func (s *Stats) Count(door string) (requests, errors uint64, took time.Duration) {
	for _, d := range s.Doors {
		if d.Name != door {
			continue
		}
		requests, took = d.Reads.Count+d.Writes.Count, time.Duration((d.Reads.Sum+d.Writes.Sum)*float64(time.Second))
		for _, e := range d.Errors {
			errors += e.Count
		}
	}
	return requests, errors, took
}

var semver = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+([-+].*)?$`)

// semantic is a build's version as services must have it.
func semantic(version string) string {
	if v := strings.TrimPrefix(version, "v"); semver.MatchString(v) {
		return v
	}
	return "0.0.0-devel"
}
