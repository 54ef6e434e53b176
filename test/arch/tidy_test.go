package arch

// The habits of the house. What gofmt and go vet see is left to them.

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	funcLinesMax = 70  // of the product; the tables of tests may be long
	fileLinesMax = 600 // of any file
	bareLinesMax = 60  // of a file that does not say what it is about
)

// unfinished is written in two halves, since this file is searched too.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

func checkTidy(s *source) (problems []problem) {
	if n := strings.Count(s.text, "\n"); n > fileLinesMax {
		problems = append(problems, s.problem(s.syntax.Pos(), "a file has one idea: give the second its own file", "%d lines, at most %d", n, fileLinesMax))
	}
	problems = append(problems, checkUnfinished(s)...)
	if !s.isTest() {
		problems = append(problems, checkFuncs(s)...)
		problems = append(problems, checkSleep(s)...)
		problems = append(problems, checkMAC(s)...)
	}
	if !strings.HasSuffix(s.path, "_test.go") {
		problems = append(problems, checkHeader(s)...)
	}
	return problems
}

func checkUnfinished(s *source) (problems []problem) {
	for i, line := range strings.Split(s.text, "\n") {
		if mark := unfinished.FindString(line); mark != "" {
			problems = append(problems, problem{fmt.Sprintf("%s:%d", s.path, i+1), mark + " in the source",
				"do it now, or leave it out and file an issue"})
		}
	}
	return problems
}

func checkFuncs(s *source) (problems []problem) {
	for _, decl := range s.syntax.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > funcLinesMax {
			problems = append(problems, s.problem(f.Name.Pos(), "keep the branches here, move the leaves into functions of their own",
				"func %s has %d lines, at most %d", f.Name.Name, n, funcLinesMax))
		}
	}
	return problems
}

// checkSleep finds time.Sleep, also where it is only mentioned to be called later.
func checkSleep(s *source) (problems []problem) {
	name := importName(s, "time")
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok || selector.Sel.Name != "Sleep" {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == name {
			problems = append(problems, s.problem(n.Pos(), "wait on what you wait for: a channel, a timer in a select, a context", "time.Sleep in the product"))
		}
		return true
	})
	return problems
}

// checkMAC wants MACs compared in constant time where they are made: how long another comparison takes tells how much of a forged one is right (Q3).
func checkMAC(s *source) (problems []problem) {
	name := importName(s, "crypto/hmac")
	if makes, compares := name+".New(", name+".Equal("; name != "" && strings.Contains(s.text, makes) && !strings.Contains(s.text, compares) {
		problems = append(problems, s.problem(s.syntax.Pos(), "compare by hmac.Equal", "a MAC is made, and compared by what may take longer the more of it is right"))
	}
	return problems
}

// checkHeader wants files to begin with what they are about, but short ones and tests: packages have many files, and names alone do not tell.
func checkHeader(s *source) (problems []problem) {
	if n := strings.Count(s.text, "\n"); n > bareLinesMax && !headed(s) {
		problems = append(problems, s.problem(s.syntax.Pos(), "say in a sentence or two what the file is about, between the package clause and the imports",
			"%d lines without a header, at most %d", n, bareLinesMax))
	}
	return problems
}

// headed reports whether a comment on the package, or one that stands alone, comes before all declarations.
func headed(s *source) bool {
	return s.syntax.Doc.Text() != "" || slices.ContainsFunc(s.syntax.Comments, func(c *ast.CommentGroup) bool {
		return c.Pos() > s.syntax.Name.Pos() && c.Text() != "" && len(s.syntax.Decls) > 0 && s.line(c.End())+1 < s.line(s.syntax.Decls[0].Pos())
	})
}

// importName is what the file calls a package of the standard library; empty when it does not import it.
func importName(s *source, pkg string) string {
	for _, spec := range s.syntax.Imports {
		if spec.Path.Value != `"`+pkg+`"` {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

// checkDocs wants one package comment in each folder, that begins as godoc expects it.
func checkDocs(files []*source) (problems []problem) {
	folders := make(map[string]bool) // whether it is documented
	for _, s := range files {
		folders[s.folder()] = folders[s.folder()] || documents(s)
	}
	for folder, documented := range folders {
		if !documented {
			problems = append(problems, problem{folder, "no package comment",
				"begin one file, best doc.go, with 'Package <name> ...': what it is for and what it may not do"})
		}
	}
	slices.SortFunc(problems, func(a, b problem) int { return strings.Compare(a.where, b.where) })
	return problems
}

func documents(s *source) bool {
	name := strings.TrimSuffix(s.syntax.Name.Name, "_test")
	if name == "main" {
		return s.syntax.Doc.Text() != ""
	}
	return strings.HasPrefix(s.syntax.Doc.Text(), "Package "+name+" ")
}

func TestFilesAreTidy(t *testing.T) {
	for _, s := range repository(t) {
		requireNone(t, checkTidy(s))
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	requireNone(t, checkDocs(repository(t)))
}

func TestTidyRulesFire(t *testing.T) {
	lines := func(n int) string { return strings.Repeat("\n", n) }
	longFunc := "// Package p is.\npackage p\n// f is short, its comment is not." + strings.Repeat("\n// More.", 80) + "\nfunc f() {" + lines(funcLinesMax-1) + "}\n"
	tooLongFunc := "// Package p is.\npackage p\nfunc f() {" + lines(funcLinesMax) + "}\n"
	for _, c := range []struct{ name, path, text, want string }{
		{"a short file", "kv/a.go", "package p\n", ""},
		{"the longest file", "kv/a.go", "// Package p is.\npackage p" + lines(fileLinesMax-1), ""},
		{"a file too long", "kv/a.go", "// Package p is.\npackage p" + lines(fileLinesMax), "601 lines"},
		{"a test file too long", "kv/a_test.go", "package p" + lines(fileLinesMax+1), "601 lines"},
		{"the longest function", "kv/a.go", longFunc, ""},
		{"a function too long", "kv/a.go", tooLongFunc, "func f has 71 lines"},
		{"a method too long", "kv/a.go", strings.Replace(tooLongFunc, "func f", "type t int; func (t) f", 1), "func f has 71 lines"},
		{"a long function of a test", "kv/a_test.go", tooLongFunc, ""},
		{"a long function of a helper", "test/cluster/a.go", tooLongFunc, ""},
		{"to do", "kv/a.go", "package p\n// TO" + "DO: think\n", "kv/a.go:2: TO" + "DO"},
		{"to fix", "kv/a_test.go", "package p // FIX" + "ME\n", "FIX" + "ME in the source"},
		{"three x", "test/a_test.go", "package p // X" + "XX\n", "in the source"},
		{"a word that holds it", "kv/a.go", "package p // XX" + "XX TO" + "DOS\n", ""},
		{"sleep", "kv/a.go", "package p\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "kv/a.go:3: time.Sleep"},
		{"sleep under another name", "kv/a.go", "package p\nimport t \"time\"\nfunc f() { t.Sleep(1) }\n", "time.Sleep"},
		{"sleep by reference", "kv/a.go", "package p\nimport \"time\"\nvar nap = time.Sleep\n", "time.Sleep"},
		{"sleep of something else", "kv/a.go", "package p\nfunc f(bed interface{ Sleep() }) { bed.Sleep() }\n", ""},
		{"a MAC compared as a string", "kv/a.go", "package p\nimport \"crypto/hmac\"\nfunc f() bool { return string(hmac.New(h, k).Sum(nil)) == m }\n", "compare by hmac.Equal"},
		{"a MAC compared in constant time", "kv/a.go", "package p\nimport \"crypto/hmac\"\nfunc f() bool { return hmac.Equal(hmac.New(h, k).Sum(nil), m) }\n", ""},
		{"a long file with a header", "cmd/a.go", "package p\n\n// What a is about.\n\nimport \"time\"" + lines(bareLinesMax), ""},
		{"a long file with a package comment", "cmd/a.go", "// Package p is.\npackage p\nimport \"time\"" + lines(bareLinesMax), ""},
		{"the longest file without a header", "cmd/a.go", "package p" + lines(bareLinesMax), ""},
		{"a long file without a header", "cmd/b/a.go", "package p\nimport \"time\"" + lines(bareLinesMax), "61 lines without a header"},
		{"a long file of a library without a header", "kv/a.go", "package p" + lines(bareLinesMax+1), "without a header"},
		{"a long helper of tests without a header", "test/sim/a.go", "package p" + lines(bareLinesMax+1), "without a header"},
		{"a long file that begins with a build tag", "cmd/a.go", "//go:build linux\n\npackage p\n\n//go:generate x\n\nimport \"time\"" + lines(bareLinesMax), "without a header"},
		{"a long file whose first declaration has a comment", "cmd/a.go", "package p\n\n// T is one.\ntype T int" + lines(bareLinesMax), "without a header"},
		{"a long file of a test without a header", "cmd/a_test.go", "package p" + lines(bareLinesMax+1), ""},
		{"sleep in a test", "kv/a_test.go", "package p\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireOne(t, c.want, checkTidy(synthetic(t, c.path, c.text)))
		})
	}
}

func TestDocRuleFires(t *testing.T) {
	bare := synthetic(t, "kv/a.go", "package kv\n")
	for _, c := range []struct{ name, text, want string }{
		{"none", "package kv\n", "kv: no package comment"},
		{"one", "// Package kv keeps values.\npackage kv\n", ""},
		{"of another package", "// Package kvstore keeps values.\npackage kv\n", "kv: no package comment"},
		{"apart from the clause", "// Package kv keeps values.\n\npackage kv\n", "kv: no package comment"},
		{"of a command", "// The raftbus binary.\npackage main\n", ""},
		{"of tests only", "// Package kv keeps values.\npackage kv_test\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireOne(t, c.want, checkDocs([]*source{bare, synthetic(t, "kv/b.go", c.text)}))
		})
	}
}
