package kvclients

// Pull consumers (section 7.6 of the specification): a real JetStream and ours are asked the same, by hand and by nats.go.

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// someTime is between requests whose order matters: those that are sent together may change places.
const someTime = 300 * time.Millisecond

// puller asks for messages by hand, and writes down what it hears.
type puller struct {
	t   *testing.T
	nc  *nats.Conn
	log []string
}

func (p *puller) say(text string, args ...any) { p.log = append(p.log, fmt.Sprintf(text, args...)) }

// api asks, and notes the answer.
func (p *puller) api(subject, body string) {
	p.say("%s %s: %s", subject, body, lastActive.ReplaceAllString(step{subject: subject, body: body}.send(p.t, p.nc).String(), ""))
}

func (p *puller) put(key, value string) { step{subject: "$KV.p." + key, body: value}.send(p.t, p.nc) }

// lasting has a consumer outlive all that is asked between two requests to it, also on a busy machine. Without it, one ends that was left alone for 5 s.
const lasting = `,"inactive_threshold":300000000000`

func (p *puller) create(name, fields string) {
	p.api("CONSUMER.CREATE.KV_p."+name, fmt.Sprintf(`{"stream_name":"KV_p","action":"create","config":{"name":%q,"ack_policy":"none",%s}}`, name, fields))
}

// pull asks for messages, has something done meanwhile, and notes what came until so many have, and nothing more does.
func (p *puller) pull(name, body string, want int, meanwhile ...func()) {
	sub, err := p.nc.SubscribeSync(p.nc.NewInbox())
	require.NoError(p.t, err)
	require.NoError(p.t, p.nc.PublishRequest(apiPrefix+"CONSUMER.MSG.NEXT.KV_p."+name, sub.Subject, []byte(body)))
	require.NoError(p.t, p.nc.Flush())
	p.say("pull %s %s", name, body)
	for _, do := range meanwhile {
		require.Eventually(p.t, func() bool {
			m, err := p.nc.Request(apiPrefix+"CONSUMER.INFO.KV_p."+name, nil, time.Second)
			return err == nil && strings.Contains(string(m.Data), `"num_waiting":1`)
		}, 30*time.Second, 5*time.Millisecond, "the request is under way")
		time.Sleep(someTime)
		do()
	}
	for got := 0; ; got++ {
		wait := 10 * time.Second
		if got >= want {
			wait = 300 * time.Millisecond
		}
		m, err := sub.NextMsg(wait)
		if errors.Is(err, nats.ErrNoResponders) { // a status like others
			p.say("503")
			continue
		}
		if err != nil {
			require.NoError(p.t, sub.Unsubscribe())
			require.GreaterOrEqual(p.t, got, want, "%v", p.log)
			return
		}
		p.heard(m)
	}
}

// times are where the reply of a delivery has one.
func (p *puller) heard(m *nats.Msg) {
	if m.Reply == "" {
		p.say("%s %q", normal(m), m.Data)
		return
	}
	at := strings.Split(m.Reply, ".")
	require.Len(p.t, at, 9, m.Reply)
	at[7] = "time"
	p.say("%s %s %v %q", m.Subject, strings.Join(at, "."), m.Header, m.Data)
}

func TestPullConsumersAreThoseOfJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, ask := range map[string]func(*puller){
		"ask for messages": (*puller).askForMessages, "ask in other ways": (*puller).askInOtherWays, "change and end": (*puller).changeAndEnd,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireAlike(t, connected(t, 1), func(nc *nats.Conn) []string {
				p := &puller{t: t, nc: nc}
				p.fill()
				ask(p)
				return p.log
			})
		})
	}
}

func (p *puller) fill() {
	step{subject: "STREAM.CREATE.KV_p", body: bucketConfig("p", `"max_msgs_per_subject":3`)}.send(p.t, p.nc)
	p.put("first", "") // JetStream says of a new consumer that what it does not begin with was delivered
	for i := range 6 {
		p.put(fmt.Sprintf("k.%d", i%4), fmt.Sprintf("value %d", i))
	}
}

// requireAlike has a real JetStream and ours asked at the same time, since both mostly wait, and requires that what comes of it is alike.
func requireAlike[T any](t *testing.T, ours *nats.Conn, run func(*nats.Conn) T) {
	var want T
	var other sync.WaitGroup
	theirs := realJetStream(t)
	other.Go(func() { want = run(theirs) })
	got := run(ours)
	other.Wait()
	require.Equal(t, want, got)
}

// noticed waits until a consumer knows that so much is to come: a JetStream tells it of a message a moment after the put was answered.
func (p *puller) noticed(name string, pending int) {
	for range 1_000 {
		if answer := (step{subject: "CONSUMER.INFO.KV_p." + name}).send(p.t, p.nc).String(); strings.Contains(answer, fmt.Sprintf(`"num_pending":%d,`, pending)) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	require.Fail(p.t, "the consumer does not hear of a message")
}

func (p *puller) createAll() {
	p.create("all", `"deliver_policy":"all","filter_subject":"$KV.p.>","mem_storage":true,"num_replicas":1`+lasting)
}

func (p *puller) createNew() { p.create("new", `"deliver_policy":"new","max_waiting":7`+lasting) }

func (p *puller) createFull() { p.create("full", `"deliver_policy":"new","max_waiting":1`+lasting) }

func (p *puller) askForMessages() {
	p.createAll()
	p.api("CONSUMER.INFO.KV_p.all", "")
	p.pull("all", "", 1)
	p.pull("all", "2", 2)
	p.pull("all", `{"batch":10,"no_wait":true}`, 5)
	p.api("CONSUMER.INFO.KV_p.all", "")
	p.pull("all", `{"batch":10,"no_wait":true}`, 1)
	p.pull("all", `{"batch":3,"expires":5000000000}`, 2, func() { p.put("k.9", "later") })
	p.pull("all", `{"batch":3,"expires":5000000000,"no_wait":true}`, 2, func() { p.put("k.9", "one shot") })
	p.pull("all", `{"expires":300000000,"max_bytes":1000}`, 1)
	p.put("k.9", "not pulled")
	p.put("k.8", "nor this")
	p.api("CONSUMER.INFO.KV_p.all", "")
	p.create("latest", `"deliver_policy":"last_per_subject","filter_subjects":[">"],"headers_only":true,"metadata":{"a":"b"}`)
	p.pull("latest", `{"batch":100,"no_wait":true}`, 8)
	p.createNew()
	p.pull("new", `{"batch":2,"expires":5000000000}`, 2, func() { p.put("k.1", "a"); time.Sleep(someTime); p.put("k.2", "b") })
	p.create("from", `"deliver_policy":"by_start_sequence","opt_start_seq":7,"filter_subject":"$KV.p.k.9"`)
	p.pull("from", `{"batch":100,"no_wait":true}`, 4)
}

func (p *puller) askInOtherWays() {
	p.create("bytes", `"deliver_policy":"all"`+lasting)
	p.pull("bytes", `{"batch":3,"max_bytes":100000}`, 4) // ends with how much it might have had beside
	p.pull("bytes", `{"batch":3,"max_bytes":10,"expires":1000000000}`, 1)
	p.pull("bytes", `{"batch":30,"max_bytes":150,"expires":1000000000}`, 2)
	p.create("beats", `"deliver_policy":"new","max_batch":10,"max_expires":10000000000,"max_bytes":1000`+lasting)
	p.pull("beats", `{"expires":5000000000,"idle_heartbeat":2000000000}`, 3)
	for _, wrong := range []string{
		`{"expires":500000000,"idle_heartbeat":300000000}`, `{"batch":11}`, `{"expires":11000000000}`, `{"max_bytes":1001}`, `{"batch":"1"`, `{"min_pending":1}`,
		`{"id":"1"}`, `{"priority":10}`,
	} {
		p.pull("beats", wrong, 1)
	}
	p.createFull()
	p.pull("full", `{"expires":5000000000}`, 1, func() {
		p.pull("full", `{"expires":1000000000}`, 1)
	})
	step{subject: "CONSUMER.CREATE.KV_p.push", body: `{"stream_name":"KV_p","config":{"name":"push","ack_policy":"none","deliver_subject":"d"}}`}.send(p.t, p.nc)
	p.pull("push", "1", 1)
	p.pull("none", "1", 1)
	for _, wrong := range []string{`"idle_heartbeat":5000000000`, `"flow_control":true`, `"max_expires":1`} {
		p.create("wrong", wrong)
	}
}

func (p *puller) changeAndEnd() {
	p.createAll()
	p.pull("all", `{"batch":100,"no_wait":true}`, 8)
	p.put("k.8", "not pulled")
	p.noticed("all", 1)
	p.api("CONSUMER.INFO.KV_p.all", "")
	p.createNew()
	p.createFull()
	const request = `{"stream_name":"KV_p","action":"update","config":{"name":"all","ack_policy":"none","mem_storage":true,"num_replicas":1,"deliver_policy":"all"` + lasting
	p.api("CONSUMER.CREATE.KV_p.all", request+`,"filter_subject":"$KV.p.k.8"}}`)
	p.pull("all", `{"batch":100,"no_wait":true}`, 1)
	p.api("CONSUMER.CREATE.KV_p.all", request+`,"deliver_subject":"d"}}`)
	p.api("CONSUMER.CREATE.KV_p.all", request+`,"max_waiting":9}}`)
	p.pull("new", `{"expires":5000000000}`, 1, func() { p.api("CONSUMER.DELETE.KV_p.new", "") })
	p.pull("new", "", 1)
	p.api("CONSUMER.INFO.KV_p.new", "")
	p.pull("full", `{"expires":5000000000}`, 1, func() { p.api("STREAM.DELETE.KV_p", "") })
}

// ordered are the ways in which nats.go has an ordered consumer of a bucket deliver.
func ordered(t *testing.T, js jetstream.JetStream, config jetstream.OrderedConsumerConfig, n int) map[string][]string {
	ctx := within(t)
	consumer := func() jetstream.Consumer {
		c, err := js.OrderedConsumer(ctx, "KV_o", config)
		require.NoError(t, err)
		return c
	}
	got := map[string][]string{}
	take := func(how string, m jetstream.Msg) {
		about, err := m.Metadata()
		require.NoError(t, err)
		got[how] = append(got[how], fmt.Sprintf("%s %d %d %q %v", m.Subject(), about.Sequence.Stream, about.NumPending, m.Data(), m.Headers()))
	}
	c := consumer()
	for len(got["fetch"]) < n {
		batch, err := c.Fetch(3, jetstream.FetchMaxWait(time.Second))
		require.NoError(t, err)
		for m := range batch.Messages() {
			take("fetch", m)
		}
		require.NoError(t, batch.Error())
	}
	batch, err := consumer().FetchNoWait(n + 10)
	require.NoError(t, err)
	for m := range batch.Messages() {
		take("fetch no wait", m)
	}
	require.NoError(t, batch.Error())
	m, err := consumer().Next()
	require.NoError(t, err)
	take("next", m)
	iterator, err := consumer().Messages(jetstream.PullMaxMessages(4))
	require.NoError(t, err)
	for range n {
		m, err := iterator.Next()
		require.NoError(t, err)
		take("messages", m)
	}
	iterator.Stop()
	came := make(chan jetstream.Msg, 100)
	consuming, err := consumer().Consume(func(m jetstream.Msg) { came <- m })
	require.NoError(t, err)
	for range n {
		take("consume", <-came)
	}
	consuming.Stop()
	return got
}

func TestOrderedConsumersOfNatsGo(t *testing.T) {
	t.Parallel() // it mostly waits
	run := func(nc *nats.Conn) (list []map[string][]string) {
		js := client(t, nc, "raftbus")
		kv, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "o", History: 2})
		require.NoError(t, err)
		for i := range 10 {
			_, err := kv.PutString(within(t), fmt.Sprintf("k.%d", i%7), fmt.Sprintf("value %d", i))
			require.NoError(t, err)
		}
		require.NoError(t, kv.Delete(within(t), "k.3"))
		for n, config := range map[int]jetstream.OrderedConsumerConfig{
			11: {}, 7: {DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}, 2: {FilterSubjects: []string{"$KV.o.k.1", "$KV.o.k.4"}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 4, HeadersOnly: true},
			1: {DeliverPolicy: jetstream.DeliverLastPolicy},
		} {
			list = append(list, ordered(t, js, config, n))
		}
		sort.Slice(list, func(i, j int) bool { return len(list[i]["fetch"]) < len(list[j]["fetch"]) })
		return list
	}
	requireAlike(t, connected(t, 3), run)
}
