package store

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// DESIGN.md names all fields of all records, by the numbers that they have in what is stored.
func TestTheDesignNamesAllFields(t *testing.T) {
	coded, source := map[string][]string{}, sources(t)
	for _, tag := range regexp.MustCompile(`\btag(Entry|Live|Due)[A-Z]\w* += (\d+)<<3`).FindAllStringSubmatch(source, -1) {
		coded[tag[1]] = append(coded[tag[1]], tag[2])
	}
	for _, list := range regexp.MustCompile(`(?s)\nfunc \(\w \*(\w+)\) fields\(w \*wire\.Walk\) {\n(.*?)\n}`).FindAllStringSubmatch(source, -1) {
		for _, field := range regexp.MustCompile(`\(w, (\d+)[,)]`).FindAllStringSubmatch(list[2], -1) {
			coded[list[1]] = append(coded[list[1]], field[1])
		}
	}
	page, err := os.ReadFile("DESIGN.md")
	require.NoError(t, err)
	number := regexp.MustCompile(`(?:^|, |\{)(\d+) `)
	named := map[string][]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| 0x0\d ([a-z ]+) \| .+ \| (.+) \|$`).FindAllStringSubmatch(string(page), -1) {
		for _, field := range number.FindAllStringSubmatch(row[2], -1) {
			named[row[1]] = append(named[row[1]], field[1])
		}
	}
	require.Equal(t, map[string][]string{
		"state": coded["state"], "bucket": coded["bucketRecord"], "stats": coded["statsRecord"], "entry": coded["Entry"], "key": coded["Live"],
		"due": coded["Due"], "id": coded["idRecord"], "id order": coded["idOrder"], "consumer": coded["Consumer"],
	}, named)
}

// sources is the text of the package, without its tests.
func sources(t *testing.T) string {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if !strings.HasSuffix(file, "_test.go") {
			all.Write(text)
		}
	}
	return all.String()
}
