// Package arch holds the house to its plan: who may import whom, and the habits that every file keeps. It reads the
// source and runs none of it. Each rule names its remedy, and has a test in which it fires.
package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/raftbus/raftbus"

// source is one Go file of the repository.
type source struct {
	path   string // from the root of the repository, with slashes
	text   string
	tokens *token.FileSet
	syntax *ast.File
}

// problem is one place where a rule is broken.
type problem struct {
	where  string // path and line, or a folder
	what   string
	remedy string
}

func (p problem) String() string { return fmt.Sprintf("%s: %s\n\t%s", p.where, p.what, p.remedy) }

func (s *source) folder() string { return path.Dir(s.path) }

// isTest is true for what is not part of the product: test files, and all of the test folder.
func (s *source) isTest() bool {
	return strings.HasSuffix(s.path, "_test.go") || within(s.folder(), "test")
}

func (s *source) line(pos token.Pos) int { return s.tokens.Position(pos).Line }

func (s *source) problem(pos token.Pos, remedy, what string, args ...any) problem {
	return problem{fmt.Sprintf("%s:%d", s.path, s.line(pos)), fmt.Sprintf(what, args...), remedy}
}

// within reports whether a folder is parent, or under it.
func within(folder, parent string) bool {
	return folder == parent || strings.HasPrefix(folder, parent+"/")
}

func parse(path, text string) (*source, error) {
	tokens := token.NewFileSet()
	syntax, err := parser.ParseFile(tokens, path, text, parser.ParseComments|parser.SkipObjectResolution)
	return &source{path, text, tokens, syntax}, err
}

// repository reads all Go files of the repository, but none of hidden folders and of test data.
func repository(t *testing.T) []*source {
	root := filepath.Join("..", "..")
	var all []*source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		s, err := read(root, name)
		all = append(all, s)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

func read(root, name string) (*source, error) {
	relative, err := filepath.Rel(root, name)
	text, readErr := os.ReadFile(name)
	if err := errors.Join(err, readErr); err != nil {
		return nil, err
	}
	return parse(filepath.ToSlash(relative), string(text))
}

// synthetic parses a file that does not exist, for the tests of the rules.
func synthetic(t *testing.T, path, text string) *source {
	s, err := parse(path, text)
	require.NoError(t, err)
	return s
}

// requireNone fails with every problem there is.
func requireNone(t *testing.T, problems []problem) {
	for _, p := range problems {
		t.Error(p)
	}
}

// requireOne is for the tests of the rules: the rule fires once, or not at all when what is empty.
func requireOne(t *testing.T, what string, problems []problem) {
	if what == "" {
		require.Empty(t, problems)
		return
	}
	require.Len(t, problems, 1)
	require.Contains(t, problems[0].String(), what)
	require.NotEmpty(t, problems[0].remedy)
}
