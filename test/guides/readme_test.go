package guides

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/built"
)

// The transcripts of README are run as a new user would: whatever NATS and raftbus are told by the shell that asks for it, they are not told so.
func TestTranscriptsDoNotDependOnTheShell(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(page, []byte("```console\n$ env | grep -E '^(NATS|RAFTBUS)_' | sed 's,=.*,,'\nRAFTBUS_DEV_DIR\n```\n"), 0o600))
	built.Seen(t, ".ci/readme-check")
	check := exec.Command("bash", ".ci/readme-check", page)
	check.Dir = root
	check.Env = append(os.Environ(), "NATS_URL=nats://127.0.0.1:1", "NATS_CONTEXT=mine", "RAFTBUS_CONTEXT=mine", "RAFTBUS_DEV_DIR=mine")
	said, err := check.CombinedOutput()
	require.NoError(t, err, "%s", said)
}
