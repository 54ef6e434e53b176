package clisuite

// What the CLI prints against a JetStream, kept in a file: to ask one takes as many processes as to ask raftbus.

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	theirsFlag = flag.Bool("theirs", false, "give the commands to a JetStream too, and see that it prints what is kept")
	updateFlag = flag.Bool("update", false, "with -theirs: keep what it prints")
)

const keptFile = "testdata/theirs.txt"

// kept is what a JetStream prints for the steps. What one has just printed, if one was asked, must be the same.
func kept(t *testing.T, steps []step, live []printed) (theirs []printed) {
	if *updateFlag {
		require.NotNil(t, live, "-update needs -theirs")
		require.NoError(t, os.WriteFile(keptFile, []byte(transcript(steps, live)), 0o644))
	}
	file, err := os.ReadFile(keptFile)
	require.NoError(t, err)
	var commands []string
	for line := range strings.Lines(string(file)) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "  ") {
			commands, theirs = append(commands, line), append(theirs, printed{})
			continue
		}
		theirs[len(theirs)-1].read(t, line[2:])
	}
	var names []string
	for i, s := range steps {
		names = append(names, s.name(i))
	}
	require.Equal(t, names, commands, "other commands than those that are kept: run with -theirs -update")
	if live != nil {
		require.Equal(t, theirs, live, "a JetStream prints something else than is kept: run with -theirs -update, and look at the difference")
	}
	return theirs
}

// transcript has a line for each command, and below it one for each line of what it printed, in quotes: not all of it is UTF-8.
func transcript(steps []step, all []printed) string {
	var b strings.Builder
	for i, p := range all {
		fmt.Fprintln(&b, steps[i].name(i))
		for line := range strings.Lines(p.out) {
			fmt.Fprintf(&b, "  out %q\n", line)
		}
		for line := range strings.Lines(p.err) {
			fmt.Fprintf(&b, "  err %q\n", line)
		}
		if p.code != 0 {
			fmt.Fprintf(&b, "  exit %d\n", p.code)
		}
	}
	return b.String()
}

// read takes in one line of a transcript.
func (p *printed) read(t *testing.T, line string) {
	kind, rest, _ := strings.Cut(line, " ")
	if kind == "exit" {
		_, err := fmt.Sscan(rest, &p.code)
		require.NoError(t, err)
		return
	}
	text, err := strconv.Unquote(rest)
	require.NoError(t, err, line)
	if kind == "out" {
		p.out += text
	} else {
		p.err += text
	}
}
