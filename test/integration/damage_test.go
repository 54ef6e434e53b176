package integration

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

// needle is a value that stands in one place of a node's log, and in one of its state.
const needle = "8d0e6f3b-needle-c41a97"

// flip flips one bit of the only place in a folder's files that holds the needle, and says where that is.
func flip(t *testing.T, folder string) (file string, at int) {
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if i := bytes.Index(raw, []byte(needle)); i >= 0 {
			require.Empty(t, file, "it is there twice")
			file, at = path, i
		}
		return err
	}))
	require.NotEmpty(t, file, "no file of %s holds it", folder)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{needle[0] ^ 4}, int64(at))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return file, at
}

// follower is a member that does not lead.
func follower(c *cluster.Cluster) string {
	leader := c.Leader()
	if leader == c.Members[0] {
		return c.Members[1]
	}
	return c.Members[0]
}

// A bit of an entry in a stopped node's log is lost. If the state was made durable before that entry, as after a power loss, the leader gives
// it again; if the state holds it, the log begins after it. Either way the node leads later, and has every value (F18, D1-D4).
func TestF18BitOfTheLogIsLost(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, inState := range map[string]bool{"above the state": false, "in the state": true} {
		t.Run(name, func(t *testing.T) {
			c, nc := serving(t, 3)
			c.Must(nc, put+"a", "before")
			bad := follower(c)
			c.Applied(bad)
			c.Stop(bad)
			state, older := filepath.Join(c.Dir(bad), "kv"), t.TempDir()
			require.NoError(t, os.CopyFS(older, os.DirFS(state)))
			c.Start(bad)
			c.Must(nc, put+"b", needle)
			c.Must(nc, put+"c", "after")
			c.Applied(bad)
			c.Stop(bad)
			if !inState {
				require.NoError(t, os.RemoveAll(state))
				require.NoError(t, os.CopyFS(state, os.DirFS(older)))
			}
			file, at := flip(t, filepath.Join(c.Dir(bad), "wal"))
			c.Must(nc, put+"d", "meanwhile")
			c.Start(bad)
			c.Applied(bad)
			disk := c.Nodes[bad].Status().Disk
			require.Zero(t, disk.Damaged)
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, inState, !bytes.HasPrefix(raw[at:], []byte(needle)))
			if inState {
				require.Greater(t, c.Nodes[bad].Status().LogFirst, uint64(4))
			} else {
				require.EqualValues(t, 1, disk.Repaired)
			}
			c.Transfer(bad)
			for key, value := range map[string]string{"a": "before", "b": needle, "c": "after", "d": "meanwhile"} {
				require.Equal(t, value, c.Must(nc, get+key, "").Value)
			}
		})
	}
}

// A bit of a stopped node's state is lost. It is noticed at the start, or when it is read: the node stops, says which file it is and
// what to do, and never serves it; others do. With a new folder in its place the node is back (D1, F18).
func TestF18BitOfTheStateIsLost(t *testing.T) {
	t.Parallel() // it mostly waits
	for name, others := range map[string]int{"read at the start": 0, "read later": 20} {
		t.Run(name, func(t *testing.T) {
			c, nc := serving(t, 3)
			noise := rand.NewChaCha8([32]byte{})
			for i := range others {
				value := make([]byte, 2<<10)
				_, _ = noise.Read(value) // never fails
				key := strconv.Itoa(i)
				c.Must(nc, put+"a"+key, hex.EncodeToString(value))
				c.Must(nc, put+"c"+key, hex.EncodeToString(value))
			}
			c.Must(nc, put+"b", needle)
			bad := follower(c)
			c.Applied(bad)
			c.Stop(bad)
			file, _ := flip(t, filepath.Join(c.Dir(bad), "kv"))
			err := serveDamaged(t, c, nc, bad)
			require.ErrorContains(t, err, strings.TrimSuffix(filepath.Base(file), ".sst"))
			require.ErrorContains(t, err, "raftbus member replace "+bad)
			require.Equal(t, needle, c.Must(nc, get+"b", "").Value)
			c.Wipe(bad)
			c.StartJoining(bad)
			raftbus(t, c, "member", "replace", bad)
			c.Applied(bad)
			c.Transfer(bad)
			require.Equal(t, needle, c.Must(nc, get+"b", "").Value)
		})
	}
}

// serveDamaged has a node with a damaged state serve, as far as it gets, and returns why it stopped.
func serveDamaged(t *testing.T, c *cluster.Cluster, nc *nats.Conn, bad string) error {
	n, err := c.TryStart(bad)
	if err != nil {
		return err
	}
	c.Nodes[bad] = n
	c.Applied(bad)
	c.Transfer(bad)
	r, err := cluster.Ask(nc, time.Second, get+"b", "")
	require.True(t, err != nil || r.Error != nil, "what is damaged was served: %+v", r)
	select {
	case <-n.Done():
	case <-time.After(5 * time.Second): // less than the time between two flushes, which find it too
		require.Fail(t, "a leader that cannot read its state leads on")
	}
	require.Error(t, n.Stop(t.Context()), "a stop says why the node had stopped")
	delete(c.Nodes, bad)
	return n.Err()
}

// An old copy of a node's folder is put back, while all who had seen its later starts were started anew: they refuse it all the same,
// and say why. The folder that was there last is welcome (F23, D3).
func TestF23OldCopyOfAFolderIsRefused(t *testing.T) {
	t.Parallel() // it mostly waits
	c, nc := serving(t, 3)
	bad := follower(c)
	c.Applied(bad)
	c.Stop(bad)
	older, latest := t.TempDir(), t.TempDir()
	require.NoError(t, os.CopyFS(older, os.DirFS(c.Dir(bad))))
	for range 2 {
		c.Start(bad)
		c.Must(nc, put+"b", needle)
		c.Applied(bad)
		c.Stop(bad)
	}
	require.NoError(t, os.CopyFS(latest, os.DirFS(c.Dir(bad))))
	for _, id := range c.Members {
		if id != bad {
			c.Leader()
			c.Stop(id) // the other one cannot lead alone, nor can this one when it is back
			c.Start(id)
		}
	}
	swap := func(with string) {
		c.Wipe(bad)
		require.NoError(t, os.CopyFS(c.Dir(bad), os.DirFS(with)))
		c.Start(bad)
	}
	swap(older)
	require.Eventually(t, func() bool {
		refused := 0
		for _, l := range c.Nodes[bad].Status().Links {
			if strings.Contains(l.Refusal, "an old backup of its data folder was put back") {
				refused++
			}
		}
		return refused == 2
	}, 20*time.Second, 10*time.Millisecond)
	require.Empty(t, c.Nodes[bad].Status().Leader)
	c.Must(nc, put+"c", "goes on")
	c.Stop(bad)
	swap(latest)
	c.Applied(bad)
}
