package guides

import (
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// The map leads somewhere: the files that it names are there, and what it says is in one of them is declared there.
func TestTheMapNamesWhatIsThere(t *testing.T) {
	page := read(t, "ARCHITECTURE.md")
	for _, file := range regexp.MustCompile(`\w+(?:/\w+)+\.go\b`).FindAllString(page, -1) {
		require.FileExists(t, filepath.Join(root, file))
	}
	places := regexp.MustCompile("`(?P<name>\\w+)` in `(?P<file>[\\w/]+\\.go)`|(?P<file>\\w+(?:/\\w+)+\\.go)`? \\(`(?P<name>\\w+)`\\)").FindAllStringSubmatch(page, -1)
	require.Greater(t, len(places), 8)
	for _, place := range places {
		name, file := place[1]+place[4], place[2]+place[3]
		declares := regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |var |const |\t)` + name + `\b`)
		require.True(t, declares.MatchString(read(t, file)), "%s does not declare %s", file, name)
	}
}
