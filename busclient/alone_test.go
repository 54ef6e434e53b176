package busclient

// Two processes, one name (F13): exactly one goes on.

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/stalltest"
)

// as makes a process of n1 with another start, and with another data folder if told so.
func as(boot rpc.BootEpoch, folder byte) func(*peerOptions) {
	return func(o *peerOptions) {
		o.service.Identity.Boot = boot
		o.service.Identity.Instance[15] = folder
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	url := startNATS(t).URL()
	n1 := startPeer(t, url, "n1", as(epoch(4, 0xffffffff), 1))
	for name, second := range map[string]func(*peerOptions){
		"copied folder, lower nonce": as(epoch(4, 1), 1),
		"another folder":             as(epoch(1, 1), 2),
	} {
		err := newPeer(t, url, "n1", second).Start(t.Context())
		require.ErrorIs(t, err, ErrDuplicateNode, name)
		require.ErrorContains(t, err, n1.self.Instance.String(), name)
		require.ErrorContains(t, err, "00000004ffffffff", name)
	}
	require.NoError(t, n1.CheckAlone(t.Context()), "the first goes on")

	second := newPeer(t, url, "n1", as(epoch(4, 1), 1))
	eventually(t, "up", func() bool { up, _ := second.control.Up(); return up })
	require.NoError(t, second.listen(control, inboxSubject("raftbus", "n1", second.nonces[control]), second.receiveReturn))
	require.ErrorIs(t, second.askBefore(t.Context()), ErrDuplicateNode, "found by the first question")
	require.ErrorIs(t, second.askWhileListening(t.Context()), ErrDuplicateNode, "and by the later ones")
}

func TestOfProcessesThatStartTogetherOneGoesOn(t *testing.T) {
	t.Parallel()
	servers, err := embedded.StartCluster(2, embedded.Options{})
	require.NoError(t, err)
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
	}
	for _, urls := range [][2]string{{servers[0].URL(), servers[0].URL()}, {servers[0].URL(), servers[1].URL()}} {
		alone := 0
		for range 10 {
			watch := stalltest.During(t)
			if alone = startTogether(t, urls); alone < 2 || watch.Lost() < selfQuestions*selfPause/2 {
				break
			} // else what one subscribed to may have come to the other's server too late
		}
		require.Equal(t, 1, alone)
	}
}

// startTogether starts two processes of one name, and returns how many go on.
func startTogether(t *testing.T, urls [2]string) (alone int) {
	first, second := newPeer(t, urls[0], "n1", as(epoch(4, 30), 1)), newPeer(t, urls[1], "n1", as(epoch(4, 20), 1))
	defer first.Close()
	defer second.Close()
	outcomes := make(chan error, 2)
	for _, n := range []*peer{first, second} {
		eventually(t, "up", func() bool { up, _ := n.control.Up(); return up })
	}
	for _, n := range []*peer{first, second} {
		go func() { outcomes <- n.CheckAlone(t.Context()) }()
	}
	for range 2 {
		if err := await(t, outcomes); err == nil {
			alone++
		} else {
			require.ErrorIs(t, err, ErrDuplicateNode)
		}
	}
	return alone
}

// Both listen and have not settled: the one with the higher boot nonce gives way, whoever hears of the other first.
func TestTheHigherNonceGivesWay(t *testing.T) {
	low, high := Identity{"n1", instanceOf("n1"), epoch(4, 20)}, Identity{"n1", instanceOf("n1"), epoch(4, 30)}
	a, b := alone{self: low}, alone{self: high}
	require.False(t, a.meet(high))
	require.False(t, b.meet(low))
	require.NoError(t, a.settle())
	require.ErrorIs(t, b.settle(), ErrDuplicateNode)
	require.True(t, a.meet(high), "who has settled says so")

	twin := low // by the rarest chance: of another folder
	twin.Instance[15]++
	require.NotEqual(t, before(low, twin), before(twin, low))

	c := alone{self: high}
	require.False(t, c.meet(high), "oneself is no rival")
	require.NoError(t, c.settle())
	require.True(t, c.meet(low))
	require.NoError(t, c.settle(), "and never gives way")
}

// forgetful is a connection that loses what is sent first, and says so of every other.
type forgetful struct {
	Bus
	loses atomic.Int32 // so many yet
}

func (f *forgetful) Publish(subject, reply string, data []byte) error {
	switch left := f.loses.Add(-1); {
	case left >= 0 && left%2 == 0:
		return ErrBusDown
	case left >= 0:
		return nil
	}
	return f.Bus.Publish(subject, reply, data)
}

// Who does not even hear itself has not heard of others (K75): it goes on asking.
func TestWhoDoesNotHearItselfAsksOn(t *testing.T) {
	n1 := unsettled(t, startNATS(t).URL())
	bus := &forgetful{Bus: n1.control}
	bus.loses.Store(selfQuestions + 2)
	n1.buses[control] = bus
	require.NoError(t, n1.askWhileListening(t.Context()))
	require.Negative(t, bus.loses.Load())
}

// Somebody who listens but says nothing, such as a connection that died without a word, keeps nobody from starting, once it was asked three times.
func TestSilenceOnTheOwnSubjectIsNoProcess(t *testing.T) {
	t.Parallel() // it mostly waits
	url := startNATS(t).URL()
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	var asked atomic.Int32
	_, err = nc.Subscribe("raftbus.rpc.n1.n1.Ping", func(*nats.Msg) { asked.Add(1) })
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	n1 := newPeer(t, url, "n1")
	eventually(t, "up", func() bool { up, _ := n1.control.Up(); return up })
	require.NoError(t, n1.listen(control, inboxSubject("raftbus", "n1", n1.nonces[control]), n1.receiveReturn))
	require.NoError(t, n1.askBefore(t.Context()))
	require.NoError(t, nc.Flush())
	require.EqualValues(t, 3, asked.Load())
	require.NoError(t, n1.listen(control, requestSubject("raftbus", "n1", "*", rpc.MethodPing), n1.receive))
	require.NoError(t, n1.askWhileListening(t.Context()))
}

func TestClosingEndsTheLookForOthers(t *testing.T) {
	n1 := newPeer(t, "nats://127.0.0.1:1", "n1")
	ended := make(chan error, 1)
	go func() { ended <- n1.CheckAlone(context.Background()) }()
	require.Never(t, func() bool { return len(ended) > 0 }, 60*time.Millisecond, 10*time.Millisecond)
	n1.Close()
	require.True(t, errors.Is(await(t, ended), ErrClosed))
}

// unsettled is a process of n1 that listens, and has not settled.
func unsettled(t *testing.T, url string, change ...func(*peerOptions)) *peer {
	n1 := newPeer(t, url, "n1", change...)
	eventually(t, "up", func() bool { up, _ := n1.control.Up(); return up })
	require.NoError(t, n1.listen(control, inboxSubject("raftbus", "n1", n1.nonces[control]), n1.receiveReturn))
	require.NoError(t, n1.listen(control, requestSubject("raftbus", "n1", "*", rpc.MethodPing), n1.receive))
	require.NoError(t, n1.control.Flush(soon))
	return n1
}

// One that is not settled yet answers the other's first question: that must not turn both away.
func TestAnAnswerFromWhoIsNotSettledTurnsNobodyAway(t *testing.T) {
	url := startNATS(t).URL()
	high := unsettled(t, url, as(epoch(4, 30), 1))
	require.NoError(t, newPeer(t, url, "n1", as(epoch(4, 20), 1)).CheckAlone(t.Context()))
	require.ErrorIs(t, high.alone.settle(), ErrDuplicateNode)
}

// F4, F15: what this folder's process before has asked may come late, with whatever nonce, and that process is no more. Who has settled refuses it all the
// same: where the folder was copied, it may be the one that it was copied from.
func TestALateQuestionOfTheProcessBeforeTurnsNobodyAway(t *testing.T) {
	url := startNATS(t).URL()
	n1 := unsettled(t, url, as(epoch(4, 30), 1), func(o *peerOptions) { o.service.Earlier = []rpc.BootEpoch{epoch(3, 1)} })
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	to := returnsTo("raftbus", "n1", "n1") + "x.1"
	answers, err := nc.SubscribeSync(to)
	require.NoError(t, err)
	ask := func(boot rpc.BootEpoch) {
		h := n1.header("n1", 0, 1)
		h.Boot = boot
		frame := rpc.Append(nil, &h, &rpc.PingCommand{SenderID: "n1"}, nil)
		require.NoError(t, nc.PublishRequest(requestSubject("raftbus", "n1", "n1", rpc.MethodPing), to, frame))
	}
	answered := func() *rpc.PingReturn {
		m, err := answers.NextMsg(soon)
		require.NoError(t, err)
		_, body, err := rpc.Decode(m.Data, nil)
		require.NoError(t, err)
		return body.(*rpc.PingReturn)
	}
	ask(epoch(3, 1))
	ask(epoch(4, 30)) // itself, after which it has heard the other
	require.Empty(t, answered().Refusal)
	require.NoError(t, n1.alone.settle())
	ask(epoch(3, 1))
	require.NotEmpty(t, answered().Refusal)
}
