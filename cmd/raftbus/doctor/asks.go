package doctor

// What is asked, of whom, and for how long. Nothing is judged here.

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/cluster"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
)

const (
	// silenceTime is how long a node that did not answer with the others is asked by itself.
	silenceTime = 500 * time.Millisecond
	// electionTime is how long nobody may lead until that is a finding: an election takes a fraction of it.
	electionTime = 2 * time.Second
	// betweenLooks is the time between two looks at the figures.
	betweenLooks = 500 * time.Millisecond
)

// facts are what was seen of a cluster.
type facts struct {
	prefix string
	nats   string // where NATS was reached
	local  bool   // on this machine only
	cluster.View
	listens    map[string]bool // members that did not answer: whether somebody listens in their place all the same
	stats      map[string]look // of nodes that answer
	before     map[string]look // the same, some time ago
	maxPayload int64
	open       bool  // the user of these credentials could speak as a node
	blind      bool  // they do not let it ask for figures
	refused    error // NATS lets them ask no node
	unheard    bool  // or hear no answer
	unasked    error // why the nodes could not be asked for their figures the first time
	unaskedNow error // and the last time
}

// look is a node's figures, and when they were had.
type look struct {
	observe.Stats
	asked, had time.Time
}

// offset is how much the node's clock is ahead, and how much that may be wrong.
func (l *look) offset() (ahead, wrong time.Duration) {
	half := l.had.Sub(l.asked) / 2
	return l.Time.Sub(l.asked.Add(half)), half + replica.StatsFor
}

// gather asks all that there is to ask.
func gather(ctx context.Context, conn *nats.Conn, prefix string) (f *facts, err error) {
	f = &facts{prefix: prefix, nats: conn.ConnectedUrlRedacted(), maxPayload: conn.MaxPayload(), local: loopback(conn.ConnectedUrl())}
	f.before, f.unasked = f.lookAll(ctx, conn, prefix)
	f.blind = denied(conn, busclient.StatsSubject(prefix, busclient.AllNodes))
	began := time.Now()
	if f.View, err = askSettled(ctx, conn, prefix); errors.Is(err, native.ErrUnheard) {
		f.refused, f.unheard = conn.LastError(), true
		return f, nil
	} else if err != nil {
		return nil, err
	}
	if denied(conn, busclient.StatusSubject(prefix, busclient.AllNodes)) {
		f.refused = conn.LastError()
		return f, nil
	}
	f.listens = whoListens(ctx, conn, prefix, f.Unreachable)
	f.open = mayForge(conn, prefix)
	select {
	case <-time.After(time.Until(began.Add(betweenLooks))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.stats, f.unaskedNow = f.lookAll(ctx, conn, prefix)
	return f, ctx.Err()
}

// askSettled asks for the nodes' status; while a quorum answers and follows nobody, again for some time: an election is no finding.
func askSettled(ctx context.Context, conn *nats.Conn, prefix string) (cluster.View, error) {
	end := time.Now().Add(electionTime)
	for {
		found, err := cluster.Ask(ctx, conn, prefix)
		voting := len(found.Members()) > 0 && found.Configuration() != nil && found.Leader() == nil && found.HasQuorum()
		if err != nil || !voting || time.Now().After(end) {
			return found, err
		}
		select {
		case <-time.After(native.AskAgain):
		case <-ctx.Done():
			return found, ctx.Err()
		}
	}
}

// lookAll asks all nodes for their figures, as long as answers come in time. Who is not heard is seen in what is missing; the error is why not all were asked.
func (f *facts) lookAll(ctx context.Context, conn *nats.Conn, prefix string) (map[string]look, error) {
	looks, asked := map[string]look{}, time.Now()
	err := observe.Ask(ctx, conn, busclient.StatsSubject(prefix, busclient.AllNodes), silenceTime, func(answer []byte) time.Duration {
		var s observe.Stats
		if json.Unmarshal(answer, &s) == nil && s.Node != "" && len(looks) < observe.NodesMax {
			looks[s.Node] = look{s, asked, time.Now()}
		}
		switch {
		case len(f.Nodes) == 0: // nobody knows yet how many there are
			return 2 * observe.GraceTime
		case len(looks) >= len(f.Nodes):
			return observe.GraceTime
		}
		return 0
	})
	return looks, err
}

// whoListens tells of nodes that do not answer whether NATS knows a listener: then the process is there, or was a moment ago.
func whoListens(ctx context.Context, conn *nats.Conn, prefix string, ids []string) map[string]bool {
	listens := map[string]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, silenceTime)
			defer cancel()
			_, err := conn.RequestWithContext(ctx, busclient.StatusSubject(prefix, id), nil)
			mu.Lock()
			defer mu.Unlock()
			listens[id] = !errors.Is(err, nats.ErrNoResponders)
		})
	}
	all.Wait()
	return listens
}

// mayForge reports whether NATS lets this user publish where only nodes should. Nobody listens there: no id begins with '_'.
func mayForge(conn *nats.Conn, prefix string) bool {
	subject := prefix + ".rpc._doctor._doctor.Ping"
	if conn.Publish(subject, nil) != nil || conn.FlushTimeout(silenceTime) != nil {
		return false
	}
	return !denied(conn, subject)
}

// denied reports whether NATS has just refused a message on a subject. Its word comes before that of the next flush or answer.
func denied(conn *nats.Conn, subject string) bool {
	err := conn.LastError()
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), subject)
}

// loopback reports whether an address is of this machine alone.
func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// ids are the nodes whose figures are known, in order.
func (f *facts) ids() (list []string) {
	for id := range f.stats {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}
