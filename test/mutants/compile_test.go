package mutants

// That every mutant compiles: one that does not is found by no test, and says so only when it is run, which for most is at night.

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/raftbus/raftbus/"

// checker type-checks packages of this module, one file of which is another.
type checker struct {
	files  *token.FileSet
	parsed map[string]*ast.File // by path below the root
	inside map[string][]string  // what a package's files are
	types  types.Importer
}

func newChecker(t *testing.T) *checker {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles,Standard", "./...")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &checker{files: token.NewFileSet(), parsed: map[string]*ast.File{}, inside: map[string][]string{}}
	exports := map[string]string{}
	for list := json.NewDecoder(out); ; {
		var p struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
		}
		if err := list.Decode(&p); errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		exports[p.ImportPath] = p.Export
		if name, ours := strings.CutPrefix(p.ImportPath, module); ours {
			for _, file := range p.GoFiles {
				c.inside[path.Join(".", name)] = append(c.inside[path.Join(".", name)], path.Join(".", name, file))
			}
		}
	}
	require.NoError(t, cmd.Wait())
	c.types = importer.ForCompiler(c.files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return c
}

// check reports what is wrong in a file if it has other contents. Of the other files of its package it reads no bodies, which is quick.
func (c *checker) check(file string, contents []byte) error {
	mutated, err := parser.ParseFile(c.files, file, contents, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	files := []*ast.File{mutated}
	for _, other := range c.inside[path.Dir(file)] {
		if other == file {
			continue
		}
		if c.parsed[other] == nil {
			if c.parsed[other], err = c.heads(other); err != nil {
				return err
			}
		}
		files = append(files, c.parsed[other])
	}
	var wrong error
	config := &types.Config{Importer: c.types, GoVersion: "go1.26", Error: func(err error) {
		if e := (types.Error{}); errors.As(err, &e) && c.files.Position(e.Pos).Filename == file {
			wrong = errors.Join(wrong, err)
		}
	}}
	_, _ = config.Check(module+path.Dir(file), c.files, files, nil) // its error is the first of all
	return wrong
}

// heads is a file without the bodies of its functions.
func (c *checker) heads(file string) (*ast.File, error) {
	parsed, err := parser.ParseFile(c.files, filepath.Join(root, file), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range parsed.Decls {
		if f, is := d.(*ast.FuncDecl); is {
			f.Body = nil
		}
	}
	return parsed, nil
}

// A mutant that does not compile is found by no test.
func TestMutantsCompile(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // what a check makes is little, and gone after it
	c := newChecker(t)
	for _, m := range load(t) {
		if strings.HasSuffix(m.file, ".go") {
			assert.NoError(t, c.check(m.file, m.mutated(t)), m.name)
		}
	}
}
