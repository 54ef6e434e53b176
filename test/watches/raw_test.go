package watches

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

// consumerAnswer is as much of a consumer's answer as the tests look at.
type consumerAnswer struct {
	Type      string `json:"type"`
	Name      string `json:"name"`
	Delivered struct {
		Consumer uint64 `json:"consumer_seq"`
		Stream   uint64 `json:"stream_seq"`
	} `json:"delivered"`
	Consumers []string `json:"consumers"`
	Pending   uint64   `json:"num_pending"`
	Bound     bool     `json:"push_bound"`
	Error     *struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// ask sends a request of the JetStream API.
func ask(t testing.TB, nc *nats.Conn, subject string, body any) consumerAnswer {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	if body == nil {
		data = nil
	}
	var a consumerAnswer
	require.NoError(t, json.Unmarshal(request(t, nc, "$JS.raftbus.API."+subject, data), &a))
	return a
}

// request sends a request once somebody takes it, and returns what is answered: on a busy machine nobody may lead for a moment.
func request(t testing.TB, nc *nats.Conn, subject string, data []byte) []byte {
	t.Helper()
	m, err := nc.Request(subject, data, patience)
	for end := time.Now().Add(patience); errors.Is(err, nats.ErrNoResponders) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		m, err = nc.Request(subject, data, patience)
	}
	require.NoError(t, err, subject)
	return m.Data
}

type fields map[string]any

// consume makes a consumer by hand.
func consume(t testing.TB, nc *nats.Conn, bucket, name, deliver string, more fields) consumerAnswer {
	t.Helper()
	config := fields{"name": name, "deliver_subject": deliver, "ack_policy": "none", "deliver_policy": "all", "filter_subject": "$KV." + bucket + ".>"}
	for k, v := range more {
		config[k] = v
	}
	subject := fmt.Sprintf("CONSUMER.CREATE.KV_%s.%s.$KV.%[1]s.>", bucket, name)
	if config["filter_subject"] == nil {
		subject = fmt.Sprintf("CONSUMER.CREATE.KV_%s.%s", bucket, name)
		delete(config, "filter_subject")
	}
	return ask(t, nc, subject, fields{"stream_name": "KV_" + bucket, "config": config, "action": "create"})
}

// BenchmarkWatchers puts while many watch, and waits until all have got everything.
func BenchmarkWatchers(b *testing.B) {
	for _, watchers := range []int{0, 1, 100, 1_000} {
		b.Run(fmt.Sprint(watchers), func(b *testing.B) {
			c := cluster.Started(b, 3)
			c.AwaitWatches()
			kv, nc := open(b, c, jetstream.KeyValueConfig{Bucket: "app"})
			var got atomic.Int64
			for i := range watchers {
				deliver := fmt.Sprintf("_INBOX.w%d", i)
				sub, err := nc.Subscribe(deliver, func(m *nats.Msg) {
					if m.Subject != deliver {
						got.Add(1)
					}
				})
				require.NoError(b, err)
				require.NoError(b, sub.SetPendingLimits(-1, -1))
				a := consume(b, nc, "app", fmt.Sprintf("c%d", i), deliver, fields{"deliver_policy": "new", "idle_heartbeat": 5 * time.Second})
				require.Nil(b, a.Error)
			}
			value := make([]byte, 100)
			b.ResetTimer()
			start := time.Now()
			for i := range b.N {
				_, err := kv.Put(b.Context(), fmt.Sprintf("k%d", i%1_000), value)
				require.NoError(b, err)
			}
			written := time.Since(start)
			for got.Load() < int64(b.N*watchers) {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/written.Seconds(), "puts/s")
			b.ReportMetric(float64(got.Load())/time.Since(start).Seconds(), "events/s")
		})
	}
}
