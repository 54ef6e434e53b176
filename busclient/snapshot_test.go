package busclient

// Chunks of a snapshot, and the order to campaign, on the bus (F9, F11, L7).

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/raft/rpc"
)

func chunk(offset uint64, data []byte) *rpc.InstallSnapshotCommand {
	return &rpc.InstallSnapshotCommand{Snapshot: rpc.EntryID{Term: 2, Index: 90}, Transfer: 7, Offset: offset, Data: data, Sum: 12}
}

func (p *peer) installSnapshot(to rpc.NodeID, cmd *rpc.InstallSnapshotCommand) (<-chan rpc.Reply[*rpc.InstallSnapshotReturn], error) {
	replies := make(chan rpc.Reply[*rpc.InstallSnapshotReturn], 2)
	return replies, p.to(to).InstallSnapshot(3, cmd, func(r rpc.Reply[*rpc.InstallSnapshotReturn]) { replies <- r })
}

func TestSnapshotsAndTransfersAreCarriedThereAndBack(t *testing.T) {
	n1, n2 := pair(t, startNATS(t).URL())
	n2.echo()
	digest := sha256.Sum256([]byte("all"))
	first, last := chunk(0, []byte("blue")), chunk(4, nil)
	last.Final, last.Digest, last.Configuration = true, digest[:], confAt(60, tableOf(members...)...)
	for i, cmd := range []*rpc.InstallSnapshotCommand{first, last} {
		replies, err := n1.installSnapshot("n2", cmd)
		require.NoError(t, err)
		want := &rpc.InstallSnapshotReturn{Snapshot: cmd.Snapshot, Transfer: 7, Next: 4, Installed: cmd.Final}
		require.Equal(t, rpc.Reply[*rpc.InstallSnapshotReturn]{From: "n2", Instance: instanceOf("n2"), Term: 3, Return: want}, await(t, replies))
		require.Equal(t, cmd, n2.messages()[i].Body)
		require.Equal(t, instanceOf("n1"), n2.messages()[i].Instance)
	}
	transferred := make(chan rpc.Reply[*rpc.TimeoutNowReturn], 1)
	require.NoError(t, n1.to("n2").TimeoutNow(4, &rpc.TimeoutNowCommand{}, func(r rpc.Reply[*rpc.TimeoutNowReturn]) { transferred <- r }))
	require.Equal(t, rpc.Reply[*rpc.TimeoutNowReturn]{From: "n2", Instance: instanceOf("n2"), Term: 4, Return: &rpc.TimeoutNowReturn{}}, await(t, transferred))
	require.Equal(t, &rpc.TimeoutNowCommand{}, n2.messages()[2].Body)
}

func TestABrokenLinkTakesNoSnapshotAndNoTransfer(t *testing.T) {
	n1 := newPeer(t, startNATS(t).URL(), "n1")
	n1.admit()
	_, err := n1.installSnapshot("n2", chunk(0, []byte("x")))
	require.ErrorIs(t, err, ErrConnectionBroken)
	require.ErrorIs(t, n1.to("n2").TimeoutNow(1, &rpc.TimeoutNowCommand{}, nil), ErrConnectionBroken)
}

// Each travels on its connection, at both ends: a node that has only one of the two hears the other's methods not at all.
func TestSnapshotsAreBulkAndTransfersAreControl(t *testing.T) {
	require.Equal(t, bulk, pathOf(rpc.MethodInstallSnapshot))
	require.Equal(t, control, pathOf(rpc.MethodTimeoutNow))
	require.Contains(t, served[bulk], rpc.MethodInstallSnapshot)
	require.Contains(t, served[control], rpc.MethodTimeoutNow)
}

// L7: a receiver that takes no chunk, as behind a disk that hangs, gets no more than the bound, and hears every heartbeat.
func TestChunksInFlightKeepNothingElseBack(t *testing.T) {
	t.Parallel()
	n1, n2 := pair(t, startNATS(t).URL())
	stopClocks(n1, n2)
	held := make(chan struct{})
	n2.answer(func(m rpc.Message) {
		if _, isChunk := m.Body.(*rpc.InstallSnapshotCommand); isChunk {
			<-held // on the goroutine of that subscription
		}
		_ = n2.Answer(returnFor(m))
	})
	var open []<-chan rpc.Reply[*rpc.InstallSnapshotReturn]
	data := make([]byte, 256<<10)
	for {
		replies, err := n1.installSnapshot("n2", chunk(uint64(len(open)*len(data)), data))
		if err != nil {
			require.ErrorIs(t, err, ErrTooManyInFlight)
			break
		}
		open = append(open, replies)
		require.LessOrEqual(t, len(open)*len(data), inFlightBytesMax)
	}
	require.Greater(t, (len(open)+2)*len(data), inFlightBytesMax)
	err := n1.to("n2").AppendLog(1, &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Data: data}}}, nil)
	require.ErrorIs(t, err, ErrTooManyInFlight, "one bound for all that is bulk")

	for read := range uint64(20) {
		require.Equal(t, read, await(t, heartbeat(t, n1.to("n2"), read)).Return.Read)
	}
	pings := len(n1.pings())
	require.NoError(t, n1.to("n2").Ping())
	n1.awaitPing("n2", "a control ping passes", func(p Pinged) bool { return p.Err == nil && len(n1.pings()) > pings })
	require.True(t, n1.to("n2").Connected())
	for _, replies := range open {
		require.Empty(t, replies)
	}
	close(held)
	for i, replies := range open {
		r := await(t, replies)
		require.NoError(t, r.Err)
		require.Equal(t, uint64((i+1)*len(data)), r.Return.Next)
	}
	replies, err := n1.installSnapshot("n2", chunk(0, data))
	require.NoError(t, err, "what has ended is no more in flight")
	require.NoError(t, await(t, replies).Err)
}

// The sender may use its buffer again as soon as the call has returned; the receiver may keep what it was given for good.
func TestAChunksBytesAreTheReceiversOwn(t *testing.T) {
	n1, n2 := pair(t, startNATS(t).URL())
	n2.echo()
	buffer := make([]byte, 32<<10)
	var open []<-chan rpc.Reply[*rpc.InstallSnapshotReturn]
	for i := range 16 {
		fill(buffer, byte(i))
		replies, err := n1.installSnapshot("n2", chunk(uint64(i), buffer))
		require.NoError(t, err)
		open = append(open, replies)
	}
	fill(buffer, 0xff)
	for _, replies := range open {
		require.NoError(t, await(t, replies).Err)
	}
	for _, m := range n2.messages() {
		cmd := m.Body.(*rpc.InstallSnapshotCommand)
		require.Equal(t, bytes.Repeat([]byte{byte(cmd.Offset)}, len(buffer)), cmd.Data)
		require.Equal(t, len(cmd.Data), cap(cmd.Data), "whoever appends to it writes over nothing")
	}
}

func fill(b []byte, with byte) {
	for i := range b {
		b[i] = with
	}
}

// F11: chunks and entries that no longer fit travel in parts, at the same time and not mixed, and return.
func TestChunksTravelInPartsBesideEntries(t *testing.T) {
	sim := simulate(t, t, 1)
	sim.bus.maximum = 4 << 10
	sim.setAll(true)
	sim.run(time.Second, func() {})
	n1, n2 := sim.nodes[0], sim.nodes[1]
	var installed, appended []error
	for i := range 3 {
		data := bytes.Repeat([]byte{byte(i)}, 100_000)
		require.NoError(t, n1.Using("n2", func(c IRaftClient) {
			require.NoError(t, c.InstallSnapshot(1, chunk(uint64(i), data), func(r rpc.Reply[*rpc.InstallSnapshotReturn]) { installed = append(installed, r.Err) }))
			cmd := &rpc.AppendLogCommand{Entries: []rpc.Entry{{Index: 1, Term: 1, Kind: rpc.EntryCommand, Data: data}}}
			require.NoError(t, c.AppendLog(1, cmd, func(r rpc.Reply[*rpc.AppendLogReturn]) { appended = append(appended, r.Err) }))
		}))
	}
	sim.bus.shuffleSubjects()
	sim.run(2*time.Millisecond, func() {})
	require.Equal(t, make([]error, 3), installed)
	require.Equal(t, make([]error, 3), appended)
	for _, m := range n2.messages() {
		switch cmd := m.Body.(type) {
		case *rpc.InstallSnapshotCommand:
			require.Equal(t, bytes.Repeat([]byte{byte(cmd.Offset)}, 100_000), cmd.Data)
		case *rpc.AppendLogCommand:
			require.Len(t, cmd.Entries[0].Data, 100_000)
		}
	}
	require.Zero(t, n2.Drops()["broken parts"])
}

// shuffleSubjects mixes what is on its way, but for the order within one subject.
func (b *simBus) shuffleSubjects() {
	queues, order := map[string][]flight{}, []string{}
	for _, f := range b.flying {
		queues[f.d.Subject] = append(queues[f.d.Subject], f)
		order = append(order, f.d.Subject)
	}
	b.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i, subject := range order {
		b.flying[i], queues[subject] = queues[subject][0], queues[subject][1:]
	}
}

// What needs no parts takes none: a large message to a small method is dropped.
func TestOnlyBulkMethodsComeInParts(t *testing.T) {
	c := simulate(t, t, 1).nodes[0].clients["n2"]
	for p := range paths {
		for _, m := range served[p] {
			require.Equal(t, m == rpc.MethodAppendLog || m == rpc.MethodInstallSnapshot, c.parts(m) != nil, m)
		}
	}
	require.NotSame(t, c.parts(rpc.MethodAppendLog), c.parts(rpc.MethodInstallSnapshot), "their subscriptions are served at the same time")
}
