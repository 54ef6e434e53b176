package process

// Old copies of data folders, put back in the place of the folder that had gone on (F23).

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/linear"
)

// An old backup of n3's folder is put back, refused, and the node merely started once more, as a service manager does: its count of
// starts has then passed the one that its peer knows. It is refused all the same, since it does not know what it had acknowledged (D3, C2).
func TestOldBackupStartedAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	c := started(t, layout{nodes: 3})
	copied := t.TempDir()
	c.kill("n3")
	require.NoError(t, os.CopyFS(copied, os.DirFS(c.dirs["n3"])))
	c.start("n3")
	c.linked("n3")
	c.caughtUp("n3")
	if c.leader() != "n1" {
		c.command("leader", "transfer", "--to", "n1")
	}
	c.kill("n2")
	c.leader("n2", "n3")
	nc := c.connect()
	r, err := requestSurely(nc, 10*time.Second, "raftbus.kv.put.app.acked", "by n1 and n3")
	require.NoError(t, err)
	require.Nil(t, r.Error)

	c.kill("n1")
	c.wipe("n3")
	require.NoError(t, os.CopyFS(c.dirs["n3"], os.DirFS(copied)))
	c.start("n3")
	c.start("n2")
	c.nodes["n2"].logged(t, 10*time.Second, "message dropped", "the folder was copied")
	c.kill("n3")
	c.start("n3")
	c.nodes["n2"].logged(t, 10*time.Second, "message dropped", "old backup")
	require.Never(t, func() bool {
		r, err := request(nc, time.Second, "raftbus.kv.get.app.acked", "", nil)
		return err == nil && r.Error != nil && r.Error.ErrCode == linear.CodeKeyNotFound
	}, 5*time.Second, 50*time.Millisecond, "an acknowledged write is lost")
}
