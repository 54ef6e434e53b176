package integration

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/test/cluster"
)

// firstFlags has the first members of a cluster that has grown start as they did the first time.
func firstFlags(first ...string) func(*replica.Options) {
	return func(o *replica.Options) { o.Members = first }
}

// refused waits until a node that was started stops by itself, and returns why.
func refused(t *testing.T, r *replica.Replica) error {
	select {
	case <-r.Done():
	case <-time.After(10 * time.Second):
		t.Fatalf("it was not refused: %+v", r.Status())
	}
	err := r.Err()
	require.Error(t, r.Stop(t.Context()), "a stop says why the node had stopped")
	return err
}

// The first members of a cluster that has grown, wiped and started as they were the first time, would be a cluster by themselves: they
// are refused, with the remedy, and found nothing, so that the same folder can join (D3, F23; the simulator's S6).
func TestWipedFirstMembersFoundNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, first := range [][]string{{"n1"}, {"n1", "n2"}} {
		c := cluster.Started(t, len(first), firstFlags(first...))
		for _, id := range []string{"n2", "n3", "n4", "n5"}[len(first)-1 : 2*len(first)] {
			c.Join(id)
			raftbus(t, c, "member", "add", id)
		}
		nc := c.Connect()
		c.Must(nc, add, "")
		c.Must(nc, put+"k", "v")
		for _, id := range first {
			c.Stop(id)
			c.Wipe(id)
		}
		for _, id := range first {
			r, err := c.TryStart(id)
			require.NoError(t, err)
			err = refused(t, r)
			require.ErrorIs(t, err, replica.ErrLostFolder)
			require.ErrorContains(t, err, "--join and run raftbus member replace "+id)
		}
		for _, id := range first {
			c.StartJoining(id)
			raftbus(t, c, "member", "replace", id)
		}
		require.Equal(t, "v", c.Must(nc, get+"k", "").Value)
	}
}

// Two clusters of one prefix that began where the bus did not reach from one to the other, and meet: neither serves anybody while both
// lead, both say so, and the one that is left goes on (F14; the simulator's S6).
func TestTwoClustersThatMeet(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 3)
	c.Must(nc, put+"k", "v")
	elsewhere := natstest.Run(t, embedded.Options{Host: "127.0.0.1", Port: -1})
	other, err := replica.Start(t.Context(), replica.Options{
		ID: "m1", Members: []string{"m1"}, Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		NATS: replica.NATSOptions{URLs: []string{elsewhere.URL(), c.NATS.URL()}, Options: []nats.Option{nats.DontRandomize()}},
	})
	require.NoError(t, err)
	_, err = other.WaitReady(t.Context())
	require.NoError(t, err)
	require.Empty(t, other.Status().Rival)

	elsewhere.Shutdown()
	leader := c.Nodes[c.Leader()]
	for _, r := range []*replica.Replica{leader, other} {
		require.Eventually(t, func() bool { return r.Status().Rival != "" }, 20*time.Second, 10*time.Millisecond)
		require.Contains(t, r.Status().Rival, "--prefix")
	}
	require.Eventually(t, func() bool { return cluster.NoResponders(nc, get+"k") }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, other.Stop(t.Context()))
	require.Equal(t, "v", c.Must(nc, get+"k", "").Value)
	require.Eventually(t, func() bool { return leader.Status().Rival == "" }, 10*time.Second, 10*time.Millisecond)
}
