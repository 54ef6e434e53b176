package mutants

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// knownBugs is how many K rows the fault model has.
const knownBugs = 77

var (
	testName     = regexp.MustCompile(`\bTest\w+`)
	testDeclared = regexp.MustCompile(`(?m)^func (Test\w+)`)
)

// CATALOGUE.md has every row, and every test and mutant that it names is there.
func TestCatalogue(t *testing.T) {
	page, err := os.ReadFile("CATALOGUE.md")
	require.NoError(t, err)
	rows := map[string][]string{}
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| K") {
			id := strings.TrimSpace(cells[1])
			require.NotContains(t, rows, id, "a row once")
			rows[id] = cells
		}
	}
	tests := allTests(t, root)
	for k := 1; k <= knownBugs; k++ {
		row := rows[fmt.Sprintf("K%d", k)]
		require.Len(t, row, 6, "K%d is a row of four cells", k)
		kept := strings.TrimSpace(row[3])
		named := testName.FindAllString(kept, -1)
		require.True(t, len(named) > 0 || strings.HasPrefix(kept, "cannot occur"), "K%d: neither a test nor a reason", k)
		for _, name := range named {
			require.True(t, tests[name], "K%d names %s, which is no test", k, name)
		}
		for _, name := range strings.FieldsFunc(row[4], func(r rune) bool { return r == ' ' || r == ',' }) {
			require.FileExists(t, "mutants/"+name+".txt", "K%d", k)
		}
	}
}

// allTests finds the names of all tests in a folder, whether it is a clone or only a copy of the source.
func allTests(t *testing.T, folder string) map[string]bool {
	found := map[string]bool{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, declared := range testDeclared.FindAllSubmatch(source, -1) {
			found[string(declared[1])] = true
		}
		return err
	}))
	return found
}
