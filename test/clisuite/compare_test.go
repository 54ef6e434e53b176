package clisuite

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// step is one command, given at both places. What it prints must be the same.
type step struct {
	args  []string
	stdin string

	// until has the command given again until it prints this, since what is over goes a little later.
	until string

	// anyOrder is for lists that are sorted by what each counts in its own way.
	anyOrder bool

	// watches says that the command goes on: so many lines it prints before meanwhile is done, and so many after.
	watches       bool
	before, after int
	meanwhile     []step

	// fill is instead of too many commands.
	bucket string
	fill   func(testing.TB, context.Context, jetstream.KeyValue)

	// differs says why what we print is another; it holds the words of ours.
	differs, ours string
}

// cli is a command as it is typed, without quotes.
func cli(command string) step { return step{args: strings.Fields(command)} }

// with gives a step one more argument, with what is in it.
func (s step) with(arg string) step { s.args = append(s.args, arg); return s }

func (s step) reading(stdin string) step { s.stdin = stdin; return s }

func (s step) untilIt(says string) step { s.until = says; return s }

func (s step) inAnyOrder() step { s.anyOrder = true; return s }

// butOurs says that ours differs, and by which words it is known.
func (s step) butOurs(says, since string) step { s.ours, s.differs = says, since; return s }

// watching is a command that prints lines at first, and more while steps are done.
func watching(command string, before int, meanwhile []step, after int) step {
	s := cli(command)
	s.watches, s.before, s.meanwhile, s.after = true, before, meanwhile, after
	return s
}

func filling(bucket string, fill func(testing.TB, context.Context, jetstream.KeyValue)) step {
	return step{bucket: bucket, fill: fill}
}

func (s step) name(i int) string {
	if s.fill != nil {
		return fmt.Sprintf("%d: filling %s", i, s.bucket)
	}
	text := strings.Join(s.args, " ")
	return fmt.Sprintf("%d: nats %s", i, text[:min(len(text), 100)])
}

func (s step) at(t testing.TB, p *place) printed {
	switch {
	case s.fill != nil:
		p.client(t, func(ctx context.Context, js jetstream.JetStream) {
			kv, err := js.KeyValue(ctx, s.bucket)
			require.NoError(t, err)
			s.fill(t, ctx, kv)
		})
		return printed{}
	case s.watches:
		return p.watch(t, s.args[2], s.args, s.before, func() {
			for _, m := range s.meanwhile {
				is := m.at(t, p)
				require.Zero(t, is.code, "%v: %v", m.args, is)
			}
		}, s.after)
	}
	for end := time.Now().Add(commandTime); ; time.Sleep(200 * time.Millisecond) { // each look starts a process
		is := p.run(t, s.stdin, s.args...)
		if strings.Contains(is.out+is.err, s.until) {
			return is
		}
		require.True(t, time.Now().Before(end), "%v: not %q in\n%v", s.args, s.until, is)
	}
}

// compare gives all commands at both places, side by side.
func compare(t *testing.T, theirs, ours *place, steps []step) {
	all := give(t, map[string]*place{"theirs": theirs, "ours": ours}, steps)
	judge(t, steps, all["theirs"], all["ours"])
}

// give gives all commands at all places, side by side, and tells what each has printed.
func give(t *testing.T, places map[string]*place, steps []step) map[string][]printed {
	all := map[string][]printed{}
	var mu sync.Mutex
	t.Run("commands", func(t *testing.T) {
		for name, p := range places {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var list []printed
				for _, s := range steps {
					list = append(list, s.at(t, p).masked(s.anyOrder))
				}
				mu.Lock()
				defer mu.Unlock()
				all[name] = list
			})
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return all
}

func judge(t *testing.T, steps []step, theirs, ours []printed) {
	for i, s := range steps {
		s.compare(t, i, theirs[i], ours[i])
	}
}

func (s step) compare(t *testing.T, i int, want, got printed) {
	t.Logf("%s\n%v", s.name(i), got)
	switch same := want == got; {
	case s.differs == "" && !same:
		t.Errorf("%s\n  theirs:\n%v  ours:\n%v", s.name(i), want, got)
	case s.differs != "" && same:
		t.Errorf("%s\nis the same, and said to differ: %s\n%v", s.name(i), s.differs, got)
	case s.differs != "" && !strings.Contains(got.out+got.err, s.ours):
		t.Errorf("%s\n  theirs:\n%v  ours:\n%v  wanted in ours: %s", s.name(i), want, got, s.ours)
	}
}
