package auth_test

// What the folder must not forget when files of it are gone.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/auth"
)

// leaver is a node that is to go, with the credentials that its machine has.
type leaver struct {
	t   *testing.T
	dir string // of auth init
	own string // a copy of the node's part
}

func newLeaver(t *testing.T, change func(*auth.Options)) *leaver {
	o := options(t, change)
	require.NoError(t, auth.Init(&o))
	l := &leaver{t, o.Dir, t.TempDir()}
	require.NoError(t, os.CopyFS(l.own, os.DirFS(o.Dir)))
	return l
}

// comesBack puts what the node has into the folder.
func (l *leaver) comesBack() {
	require.NoError(l.t, os.CopyFS(filepath.Join(l.dir, "nodes", "n3"), os.DirFS(filepath.Join(l.own, "nodes", "n3"))))
}

func (l *leaver) requireRefused() {
	l.t.Helper()
	server, all := serve(l.t, l.dir), (&realm{t: l.t, dir: l.own}).credentials()
	for name, credential := range all {
		conn, err := nats.Connect(server.URL(), credential)
		if err == nil {
			conn.Close()
		}
		if strings.HasPrefix(name, "nodes/n3/") {
			require.ErrorIs(l.t, err, nats.ErrAuthorization, name)
		} else {
			require.NoError(l.t, err, name)
		}
	}
}

// settings changes what settings.json has.
func (l *leaver) settings(change func(map[string]any)) {
	all := map[string]any{}
	require.NoError(l.t, json.Unmarshal([]byte(content(l.t, l.dir, "settings.json")), &all))
	change(all)
	text, err := json.Marshal(all)
	require.NoError(l.t, err)
	require.NoError(l.t, os.WriteFile(filepath.Join(l.dir, "settings.json"), text, 0o600))
}

func removeN3(o *auth.Options) { o.Remove = []string{"n3"} }

// A node's keys end with it, whether or not the folder still has them.
func TestKeysEndWithoutTheirFiles(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			l := newLeaver(t, layout.change)
			require.NoError(t, os.RemoveAll(filepath.Join(l.dir, "nodes", "n3")))
			again(t, l.dir, removeN3)
			l.requireRefused()
		})
	}
}

// A folder of an earlier release does not know the keys: then nothing is done until somebody puts the files back.
func TestAKeyThatIsNotKnownIsNotRevoked(t *testing.T) {
	t.Parallel()
	l := newLeaver(t, layouts[2].change)
	l.settings(func(all map[string]any) { delete(all, "keys") })
	require.NoError(t, os.RemoveAll(filepath.Join(l.dir, "nodes", "n3")))
	before := files(t, l.dir)
	_, err := tryAgain(l.dir, removeN3)
	require.ErrorContains(t, err, "nodes/n3/peers.creds")
	require.ErrorContains(t, err, "they cannot be revoked")
	require.Equal(t, before, files(t, l.dir))
	l.comesBack()
	again(t, l.dir, removeN3)
	l.requireRefused()
}

// Nothing is to be revoked of whom the folder was never made for, nor of an account that goes as a whole.
func TestNobodyIsMissedWhoWasNeverThere(t *testing.T) {
	t.Parallel()
	l := newLeaver(t, layouts[2].change)
	l.settings(func(all map[string]any) { delete(all, "keys") })
	again(t, l.dir, func(o *auth.Options) { o.Nodes, o.Remove = []string{"n4"}, []string{"team-a"} })
}

// A configuration that somebody changed is to be deleted: what was revoked stays so.
func TestRevocationsOutliveTheConfiguration(t *testing.T) {
	t.Parallel()
	l := newLeaver(t, layouts[2].change)
	again(t, l.dir, removeN3)
	for range 2 {
		require.NoError(t, os.Remove(filepath.Join(l.dir, "nats", "nats.conf")))
		again(t, l.dir, func(*auth.Options) {})
		l.requireRefused()
	}
}

// A removal that a crash broke off, before files were deleted, is brought to its end by the next call, and the name is free for another.
func TestARemovalThatWasBrokenOff(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			for _, next := range []func(*auth.Options){func(*auth.Options) {}, func(o *auth.Options) { o.Nodes = []string{"n3"} }} {
				l := newLeaver(t, layout.change)
				again(t, l.dir, removeN3)
				l.comesBack()
				l.settings(func(all map[string]any) {
					var left []string
					for name := range files(t, filepath.Join(l.dir, "nodes", "n3")) {
						left = append(left, "nodes/n3/"+name)
					}
					all["leaving"] = left
				})
				o := again(t, l.dir, next)
				require.Len(t, o.Made, len(o.Nodes)-2, "its keys are new, if it is named")
				require.NotContains(t, content(t, l.dir, "settings.json"), "leaving")
				l.requireRefused()
			}
		})
	}
}

// Nor does what was to be deleted then end who was named since, by a call that was broken off in its turn: the node may have been given what was made.
func TestARemovalThatWasBrokenOffEndsNobodyNew(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			l := newLeaver(t, layout.change)
			again(t, l.dir, removeN3)
			l.settings(func(all map[string]any) {
				all["leaving"] = []string{"nodes/n3/peers.nk", "nodes/n3/peers.creds", "nodes/n3/cluster.key"}
			})
			last := filepath.Join(l.dir, "nats", "server.conf")
			require.NoError(t, os.Remove(last))
			require.NoError(t, os.MkdirAll(filepath.Join(last+".new", "of-somebody"), 0o700))
			_, err := tryAgain(l.dir, func(o *auth.Options) { o.Nodes = []string{"n3"} })
			require.ErrorContains(t, err, "server.conf.new")
			require.NotEmpty(t, files(t, filepath.Join(l.dir, "nodes", "n3")))
			require.NoError(t, os.RemoveAll(last+".new"))
			o := again(t, l.dir, func(*auth.Options) {})
			require.Contains(t, o.Nodes, "n3")
			require.Empty(t, o.Made)
		})
	}
}

// Until its files are gone a removal is not at its end.
func TestARemovalThatFails(t *testing.T) {
	t.Parallel()
	l := newLeaver(t, layouts[0].change)
	stays := filepath.Join(l.dir, "nodes", "n3", "cluster.key")
	require.NoError(t, os.Remove(stays))
	require.NoError(t, os.MkdirAll(filepath.Join(stays, "of-somebody"), 0o700))
	_, err := tryAgain(l.dir, removeN3)
	require.ErrorContains(t, err, "cluster.key")
	require.Contains(t, content(t, l.dir, "settings.json"), "nodes/n3/peers.nk")
	require.NoError(t, os.RemoveAll(stays))
	again(t, l.dir, func(*auth.Options) {})
	require.NotContains(t, content(t, l.dir, "settings.json"), "n3")
	require.NoDirExists(t, filepath.Join(l.dir, "nodes", "n3"))
}

// What nodes have had is not made anew, if it is gone as a part.
func TestNodesAreNotLockedOutByAPart(t *testing.T) {
	t.Parallel()
	for _, layout := range layouts {
		t.Run(layout.name, func(t *testing.T) {
			t.Parallel()
			l := newLeaver(t, layout.change)
			for name := range files(t, filepath.Join(l.dir, "nodes", "n3")) {
				if name == "cluster.key" {
					continue // the others have it
				}
				require.NoError(t, os.Remove(filepath.Join(l.dir, "nodes", "n3", name)))
				_, err := tryAgain(l.dir, func(o *auth.Options) { o.JWT = layout.name == "jwt" })
				require.ErrorContains(t, err, filepath.Join("n3", name)+" is gone, and node n3 would be locked out by new keys")
				l.comesBackWith(name)
			}
			again(t, l.dir, func(*auth.Options) {})
		})
	}
}

func (l *leaver) comesBackWith(name string) {
	text := content(l.t, l.own, "nodes/n3/"+name)
	require.NoError(l.t, os.WriteFile(filepath.Join(l.dir, "nodes", "n3", name), []byte(text), 0o600))
}

// Nor is the cluster's key.
func TestTheClusterKeyIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	l := newLeaver(t, layouts[0].change)
	for _, id := range nodes {
		require.NoError(t, os.Remove(filepath.Join(l.dir, "nodes", id, "cluster.key")))
	}
	_, err := tryAgain(l.dir, func(o *auth.Options) { o.Nodes = []string{"n4"} })
	require.ErrorContains(t, err, "no node has a cluster.key any more")
	require.ErrorAs(t, err, &auth.OptionsError{})
	l.comesBackWith("cluster.key")
	again(t, l.dir, func(o *auth.Options) { o.Nodes = []string{"n4"} })
	require.Equal(t, content(t, l.own, "nodes/n1/cluster.key"), content(t, l.dir, "nodes/n4/cluster.key"))
}
