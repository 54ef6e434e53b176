// Package mutants puts known bugs back into the code, one at a time, and sees that the tests notice (fault model section 6).
//
//	go test ./test/mutants                     every mutant still fits the code, and some quick ones, drawn anew for each state of the source, are found
//	go test ./test/mutants -v -all -timeout 5h             all of them, with a table of what found each
//	go test ./test/mutants -v -all -timeout 9h -sim 20000  and in how many seeds the simulator does
//	go test ./test/mutants -v -only K14        those whose name begins so
//
// A mutant is a file in mutants/: what it is, which package's tests must find it, and a piece of source before and after. It is
// compiled by way of an overlay: the source tree is never touched.
package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

var (
	all  = flag.Bool("all", false, "run all mutants, not only some")
	only = flag.String("only", "", "run the mutants whose name begins so")
	sim  = flag.Int("sim", 0, "also see in how many seeds, of at most so many, the simulator finds each")
)

const (
	root = "../.."
	// someOfThem is how many run where not all do.
	someOfThem = 3
	// testTime bounds the tests of one mutant: one that makes them hang is found too.
	testTime = 4 * time.Minute
	// simTime bounds the simulator's run of one mutant: 20,000 seeds take half an hour on a core.
	simTime = time.Hour
)

// quick are the packages that some are drawn from: of those that start servers or write logs one takes as long as many of these.
var quick = []string{
	"./busclient/internal/notes", "./busclient/internal/regain", "./cmd/raftbus/natsopt", "./kv/command", "./kv/internal/headers", "./kv/internal/names",
	"./kv/internal/wire", "./kv/jetstream", "./kv/store/engine", "./kv/subject", "./kv/watch", "./raft/config", "./raft/rpc",
}

// mutant is one bug put back.
type mutant struct {
	name          string // of its file: the row of the fault model first
	what          string
	packages      []string // whose tests must find it
	file          string
	before, after string
}

// read parses a mutant's file: a comment that says what it is, lines "tests: ./raft" and "file: raft/leader.go", and the two
// pieces of source.
func read(t *testing.T, path string) *mutant {
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	archive := txtar.Parse(raw)
	m := &mutant{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	for _, line := range strings.Split(string(archive.Comment), "\n") {
		switch key, value, _ := strings.Cut(line, ": "); key {
		case "tests":
			m.packages = strings.Fields(value)
		case "file":
			m.file = value
		default:
			m.what += strings.TrimSpace(line) + " "
		}
	}
	m.what = strings.TrimSpace(m.what)
	require.Len(t, archive.Files, 2, "%s: a piece before and one after", m.name)
	m.before, m.after = string(archive.Files[0].Data), string(archive.Files[1].Data)
	require.NotEmpty(t, m.packages, "%s: say whose tests find it", m.name)
	require.NotEqual(t, m.before, m.after, m.name)
	return m
}

// mutated is the source with the bug in it. The piece before must be there once, or the mutant is out of date.
func (m *mutant) mutated(t *testing.T) []byte {
	source, err := os.ReadFile(filepath.Join(root, m.file))
	require.NoError(t, err, m.name)
	require.Equal(t, 1, bytes.Count(source, []byte(m.before)), "%s: how often its piece of source is in %s; bring the mutant up to date", m.name, m.file)
	return bytes.Replace(source, []byte(m.before), []byte(m.after), 1)
}

// overlay writes what `go -overlay` wants.
func (m *mutant) overlay(t *testing.T) string {
	dir := t.TempDir()
	replaced := filepath.Join(dir, filepath.Base(m.file))
	require.NoError(t, os.WriteFile(replaced, m.mutated(t), 0o600))
	original, err := filepath.Abs(filepath.Join(root, m.file))
	require.NoError(t, err)
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: replaced}})
	require.NoError(t, err)
	path := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(path, list, 0o600))
	return path
}

// test runs `go test` on the mutant and returns what was said, and whether a test failed.
func (m *mutant) test(t *testing.T, overlay string, limit time.Duration, args ...string) (output string, failed bool) {
	ctx, cancel := context.WithTimeout(t.Context(), limit+time.Minute)
	defer cancel()
	args = append([]string{"test", "-overlay", overlay, "-vet=off", "-count=1", "-failfast", "-timeout", limit.String()}, args...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NotContains(t, string(out), "[build failed]", "%s does not compile", m.name)
	if exit := (*exec.ExitError)(nil); err != nil {
		require.True(t, errors.As(err, &exit), "%s: %v", m.name, err)
	}
	return string(out), err != nil
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// finder names the innermost test that failed, or what else went wrong.
func finder(output string) string {
	if found := failedTest.FindAllStringSubmatch(output, -1); len(found) > 0 {
		return found[len(found)-1][1]
	}
	if strings.Contains(output, "panic: test timed out") {
		return "a test that hangs"
	}
	return "a panic"
}

var failedSeed = regexp.MustCompile(`seed (\d+)`)

// seeds is in how many seeds the simulator finds the mutant; empty if it does not.
func (m *mutant) seeds(t *testing.T, overlay string) string {
	output, failed := m.test(t, overlay, simTime, "./test/sim", "-run", "^TestSeeds$", "-seeds", fmt.Sprint(*sim), "-from", "1", "-first", "-shrink=false")
	if seed := failedSeed.FindStringSubmatch(output); failed && seed != nil {
		return seed[1]
	}
	return ""
}

func load(t *testing.T) (list []*mutant) {
	paths, err := filepath.Glob("mutants/*.txt")
	require.NoError(t, err)
	for _, path := range paths {
		list = append(list, read(t, path))
	}
	require.NotEmpty(t, list)
	return list
}

func TestMutantsFitTheCode(t *testing.T) {
	for _, m := range load(t) {
		t.Run(m.name, func(t *testing.T) {
			m.mutated(t)
			require.NotEmpty(t, m.what)
		})
	}
}

func TestMutantsAreFound(t *testing.T) {
	list := load(t)
	switch {
	case *only != "":
		list = beginning(list, *only)
		require.NotEmpty(t, list, "no mutant's name begins with %q", *only)
	case !*all:
		list = slices.DeleteFunc(list, func(m *mutant) bool { return !m.quick() })
		rand.New(rand.NewPCG(drawn(), 0)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:min(someOfThem, len(list))]
	}
	var table strings.Builder
	for _, m := range list {
		t.Run(m.name, func(t *testing.T) {
			began := time.Now()
			overlay := m.overlay(t)
			output, found := m.test(t, overlay, testTime, m.packages...)
			by, seeds := "nothing", ""
			if found {
				by = finder(output)
			}
			if *sim > 0 {
				seeds = m.seeds(t, overlay)
			}
			fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", m.name, m.what, by, seeds)
			t.Logf("found by %s in %v", by, time.Since(began).Round(time.Second))
			require.True(t, found || seeds != "", "%s: nobody notices: %s", m.name, m.what)
		})
	}
	t.Logf("\n| mutant | what | found by | seeds |\n|---|---|---|---|\n%s", table.String())
}

// quick reports whether its tests take no time to speak of.
func (m *mutant) quick() bool {
	return !slices.ContainsFunc(m.packages, func(p string) bool { return !slices.Contains(quick, p) })
}

// drawn is the same wherever a commit is tested, so that nobody else meets mutants that its author did not. Outside of a clone it is the day's.
func drawn() uint64 {
	tree, err := exec.Command("git", "-C", root, "rev-parse", "HEAD^{tree}").Output()
	if err != nil {
		return uint64(time.Now().Unix() / 86_400)
	}
	h := fnv.New64a()
	_, _ = h.Write(tree) // never fails
	return h.Sum64()
}

func beginning(list []*mutant, prefix string) (some []*mutant) {
	for _, m := range list {
		if strings.HasPrefix(m.name, prefix) {
			some = append(some, m)
		}
	}
	return some
}
