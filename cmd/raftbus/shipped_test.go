package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// Whatever deploy/ and the images set is a flag of some command: a variable that nobody reads would be a setting that is not in force.
func TestWhatIsShippedSetsOnlyWhatThereIs(t *testing.T) {
	known := map[string]bool{}
	eachCommand(newRoot(os.LookupEnv), func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { known[variableOf(f)] = true })
	})
	for _, path := range []string{"deploy/kubernetes/raftbus.yaml", "deploy/systemd/raftbus@.service", "deploy/systemd/raftbus.env", "docker-compose.yml", "deploy/compose-n4.yml", "Dockerfile"} {
		text, err := os.ReadFile(filepath.Join("..", "..", path))
		require.NoError(t, err)
		names := regexp.MustCompile(`RAFTBUS_[A-Z_]*[A-Z]`).FindAllString(string(text), -1)
		require.NotEmpty(t, names, path)
		for _, name := range names {
			require.True(t, known[name], "%s in %s", name, path)
		}
	}
}

// What users of etcd are told to give in place of etcdctl is there: the commands of docs/operating.md, with the flags that they are shown with.
func TestWhatIsSaidToUsersOfEtcdIsThere(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating.md"))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "\n## From etcd\n")
	table, _, ends := strings.Cut(table, "\n## ")
	require.True(t, found && ends)
	commands := regexp.MustCompile("`raftbus ([^`]+)`").FindAllStringSubmatch(table, -1)
	require.Greater(t, len(commands), 15)
	for _, c := range commands {
		cmd, rest, err := newRoot(os.LookupEnv).Find(strings.Fields(c[1]))
		require.NoError(t, err, c[1])
		require.True(t, cmd.Runnable(), "%s is no command", c[1])
		require.NoError(t, cmd.ParseFlags(rest), c[1])
		require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), c[1])
	}
}
