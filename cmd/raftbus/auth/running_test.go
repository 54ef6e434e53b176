package auth_test

// A cluster that runs with what was made.

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/leaf"
	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/cmd/raftbus/replica"
	"github.com/raftbus/raftbus/raft/logtest"
)

// start runs the cluster on the realm.
func (r *realm) start(out *logtest.Buffer) []*replica.Replica {
	var list []*replica.Replica
	for i, id := range nodes {
		server := r.server
		if r.servers != nil {
			server = r.servers[i]
		}
		folder, err := auth.Open(filepath.Join(r.dir, "nodes", id))
		require.NoError(r.t, err)
		key, _, err := auth.ReadClusterKey(folder.KeyFile)
		require.NoError(r.t, err)
		n, err := replica.Start(r.t.Context(), replica.Options{
			ID: id, Members: nodes, Dir: filepath.Join(r.t.TempDir(), id), ClusterKey: key, DefaultAPI: true, RefuseOpenBus: true, Bounds: r.bounds,
			Logger: slog.New(slog.NewTextHandler(out, nil)),
			NATS: replica.NATSOptions{
				URLs: []string{server.URL()}, Options: append(r.options[:len(r.options):len(r.options)], nats.SetCustomDialer(r.wire(id))), LeafURLs: []string{server.LeafURL()}, Peers: folder.Peers, Clients: folder.Clients, Leaf: folder.Leaf, Accounts: r.accountsOf(folder),
			},
		})
		require.NoError(r.t, err)
		r.t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			require.NoError(r.t, n.Stop(ctx))
		})
		list = append(list, n)
	}
	for _, n := range list {
		_, err := n.WaitReady(r.t.Context())
		require.NoError(r.t, err, "%s", out)
	}
	require.Eventually(r.t, func() bool {
		return !slices.ContainsFunc(list, func(n *replica.Replica) bool { return !settled(n.Status()) }) && slices.ContainsFunc(list, (*replica.Replica).Listens)
	}, patience, 5*time.Millisecond, "%s", out)
	return list
}

// settled reports whether a node knows of each account whether it serves it, and of all nodes that can serve the watchers there. That comes by itself,
// after the first answer.
func settled(s replica.Status) bool {
	known := s.Watches.Hosts == len(nodes)
	for _, a := range s.Accounts {
		if a.Refused == "" {
			known = known && a.Watches.Hosts == len(nodes)
		} else {
			known = known && !strings.Contains(a.Refused, "is not known yet")
		}
	}
	return known
}

func (r *realm) accountsOf(f *auth.Folder) (list []replica.Account) {
	if r.more != nil {
		list = r.more(f)
	}
	for _, t := range f.Tenants {
		list = append(list, replica.Account(t))
	}
	return list
}

// Who has a leaf connection may send lines that no client may. To answer at a subject as long would cost a node its connection (F11), and where the lane is
// shut its life: nobody may cost it that, whatever else it lets him do.
func TestNoRequestCostsANodeItsConnection(t *testing.T) {
	t.Parallel()
	r := begin(t, layouts[0].change)
	var out logtest.Buffer
	node := r.start(&out)[0]
	all := r.credentials()
	request(t, r.connect(all["users/client"], nats.CustomInboxPrefix(busclient.InboxPrefix("client"))), "raftbus.bucket.add.app", "")
	for who, subjects := range map[string][]string{
		"monitor": {"raftbus.node.n1.status", "raftbus.node.n1.stats", "raftbus.node.n1.health", "raftbus.node.n1.metrics", "$SRV.PING.raftbus.n1"},
		"admin":   {"raftbus.admin.members", "raftbus.node.n1.backup"},
		"client":  {"raftbus.kv.keys.app", "raftbus.bucket.info.app"},
	} {
		asks := r.connect(all["users/"+who], nats.CustomInboxPrefix(busclient.InboxPrefix(who)))
		sends, err := leaf.Dial(leaf.Options{URLs: []string{r.server.LeafURL()}, Prefix: "raftbus", Node: who, NATS: []nats.Option{all["users/"+who]}})
		require.NoError(t, err)
		t.Cleanup(sends.Close)
		require.Eventually(t, func() bool { return sends.Publish(subjects[0], "", nil, nil) == nil }, patience, time.Millisecond)
		for _, subject := range subjects {
			for range 20 {
				require.NoError(t, sends.Publish(subject, strings.Repeat("a", 5000), nil, nil))
			}
			inbox := asks.NewInbox()
			answers, err := asks.SubscribeSync(inbox)
			require.NoError(t, err)
			require.NoError(t, asks.Flush())
			require.NoError(t, sends.Publish(subject, inbox, nil, nil))
			_, err = answers.NextMsg(patience)
			require.NoError(t, err, "%s by %s", subject, who)
		}
	}
	for _, c := range node.Stats().NATS {
		require.Zero(t, c.Disconnects, c.Role)
	}
}
