package observe

// Asking all nodes at once and taking what comes in time: Ask whatever they answer, for status, doctor and cluster, and Gather their figures, for those
// that watch a cluster.

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/rpc"
)

const (
	// GatherTime bounds how long nodes have to answer, and NATS before that to say that their answers will be heard. Those that are up answer within a round trip.
	GatherTime = time.Second
	// GraceTime is how long nodes are waited for that nobody has named, once all others have answered.
	GraceTime = 50 * time.Millisecond
	// silentTime is how long those are waited for that did not answer before: more than a round trip around the world.
	silentTime = 400 * time.Millisecond
	// NodesMax bounds how many nodes are listened to: whoever may answer on the bus must not fill the memory of who asks.
	NodesMax = 4 * config.MaxMembers
)

// Gather asks all nodes on a subject for their figures, and returns those that answer, by id. It ends soon after all members that
// those name have answered, but for the silent, which did not answer the last time, and a second after they were asked at the latest. That nobody answers is
// no error; that NATS is away is one.
func Gather(ctx context.Context, conn *nats.Conn, subject string, silent []string) ([]Stats, error) {
	switch {
	case conn.IsClosed():
		return nil, nats.ErrConnectionClosed
	case !conn.IsConnected():
		return nil, nats.ErrConnectionReconnecting
	}
	var list []Stats
	err := Ask(ctx, conn, subject, GatherTime, func(answer []byte) time.Duration {
		list = add(list, answer)
		switch {
		case !complete(list, silent):
			return 0
		case !complete(list, nil):
			return silentTime
		}
		return GraceTime
	})
	return list, err
}

// Ask asks all nodes on a subject, which have so long to answer from then on, and gives each answer to take, which says for how long more answers are waited
// for: 0 while it does not know, and its first word counts. That nobody answers is no error, nor is the end of ctx's time;
// that NATS lets no answer be heard is native.ErrUnheard, and nobody was asked.
func Ask(ctx context.Context, conn *nats.Conn, subject string, within time.Duration, take func(answer []byte) time.Duration) error {
	inbox := conn.NewInbox()
	answers, err := conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = answers.Unsubscribe() }() // a connection that is lost has forgotten it
	hearing, heard := context.WithTimeout(ctx, GatherTime)
	defer heard()
	if err := native.Heard(hearing, conn, inbox); errors.Is(err, context.DeadlineExceeded) {
		return nil
	} else if err != nil {
		return err
	}
	if err := conn.PublishRequest(subject, inbox, nil); err != nil {
		return err
	}
	answering, end := context.WithTimeout(ctx, within)
	defer end()
	for waiting := answering; ; {
		m, err := answers.NextMsgWithContext(waiting)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) {
			return nil
		}
		if err != nil {
			return err
		}
		if rest := take(m.Data); rest > 0 && waiting == answering {
			var cancel context.CancelFunc
			waiting, cancel = context.WithTimeout(answering, rest)
			defer cancel()
		}
	}
}

// add takes what a node answered; a second answer of the same id is the later. What is no node's figures is left out.
func add(list []Stats, data []byte) []Stats {
	var s Stats
	if json.Unmarshal(data, &s) != nil || !config.ValidToken(s.Node) || len(s.Members) > rpc.MaxMembers {
		return list
	}
	at, found := slices.BinarySearchFunc(list, s.Node, func(o Stats, id string) int { return strings.Compare(o.Node, id) })
	switch {
	case found:
		list[at] = s
	case len(list) < NodesMax:
		list = slices.Insert(list, at, s)
	}
	return list
}

// complete reports whether all members that somebody names are in the list, but for some.
func complete(list []Stats, but []string) bool {
	missing := func(id string) bool {
		return !slices.Contains(but, id) && !slices.ContainsFunc(list, func(s Stats) bool { return s.Node == id })
	}
	return len(list) > 0 && !slices.ContainsFunc(list, func(s Stats) bool { return slices.ContainsFunc(s.Members, missing) })
}
