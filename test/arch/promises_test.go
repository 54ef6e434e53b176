package arch

// What comments cite by letter and number has a line that says what it is.

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	cited  = regexp.MustCompile(`\b[FLDWCIXKQS][0-9]{1,2}\b`)
	listed = regexp.MustCompile(`(?m)^\| ([A-Z][0-9]{1,2}) \|`)
)

func TestWhatIsCitedIsListed(t *testing.T) {
	known := map[string]int{} // how often each is cited
	for _, page := range []string{"docs/promises.md", "test/mutants/CATALOGUE.md", "test/sim/BUGS.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", page))
		require.NoError(t, err)
		for _, row := range listed.FindAllStringSubmatch(string(text), -1) {
			require.NotContains(t, known, row[1], "%s: twice", page)
			known[row[1]] = 0
		}
	}
	for _, s := range repository(t) {
		for _, comment := range s.syntax.Comments {
			for _, code := range cited.FindAllString(comment.Text(), -1) {
				require.Contains(t, known, code, "%s cites what no page lists", s.path)
				known[code]++
			}
		}
	}
	for code, count := range known {
		require.True(t, count > 0 || code[0] == 'K' || code[0] == 'S', "nothing cites %s: leave it out of docs/promises.md", code)
	}
}
