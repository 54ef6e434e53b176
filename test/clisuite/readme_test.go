package clisuite

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")
	outputs = regexp.MustCompile(`(?s)// Output:\n(.*)$`)
)

// The programs of docs/nats-kv.md run, and print what it says; what README shows is lines of them. The transcripts are run by .ci/readme-check.
func TestTheProgramsOfTheDocuments(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "nats-kv.md"))
	require.NoError(t, err)
	programs := goBlock.FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, programs)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	shown := goBlock.FindAllStringSubmatch(string(readme), -1)
	require.Len(t, shown, 1)
	for line := range strings.Lines(shown[0][1]) {
		require.Contains(t, programs[0][1], "\t"+line)
	}
	for i, program := range programs {
		text := program[1]
		want := outputs.FindStringSubmatch(text)
		require.Len(t, want, 2, "a program ends with a comment that says what it prints")
		require.Equal(t, 1, strings.Count(text, "nats.DefaultURL"), "where the program finds NATS")
		file := filepath.Join(t.TempDir(), "main.go")
		text = strings.ReplaceAll(text, "nats.DefaultURL", strconv.Quote(threeServers(t).urls[0]))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		cmd := exec.Command("go", "run", file)
		cmd.Dir = root // for its modules
		got, err := cmd.CombinedOutput()
		require.NoError(t, err, "program %d: %s", i+1, got)
		require.Equal(t, strings.ReplaceAll(want[1], "// ", ""), string(got), "program %d", i+1)
	}
}
