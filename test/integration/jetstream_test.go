package integration

// Clients of NATS KV, over whole clusters that fail: what they saw has one order, and a write with a message id that they tried again and
// again happened once (C1, C3, C4, C6).

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
	"github.com/raftbus/raftbus/test/linear"
)

const (
	jsDomain   = "raftbus"
	jsPatience = time.Second // after it an outcome is unknown, and a write with an id is tried again
	triesMax   = 4

	codeUnavailable = 10008 // 'temporarily unavailable': nothing was done
)

// kvClient does operations by the official client.
type kvClient struct {
	l  *load
	id int
	js jetstream.JetStream
	kv jetstream.KeyValue
}

func TestJetStreamClientsSeeOneOrderWhateverFails(t *testing.T) {
	t.Parallel() // it mostly waits
	c := cluster.Started(t, 3)
	l := &load{t: t, history: linear.NewHistory(), stop: make(chan struct{})}
	for i := range 4 {
		client := openKV(t, c, l, i)
		l.group.Go(client.run)
	}
	loseLeaders(c, 3)
	l.end(linear.Put, linear.Update, linear.Purge, linear.Get)
	t.Logf("%d retries recognised", l.lost)
	require.NotZero(t, l.lost, "no write was tried again that had been done")
}

// loseLeaders cuts off a leader and stops the next, so many times, under load.
func loseLeaders(c *cluster.Cluster, times int) {
	for range times {
		time.Sleep(time.Second) // of load
		leader := c.Leader()
		c.Wires[leader].Cut()
		c.Leader(leader)
		time.Sleep(500 * time.Millisecond) // of load on the next one
		c.Wires[leader].Heal()
		leader = c.Leader()
		c.Stop(leader)
		c.Leader(leader)
		c.Start(leader)
	}
}

func openKV(t *testing.T, c *cluster.Cluster, l *load, id int) *kvClient {
	js, err := jetstream.NewWithDomain(c.Connect(), jsDomain)
	require.NoError(t, err)
	k := &kvClient{l: l, id: id, js: js}
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		k.kv, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "js", History: 3})
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "%v", err)
	return k
}

func (k *kvClient) run() {
	revisions := map[string]uint64{}
	for i := 0; k.l.goesOn(loadPause); i++ {
		in := k.draw(i, revisions)
		out := k.record(in)
		for try := 1; in.ID != "" && try < triesMax && (out.Outcome == linear.Unknown || rand.IntN(4) == 0); try++ {
			out = k.record(in)
		}
		if out.Outcome == linear.Done {
			revisions[in.Key] = out.Revision
		}
	}
}

func (k *kvClient) draw(i int, revisions map[string]uint64) linear.Input {
	in := linear.Input{Key: "js.k" + strconv.Itoa(rand.IntN(loadKeys)), Value: fmt.Sprintf("%d.%d", k.id, i)}
	in.Kind = []linear.Kind{linear.Get, linear.Get, linear.Put, linear.Update, linear.Purge}[rand.IntN(5)]
	if in.Kind == linear.Update {
		in.Expected = revisions[in.Key]
	}
	if in.Kind != linear.Get && rand.IntN(2) == 0 {
		in.ID = in.Value
	}
	return in
}

func (k *kvClient) record(in linear.Input) linear.Output {
	out := k.l.history.Record(k.id, in, func() linear.Output {
		ctx, cancel := context.WithTimeout(context.Background(), jsPatience)
		defer cancel()
		if in.Kind == linear.Get {
			return k.read(ctx, in)
		}
		return k.write(ctx, in)
	})
	if out.Again {
		k.l.mu.Lock()
		k.l.lost++
		k.l.mu.Unlock()
	}
	return out
}

func (k *kvClient) read(ctx context.Context, in linear.Input) linear.Output {
	e, err := k.kv.Get(ctx, in.Key[len("js."):])
	switch {
	case err == nil:
		return linear.Output{Found: true, Value: string(e.Value()), Revision: e.Revision()}
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return linear.Output{}
	}
	return unanswered(err)
}

// unanswered is what an error means that says nothing of the key: nobody took what was asked for, or nobody answered in time.
func unanswered(err error) linear.Output {
	var refusal *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrReconnectBufExceeded),
		errors.As(err, &refusal) && refusal.ErrorCode == codeUnavailable:
		return linear.Output{Outcome: linear.NotDone}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return linear.Output{Outcome: linear.Unknown}
	}
	return linear.Output{Outcome: linear.NotUnderstood, Said: err.Error()}
}

// write publishes what KeyValue does for a put, an update or a delete, with a message id if the input has one.
func (k *kvClient) write(ctx context.Context, in linear.Input) linear.Output {
	m := nats.NewMsg("$JS." + jsDomain + ".API.$KV." + in.Key)
	options := []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)}
	switch in.Kind {
	case linear.Purge:
		m.Header.Set("KV-Operation", "DEL")
	case linear.Update:
		options = append(options, jetstream.WithExpectLastSequencePerSubject(in.Expected))
		fallthrough
	default:
		m.Data = []byte(in.Value)
	}
	if in.ID != "" {
		options = append(options, jetstream.WithMsgID(in.ID))
	}
	ack, err := k.js.PublishMsg(ctx, m, options...)
	var refusal *jetstream.APIError
	switch {
	case err == nil:
		return linear.Output{Revision: ack.Sequence, Again: ack.Duplicate}
	case errors.As(err, &refusal) && refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return linear.Output{Outcome: linear.Refused}
	}
	return unanswered(err)
}
