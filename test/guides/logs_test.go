package guides

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page of metrics names keys that log lines have. All keys can be named in a query, and an error has the same one everywhere.
func TestMetricsPageNamesKeysOfLogLines(t *testing.T) {
	keys := loggedKeys(t)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		require.Regexp(t, `^[a-z][a-z0-9_]*$`, key, keys[key])
	}
	require.NotContains(t, keys, "error", "an error has the key err")
	_, table, found := strings.Cut(read(t, "docs/metrics.md"), "\n## Log lines\n")
	require.True(t, found)
	count := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(table, -1) {
		for _, key := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			require.Contains(t, keys, key[1], "no log line has the key")
			count++
		}
	}
	require.Greater(t, count, 10)
}

// logMethods are those of slog.Logger by which the product logs, and how many arguments come before the keys.
var logMethods = map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "With": 0}

// loggedKeys are the keys that the product gives its loggers, each with a place where it does.
func loggedKeys(t *testing.T) map[string]string {
	keys := map[string]string{}
	for _, dir := range []string{"raft", "busclient", "kv", "cmd"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			tokens := token.NewFileSet()
			file, err := parser.ParseFile(tokens, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				for _, key := range keysOf(n) {
					keys[key] = tokens.Position(n.Pos()).String()
				}
				return true
			})
			return nil
		}))
	}
	return keys
}

// keysOf are the keys of a call of a logger; none if it is none.
func keysOf(n ast.Node) (keys []string) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	first, logs := logMethods[method.Sel.Name]
	if x, is := method.X.(*ast.Ident); !logs || is && x.Name == "http" { // http.Error
		return nil
	}
	for i := first; i+1 < len(call.Args); i += 2 {
		if literal, ok := call.Args[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			key, _ := strconv.Unquote(literal.Value) // the parser has read it
			keys = append(keys, key)
		}
	}
	return keys
}
