package watch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNativeMessages(t *testing.T) {
	o := newHost(t, 1)
	o.consumer(Config{Native: true, Heartbeat: second})
	o.listen(true)
	o.settle()
	e := Entry{Key: "the.key", Sequence: 1, Time: 1795415661628117900, Value: []byte("hello"), Operation: "put", Revision: 9, Header: []byte("NATS/1.0\r\nA: b\r\n\r\n")}
	sent := o.hub().Step(o.now, 1<<20, Applied{Index: 2, Changes: []Change{Stored{testBucket, e}}}).Send
	require.Equal(t, []Send{{
		Subject: "in.box", Body: []byte("hello"),
		Header: []byte("NATS/1.0\r\nRb-Watch: c\r\nRb-Sequence: 1\r\nRb-Pending: 0\r\nRb-Key: the.key\r\nRb-Operation: put\r\nRb-Revision: 1\r\nRb-Cluster-Revision: 9\r\nRb-Time: 2026-11-23T06:34:21.6281179Z\r\nA: b\r\n\r\n"),
	}}, sent)
	sent = o.hub().Step(o.now+second, 1<<20).Send
	require.Equal(t, []Send{{Subject: "in.box", Header: []byte("NATS/1.0\r\nRb-Watch: c\r\nRb-Sequence: 1\r\nRb-Progress: 1\r\n\r\n")}}, sent)
}

func TestNativeMessagesWithoutValues(t *testing.T) {
	c := &consumer{Record: Record{Ref: Ref{Name: "c"}, Config: Config{Native: true, HeadersOnly: true}}, bucket: &bucket{}, group: &group{}, first: 1}
	s := c.message(&Entry{Key: "k", Sequence: 2, Size: 7, Operation: "delete", Header: []byte("NATS/1.0\r\nStatus: 503\r\n\r\n")}, 3) // clients would take it for no responders
	require.Empty(t, s.Body)
	require.Equal(t, "NATS/1.0\r\nRb-Watch: c\r\nRb-Sequence: 1\r\nRb-Pending: 3\r\nRb-Key: k\r\nRb-Operation: delete\r\nRb-Revision: 2\r\nRb-Cluster-Revision: 0\r\nRb-Time: 1970-01-01T00:00:00Z\r\nRb-Size: 7\r\n\r\n", string(s.Header))
}

// Who may put one key cannot have its events pass for another's, or for none (W2).
func TestStoredHeadersDoNotPassForOurs(t *testing.T) {
	for _, withoutValues := range []bool{false, true} {
		c := &consumer{Record: Record{Ref: Ref{Name: "c"}, Config: Config{Native: true, HeadersOnly: withoutValues}}, bucket: &bucket{}, group: &group{}, first: 1}
		e := &Entry{Key: "k", Sequence: 2, Value: []byte("v"), Operation: "put"}
		plain := c.message(e, 3).Header
		e.Header = []byte("NATS/1.0\r\nRb: 1\r\nRb-Key: other\r\nrb-key: x\r\nRB-Progress: 9\r\nRb-Flow: to.me\r\n rb-sequence: 9\r\n\trb-pending: 0\r\nX-Rb-Key: 2\r\n\r\n")
		want, ended := strings.CutSuffix(string(plain), headerEnd)
		require.True(t, ended)
		require.Equal(t, want+"Rb: 1\r\nX-Rb-Key: 2\r\n\r\n", string(c.message(e, 3).Header))
	}
}

func TestNativeFlowControl(t *testing.T) { // 7.4, in the native form
	o := newHost(t, 64, func(l *Limits) { l.Window = 1_000 })
	o.consumer(Config{Native: true, FlowControl: true, Heartbeat: second})
	o.listen(true)
	o.sent0()
	for range 12 {
		o.put("a", strings.Repeat("x", 100))
	}
	o.sent0()
	c := o.hub().all[0]
	require.NotEmpty(t, c.window.request)
	require.Less(t, c.sequence, uint64(8))
	o.pass(second)
	marks := o.sent0()
	require.Len(t, marks, 1)
	require.Contains(t, string(marks[0].Header), "Rb-Flow: "+c.window.request+"\r\n")
	require.Equal(t, c.window.request, marks[0].Reply, "a lost answer is asked for again")
	for range 12 {
		o.tell(Processed{c.window.request})
		o.sent0()
	}
	require.Equal(t, uint64(12), c.sequence)
}

// sent0 is as sent, with the messages as they are.
func (o *oneHost) sent0() (list []Send) {
	for busy := true; busy; {
		for len(o.peer.reads) > 0 {
			o.answerRead(o.peer)
		}
		e := o.hub().Step(o.now, 1<<20, o.takeEvents()...)
		list = append(list, e.Send...)
		o.peer.reads = append(o.peer.reads, e.Reads...)
		o.peer.events = append(o.watchSubjects(o.peer, e.Watch), o.peer.events...)
		busy = len(e.Send)+len(e.Reads)+len(e.Watch) > 0 || e.Again
	}
	return list
}

func (o *oneHost) takeEvents() []Event {
	events := o.peer.events
	o.peer.events = nil
	return events
}
