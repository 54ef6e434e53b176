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
	coded := map[string][]string{}
	for _, tag := range regexp.MustCompile(`\btag(State|Bucket|Stats|Entry|Live|Due|ID|Order|Consumer)[A-Z]\w* += (\d+)<<3`).FindAllStringSubmatch(sources(t), -1) {
		coded[tag[1]] = append(coded[tag[1]], tag[2])
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
		"state": coded["State"], "bucket": coded["Bucket"], "stats": coded["Stats"], "entry": coded["Entry"], "key": coded["Live"],
		"due": coded["Due"], "id": coded["ID"], "id order": coded["Order"], "consumer": coded["Consumer"],
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
