package main

import (
	"os"
	"path/filepath"
	"regexp"
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
