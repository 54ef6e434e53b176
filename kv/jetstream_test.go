package kv

// The JetStream door: what the service adds to package jetstream.

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/kv/jetstream"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
)

const api = "$JS.raftbus.API."

// js asks the API, or a bare subject.
func (r *rig) js(subject, body string, headers ...string) *nats.Msg {
	r.Helper()
	msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		msg.Header.Add(headers[i], headers[i+1])
	}
	reply, err := r.client.RequestMsg(msg, 5*time.Second)
	require.NoError(r, err, subject)
	return reply
}

// sendJS publishes a request and returns where its answers come.
func (r *rig) sendJS(subject, body string) *nats.Subscription {
	r.Helper()
	sub, err := r.client.SubscribeSync(r.client.NewRespInbox())
	require.NoError(r, err)
	require.NoError(r, r.client.PublishRequest(subject, sub.Subject, []byte(body)))
	require.NoError(r, r.client.Flush())
	return sub
}

func (r *rig) bucketJS(name string) {
	r.Helper()
	body := `{"name":"KV_` + name + `","subjects":["$KV.` + name + `.>"],"max_msgs_per_subject":5,"discard":"new","deny_delete":true,"allow_rollup_hdrs":true,"allow_direct":true}`
	require.Contains(r, string(r.js(api+"STREAM.CREATE.KV_"+name, body).Data), `"did_create":true`)
}

// That one message was removed is a delete to NATS's clients, and so to native ones.
func TestTheMarkOfARemovedMessageIsADelete(t *testing.T) {
	r := newLeader(t, nil)
	r.js(api+"$KV.app.k", "", "Nats-Marker-Reason", "Remove")
	require.Contains(t, string(r.ask("kv.history.app.k", "").Data), `"operation":"delete"`)
}

func requireJSError(t testing.TB, want int, m *nats.Msg) {
	t.Helper()
	var body struct {
		Error *failure `json:"error"`
	}
	require.NoError(t, json.Unmarshal(m.Data, &body), "%s", m.Data)
	require.NotNil(t, body.Error, "%s", m.Data)
	require.Equal(t, want, body.Error.ErrCode, "%s", m.Data)
}

func TestBothDoorsReachTheSameData(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	require.Equal(t, `{"stream":"KV_app","domain":"raftbus","seq":1}`, string(r.js("$KV.app.color", "blue").Data))
	require.Contains(t, string(r.ask("kv.get.app.color", "").Data), `"value":"blue"`)
	r.ask("kv.put.app.color", "red")
	m := r.js(api+"DIRECT.GET.KV_app.$KV.app.color", "")
	require.Equal(t, "red", string(m.Data))
	require.Equal(t, "2", m.Header.Get("Nats-Sequence"))
	r.ask("kv.delete.app.color", "")
	require.Equal(t, "DEL", r.js(api+"DIRECT.GET.KV_app.$KV.app.color", "").Header.Get("KV-Operation"), "a delete by the native API")
	r.ask("bucket.add.app2", "")
	require.Contains(t, string(r.js(api+"STREAM.INFO.KV_app2", "").Data), `"deny_delete":true`)
	r.bucketJS("same")
	r.expectError(BucketExists, "bucket.add.same", "")
}

// A bucket of the native API and one that nats.go asks for with the same settings are one.
func TestABucketIsTheSameThroughBothDoors(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.ask("bucket.add.app", `{"history":5}`)
	r.bucketJS("app")

	r.ask("bucket.add.bound", `{"max_value_size":3,"metadata":{"a":"1"}}`)
	var shown struct{ Config json.RawMessage }
	require.NoError(t, json.Unmarshal(r.js(api+"STREAM.INFO.KV_bound", "").Data, &shown))
	require.Contains(t, string(r.js(api+"STREAM.CREATE.KV_bound", string(shown.Config)).Data), `"did_create":true`, "as it is shown")
	requireJSError(t, 10058, r.js(api+"STREAM.CREATE.KV_bound", strings.Replace(string(shown.Config), `"max_msg_size":3`, `"max_msg_size":4`, 1)))
	edited := strings.Replace(string(shown.Config), `"max_age":0`, `"max_age":3600000000000`, 1)
	require.NotEqual(t, string(shown.Config), edited)
	require.NotContains(t, string(r.js(api+"STREAM.UPDATE.KV_bound", edited).Data), `"error"`)
	require.Contains(t, string(r.ask("bucket.info.bound", "").Data), `"history":1,"ttl":"1h0m0s","max_value_size":3,`, "its bound is still one of values")
	r.ask("kv.put.bound.k", "abc", "Nats-Msg-Id", "id")
	r.expectError(TooLarge, "kv.put.bound.k", "abcd")
}

func TestBarePutsAreHeardForBucketsThatAreThere(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	_, err := r.client.Request("$KV.app.k", nil, 5*time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	r.bucketJS("app")
	require.Contains(t, string(r.js("$KV.app.k", "v").Data), `"seq":1`, "whoever hears that it was made finds it listening")
	r.ask("bucket.rm.app", "")
	require.Eventually(t, func() bool {
		_, err := r.client.Request("$KV.app.k", nil, 5*time.Second)
		return err == nats.ErrNoResponders
	}, 5*time.Second, time.Millisecond)
	r.ask("bucket.add.native", "")
	require.Contains(t, string(r.js("$KV.native.k", "v").Data), `"seq":1`)
	r.stepDown()
	_, err = r.client.Request("$KV.native.k", nil, 5*time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	r.lead()
	require.Eventually(t, func() bool {
		_, err := r.client.Request("$KV.native.k", nil, 5*time.Second)
		return err == nil
	}, 5*time.Second, time.Millisecond, "a new leader listens to the buckets that are there")
}

func TestBarePutsToBucketsThatAreGoneAreMetWithSilence(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	r.node.set(func(n *solo) { n.hold = true })
	rm := r.sendHeld("bucket.rm.app", "")
	put := r.sendJS("$KV.app.k", "v")
	r.awaitHeld()
	prefixed := r.sendJS(api+"$KV.app.k", "v")
	r.awaitHeld()
	r.node.release()
	r.answered(rm)
	_, err := prefixed.NextMsg(5 * time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders, "how nats.go tells a 503")
	r.silent(put)
	inbox, err := r.client.SubscribeSync(r.client.NewRespInbox()) // nor is one answered that was on its way when the bucket was known to be gone
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	r.service.jetStream(r.service.protocol, &nats.Msg{Subject: "$KV.app.k", Reply: inbox.Subject, Data: []byte("v")}, r.service.epoch.Load(), "$KV.app.k", true)
	r.silent(inbox)
}

func TestTheDefaultAPI(t *testing.T) {
	r := newRig(t, func(o *Options) { o.DefaultAPI = true })
	r.lead()
	for _, asked := range []string{"INFO", "STREAM.LIST"} {
		require.NotContains(t, string(r.js("$JS.API."+asked, "").Data), `"domain"`, "a NATS server without a domain names none, and some clients know none then")
	}
	require.Contains(t, string(r.js(api+"INFO", "").Data), `"domain":"raftbus"`)
	_, err := r.sendJS("$KV.app.k", "v").NextMsg(5 * time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders, "nobody else could have it: a 503")
	r.bucketJS("app")
	r.silent(r.sendJS("$JS.API.$KV.app.k", "v"))
	require.Equal(t, `{"stream":"KV_app","seq":1}`, string(r.js("$KV.app.k", "v").Data), "without a domain there is no other way to put")
	require.NotContains(t, string(r.js("$JS.API.STREAM.INFO.KV_app", "").Data), `"domain"`)
	require.Equal(t, "v", string(r.js("$JS.API.DIRECT.GET.KV_app.$KV.app.k", "").Data))
}

// What became of a put that is not committed in time is not known here, and nothing is what clients understand by that (C5).
func TestAPutOfUnknownOutcomeIsNotAnswered(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	r.node.set(func(n *solo) { n.hold = true })
	put := r.sendJS("$KV.app.k", "v")
	r.awaitHeld()
	create := r.sendJS(api+"STREAM.DELETE.KV_app", "")
	r.awaitHeld()
	r.overdue()
	r.silent(put)
	r.silent(create)
	r.node.release()
	r.silent(put)
	r.silent(create)
}

// A read changes nothing, so that it could not be confirmed is certain.
func TestAReadThatIsNotConfirmedIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	r.node.set(func(n *solo) { n.hold = true })
	info := r.sendJS(api+"STREAM.INFO.KV_app", "")
	r.awaitHeld()
	get := r.sendJS(api+"DIRECT.GET.KV_app.$KV.app.k", "")
	r.awaitHeld()
	r.overdue()
	m, err := info.NextMsg(5 * time.Second)
	require.NoError(t, err)
	requireJSError(t, 10008, m)
	_, err = get.NextMsg(5 * time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders, "how nats.go tells a 503")
	r.node.release()
}

func TestBusyAndFullAreToldInJetStreamsWords(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	for refusal, code := range map[error]int{node.ErrBusy: 10008, node.ErrFull: 10047, node.ErrTooLarge: 10054} {
		r.node.set(func(n *solo) { n.refusal = refusal })
		requireJSError(t, code, r.js("$KV.app.k", "v"))
		requireJSError(t, code, r.js(api+"STREAM.DELETE.KV_app", ""))
	}
	r.node.set(func(n *solo) { n.refusal = node.ErrNotLeader })
	r.silent(r.sendJS("$KV.app.k", "v"))
}

// Headers that nats.go cannot read it leaves out, and a lane hands over empty: without them a put would mean something else.
func TestHeadersThatCannotBeReadAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){"NATS's client": nil, "a lane": laned(t)} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			r.lead()
			r.bucketJS("app")
			for _, header := range []string{"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence 7\r\n\r\n", "NATS/9.9\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b", "x"} {
				for _, subject := range []string{"$KV.app.k", api + "$KV.app.k", api + "STREAM.INFO.KV_app", "raftbus.kv.put.app.k"} {
					answer := r.raw(fmt.Sprintf("HPUB %s inbox %d %d\r\n%sv\r\n", subject, len(header), len(header)+1, header))
					require.Contains(t, answer, `"code":400`, "%s %q", subject, header)
				}
			}
			require.NotContains(t, string(r.js(api+"STREAM.INFO.KV_app", "").Data), `"num_subjects"`, "nothing was stored")
			r.ask("kv.put.app.k", "v", "A", "b")
			r.ask("kv.put.app.k", "v") // without any header
		})
	}
}

// raw says something in NATS's own words, and returns the answer's last line.
func (r *rig) raw(said string) string {
	r.Helper()
	conn, err := net.Dial("tcp", r.client.ConnectedAddr())
	require.NoError(r, err)
	defer func() { require.NoError(r, conn.Close()) }()
	require.NoError(r, conn.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = fmt.Fprint(conn, "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB inbox 1\r\n"+said)
	require.NoError(r, err)
	for scanner := bufio.NewScanner(conn); scanner.Scan(); {
		if line := scanner.Text(); strings.HasPrefix(line, "{") || strings.HasPrefix(line, "-ERR") {
			return line
		}
	}
	require.FailNow(r, "no answer")
	return ""
}

// A bucket that another JetStream has is not made: both would answer.
func TestABucketThatAnotherJetStreamHasIsNotMade(t *testing.T) {
	r := newRig(t, func(o *Options) { o.probeWait = time.Minute })
	r.lead()
	other, err := r.client.Subscribe("$JS.API.STREAM.INFO.*", func(m *nats.Msg) {
		reply := `{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":404,"err_code":10059}}`
		if strings.HasSuffix(m.Subject, "KV_theirs") {
			reply = `{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"KV_theirs"}}`
		}
		_ = m.Respond([]byte(reply))
	})
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	r.bucketJS("app")
	before := r.store.Applied()
	requireJSError(t, 10065, r.js(api+"STREAM.CREATE.KV_theirs", `{"name":"KV_theirs","subjects":["$KV.theirs.>"],"max_msgs_per_subject":1}`))
	r.expectError(StreamTaken, "bucket.add.theirs", "")
	require.Equal(t, before, r.store.Applied())
	require.NoError(t, other.Unsubscribe())
	r.bucketJS("theirs")
}

// A JetStream that does not answer holds nobody up for long.
func TestAJetStreamThatIsSilentDoesNotHoldUpBuckets(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.lead()
	_, err := r.client.Subscribe("$JS.API.>", func(*nats.Msg) {})
	require.NoError(t, err)
	require.NoError(t, r.client.Flush())
	r.bucketJS("app")
}

func TestALargeMessageThatDoesNotFitAsJSONIsToldSo(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	r.js("$KV.app.k", strings.Repeat("v", 1<<20-jetstream.PayloadReserve))
	requireJSError(t, 10054, r.js(api+"STREAM.MSG.GET.KV_app", `{"last_by_subj":"$KV.app.k"}`))
	require.Len(t, r.js(api+"DIRECT.GET.KV_app.$KV.app.k", "").Data, 1<<20-jetstream.PayloadReserve)
}

// asked is a host of consumers that keeps where it was asked to answer.
type asked chan string

func (asked) Choose(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) { return "n1", 1, nil }

// Ask keeps who asks, and has the host answer if it keeps anything.
func (a asked) Ask(_ store.Consumer, _ bool, answer string) bool {
	if a == nil {
		return false
	}
	a <- answer
	return true
}

// Pull keeps what is pulled, and takes but one message.
func (a asked) Pull(_ store.Consumer, p watch.Pulled) bool { a <- p.Reply; return p.Batch == 1 }

// Who names no reply subject waits for no answer: the host could send it nowhere, and would log that.
func TestNobodyIsAskedForWhoDoesNotListen(t *testing.T) {
	hosts := make(asked, 10)
	r := newRig(t, func(o *Options) { o.Hosts = hosts })
	r.lead()
	r.bucketJS("app")
	create := api + "CONSUMER.CREATE.KV_app.c"
	body := `{"stream_name":"KV_app","config":{"ack_policy":"none","deliver_subject":"d"}}`
	require.NoError(t, r.client.Publish(create, []byte(body)))
	r.ask("kv.put.app.color", "blue")
	require.NoError(t, r.client.Publish(api+"CONSUMER.INFO.KV_app.c", nil))
	r.sendJS(create, body) // it is there
	sub := r.sendJS(api+"CONSUMER.INFO.KV_app.c", "")
	for answer := ""; answer != sub.Subject; {
		answer = <-hosts
		require.NotEmpty(t, answer)
	}
}

// L9: who asks for a consumer whose host cannot answer is told so. Who makes it is not: it may be there.
func TestWhoAsksALostHostIsToldSo(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Hosts = asked(nil) })
	r.lead()
	r.bucketJS("app")
	create, body := api+"CONSUMER.CREATE.KV_app.c", `{"stream_name":"KV_app","config":{"ack_policy":"none","deliver_subject":"d"}}`
	r.sendJS(create, body)
	r.settled()
	requireJSError(t, 10008, r.js(api+"CONSUMER.INFO.KV_app.c", ""))
	r.silent(r.sendJS(create, body))
}

// Who pulls is answered by the host, or told at once that it cannot.
func TestAPullIsPassedOnToItsHost(t *testing.T) {
	hosts := make(asked, 10)
	r := newRig(t, func(o *Options) { o.Hosts = hosts })
	r.lead()
	r.bucketJS("app")
	r.sendJS(api+"CONSUMER.CREATE.KV_app.c", `{"stream_name":"KV_app","config":{"ack_policy":"none"}}`)
	const next = api + "CONSUMER.MSG.NEXT.KV_app.c"
	r.settled()
	require.NoError(t, r.client.Publish(next, []byte("1"))) // nobody waits to hear
	sub := r.sendJS(next, "1")
	require.Equal(t, sub.Subject, <-hosts)
	r.silent(sub)
	sub = r.sendJS(next, "2")
	require.Equal(t, sub.Subject, <-hosts)
	_, err := sub.NextMsg(5 * time.Second)
	require.ErrorIs(t, err, nats.ErrNoResponders, "how nats.go tells a 503")
}

const (
	nextOfC  = api + "CONSUMER.MSG.NEXT.KV_app.c"
	patient  = `{"batch":1,"expires":60000000000}`
	deposed  = "409 Leadership Change"
	inAHurry = `{"batch":250,"no_wait":true}`
)

// told takes the one answer, a status.
func (r *rig) told(sub *nats.Subscription) string {
	r.Helper()
	m := r.answered(sub)
	return m.Header.Get("Status") + " " + m.Header.Get("Description")
}

// Some clients wait for messages for as long as they hear nothing. A pull changes nothing, so to answer it while another carries out a copy does no harm (L9).
func TestWhoWaitsForMessagesIsToldThatItsLeaderIsGone(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	r.node.set(func(n *solo) { n.leading = false }) // of which the service is yet to hear
	for _, body := range []string{patient, "1", "", `{"no_wait":true,"expires":1000000000}`} {
		require.Equal(t, deposed, r.told(r.sendJS(nextOfC, body)), body)
	}
	for _, subject := range []string{"$KV.app.k", api + "STREAM.INFO.KV_app", api + "DIRECT.GET.KV_app.CONSUMER.MSG.NEXT.KV_app.c"} {
		r.silent(r.sendJS(subject, ""))
	}
	r.silent(r.sendJS(nextOfC, inAHurry)) // nats.ex takes any status for the end of what there is
}

func TestWhoWaitsForMessagesIsToldWhenItIsOverdue(t *testing.T) {
	r := newRig(t, nil)
	r.lead()
	r.bucketJS("app")
	r.node.set(func(n *solo) { n.hold = true })
	pull := r.sendJS(nextOfC, patient)
	r.awaitHeld()
	r.node.lead(false)
	r.overdue()
	require.Equal(t, deposed, r.told(pull))
	r.node.release()
	r.silent(pull)
}

// C5: a write whose answer the bus cannot carry was done. Nobody is told that it was not.
func TestWhatWasDoneIsNotRefusedForItsAnswer(t *testing.T) {
	r := newRig(t, nil, func(o *server.Options) { o.MaxPayload = 16 << 10 })
	r.lead()
	config := `{"name":"KV_app","subjects":["$KV.app.>"],"max_msgs_per_subject":1,"discard":"new","metadata":{"a":"` + strings.Repeat("<", 4<<10) + `"}}`
	sub := r.sendJS(api+"STREAM.CREATE.KV_app", config) // as JSON a '<' takes six bytes
	r.silent(sub)
	r.ask("kv.put.app.k", "v")
}
