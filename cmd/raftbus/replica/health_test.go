package replica

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// letIn is a configuration of NATS that lets nodes in as peers, and these to their clients.
func letIn(nodes []string) []byte {
	users := "{user: client, password: x}"
	for _, id := range nodes {
		users += fmt.Sprintf(", {user: %s, password: x}", id)
	}
	return fmt.Appendf(nil, "accounts { P: { users: [ {user: peer, password: x} ] }, C: { users: [ %s ] } }", users)
}

// startLetIn starts nodes with a NATS server of that configuration, which reload changes, and returns who leads and a client. There is a bucket app.
func startLetIn(t *testing.T, members []string, conf []byte) (nodes map[string]*Replica, leader string, nc *nats.Conn, reload func([]byte)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, conf, 0o600))
	server := natstest.Run(t, embedded.Options{ConfigFile: file})
	nodes = map[string]*Replica{}
	for _, id := range members {
		var err error
		nodes[id], err = Start(t.Context(), Options{
			ID: id, Members: members, Dir: filepath.Join(t.TempDir(), id), Logger: slog.New(slog.DiscardHandler),
			NATS: NATSOptions{URLs: []string{server.URL()}, Peers: []nats.Option{nats.UserInfo("peer", "x")}, Clients: []nats.Option{nats.UserInfo(id, "x")}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { stop(t, nodes[id]) })
	}
	leader, err := nodes[members[0]].WaitReady(t.Context())
	require.NoError(t, err)
	nc = natstest.Connect(t, server, nats.UserInfo("client", "x"))
	_, err = nc.Request("raftbus.bucket.add.app", nil, patience)
	require.NoError(t, err)
	return nodes, leader, nc, func(conf []byte) {
		require.NoError(t, os.WriteFile(file, conf, 0o600))
		require.NoError(t, server.Reload())
	}
}

// Clients are served again soon after the leader's credentials for them are revoked, while those for peers are good; the node that they
// do not reach says so (F12).
func TestALeaderThatNoClientReaches(t *testing.T) {
	t.Parallel() // it mostly waits
	members := []string{"n1", "n2", "n3"}
	nodes, leader, nc, reload := startLetIn(t, members, letIn(members))
	require.Empty(t, nodes[leader].Status().Deaf)
	require.Eventually(t, func() bool { return nodes[leader].Status().Watches.LeafError != "" }, patience, time.Millisecond, "why it has no leaf connection: NATS has no port for it")

	rest := slices.DeleteFunc(slices.Clone(members), func(id string) bool { return id == leader })
	reload(letIn(rest))
	require.Eventually(t, func() bool {
		_, err := nc.Request("raftbus.bucket.info.app", nil, time.Second)
		return err == nil
	}, patience, 50*time.Millisecond)

	var s Status
	require.Eventually(t, func() bool { // a client may hear of the next leader before this node does
		s = nodes[leader].Status()
		return slices.Contains(rest, s.Leader) && s.Deaf != ""
	}, patience, 10*time.Millisecond)
	require.False(t, s.Disk.Full)
	h := s.Health()
	require.False(t, h.Ready)
	require.True(t, h.Live, "to start it again cures nothing")
	said := strings.Join(h.Reasons, "; ")
	require.Contains(t, said, "no client reaches "+leader)
	require.Contains(t, strings.ToLower(said), "authorization violation")
	require.Eventually(t, func() bool { return nodes[rest[0]].Health().Ready }, patience, 10*time.Millisecond)

	reload(letIn(members))
	require.Eventually(t, func() bool { return nodes[leader].Health().Ready }, patience, 10*time.Millisecond)
}

// barring is letIn, without a subject for some of the nodes.
func barring(subject string, members []string, barred ...string) []byte {
	conf := string(letIn(members))
	for _, id := range barred {
		user := fmt.Sprintf("{user: %s, password: x", id)
		conf = strings.Replace(conf, user, fmt.Sprintf("%s, permissions: {subscribe: {deny: %q}}", user, subject), 1)
	}
	return []byte(conf)
}

// Clients are served again soon after a reload has taken a subject that they ask at from the leader; the connection stays. Where it is taken from
// all the leader stays, for those who ask elsewhere: leadership does not go round (F12).
func TestALeaderThatIsRefusedWhatClientsAskAt(t *testing.T) {
	t.Parallel() // it mostly waits
	members := []string{"n1", "n2", "n3"}
	for _, subject := range []string{"raftbus.kv.>", "$JS.raftbus.API.>"} {
		t.Run(subject, func(t *testing.T) {
			t.Parallel()
			nodes, leader, nc, reload := startLetIn(t, members, letIn(members))
			require.Empty(t, nodes[leader].Status().Denied)
			reload(barring(subject, members, leader))
			ask := strings.Replace(strings.Replace(subject, "kv.>", "kv.put.app.k", 1), "API.>", "API.STREAM.INFO.KV_app", 1)
			require.Eventually(t, func() bool {
				_, err := nc.Request(ask, nil, time.Second)
				return err == nil
			}, patience, 50*time.Millisecond)
			var s Status
			require.Eventually(t, func() bool { // a client may hear of the next leader before this node does
				s = nodes[leader].Status()
				return s.Leader != "" && s.Leader != leader && s.Denied != ""
			}, patience, 10*time.Millisecond)
			require.Contains(t, strings.Join(s.Health().Warnings, "; "), "NATS refuses this node a subject that clients ask at ("+strings.TrimSuffix(subject, ">"))
			require.Empty(t, s.Deaf)

			reload(barring(subject, members, members...))
			for _, id := range members {
				require.Eventually(t, func() bool { return nodes[id].Status().Denied != "" }, patience, 10*time.Millisecond)
			}
			// A leader may hand over once more, before it hears that the other is refused too; and while a machine stands still nodes elect another. But
			// leadership that goes round changes every second or so.
			term, since := uint64(0), time.Now()
			require.Eventually(t, func() bool {
				if now := nodes[leader].Status().Term; now != term {
					term, since = now, time.Now()
				}
				return time.Since(since) > 4*time.Second
			}, time.Minute, 50*time.Millisecond, "leadership goes round")
		})
	}
}

// Whoever is told that writes are refused is told what to do about it: to free space does not help where too many files are open (F21).
func TestWhatIsSaidOfANodeThatTakesNoWrites(t *testing.T) {
	s := Status{Disk: DiskStatus{Full: true}}
	require.Contains(t, s.Health().Warnings[0], "free some space")
	s.Disk.Files = true
	require.Contains(t, s.Health().Warnings[0], "too many files are open")
}

// Of a further account it is said what of it is not served, and nothing of one that is.
func TestWhatIsSaidOfAnAccount(t *testing.T) {
	served := AccountStatus{Name: "a", Connected: true}
	served.Watches.Leaf = true
	require.Empty(t, served.warnings())
	for text, change := range map[string]func(*AccountStatus){
		"account a is not served: no":                                    func(a *AccountStatus) { a.Refused = "no" },
		"account a: the connection to its clients is away":               func(a *AccountStatus) { a.Connected = false },
		"account a: no leaf connection: this node serves it no watches;": func(a *AccountStatus) { a.Watches.Leaf = false },
	} {
		a := served
		change(&a)
		require.Len(t, a.warnings(), 1)
		require.Contains(t, a.warnings()[0], text)
	}
}
