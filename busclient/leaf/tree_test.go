package leaf

// The set of subjects, against the plain comparison of each with each.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// subjectOf draws subjects of few tokens, so that they meet.
func subjectOf(tokens ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(tokens), 1, 4).Draw(t, "tokens"), ".")
	})
}

func patternOf() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := subjectOf("a", "b", "*").Draw(t, "begin")
		if rapid.Bool().Draw(t, "open") {
			return s + ".>"
		}
		return s
	})
}

// matches reports whether the pattern holds the subject.
func matches(pattern, subject string) bool {
	for {
		p, patternRest, morePattern := strings.Cut(pattern, ".")
		s, subjectRest, moreSubject := strings.Cut(subject, ".")
		switch {
		case p == anyRest:
			return true
		case p != anyToken && p != s, morePattern != moreSubject:
			return false
		case !morePattern:
			return true
		}
		pattern, subject = patternRest, subjectRest
	}
}

func TestATreeIsTheSetOfItsPatterns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree tree
		set := map[string]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			pattern := patternOf().Draw(t, "pattern")
			if rapid.Bool().Draw(t, "add") {
				require.Equal(t, !set[pattern], tree.add(pattern))
				set[pattern] = true
			} else {
				require.Equal(t, set[pattern], tree.remove(pattern))
				delete(set, pattern)
			}
			require.Equal(t, len(set), tree.size)
			subject := subjectOf("a", "b", "c").Draw(t, "subject")
			want := false
			for p := range set {
				want = want || matches(p, subject)
			}
			require.Equal(t, want, tree.match(subject), "%s in %v", subject, set)
		}
		for p := range set {
			require.True(t, tree.remove(p))
		}
		require.True(t, tree.root.empty(), "nothing is left behind")
	})
}

func TestSubjectsWithinAPattern(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree tree
		set := rapid.SliceOfDistinct(subjectOf("a", "b", "c"), rapid.ID).Draw(t, "subjects")
		for _, s := range set {
			tree.add(s)
		}
		pattern := patternOf().Draw(t, "pattern")
		want := slices.DeleteFunc(slices.Clone(set), func(s string) bool { return !matches(pattern, s) })
		var got []string
		tree.within(pattern, func(s string) { got = append(got, s) })
		require.ElementsMatch(t, want, got, pattern)
	})
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.b.c", false}, {"a.b.c", "a.b", false}, {"a.*", "a.b", true}, {"a.*", "a", false},
		{"a.>", "a.b.c", true}, {"a.>", "a", false}, {">", "a", true}, {"*.b", "a.b", true}, {"*", "a.b", false},
	} {
		require.Equal(t, c.want, matches(c.pattern, c.subject), "%s %s", c.pattern, c.subject)
	}
}

// A whole pattern may be asked for too: permissions do.
func TestATreeHoldsPatterns(t *testing.T) {
	var tree tree
	for _, p := range []string{"a.*", "b.>", "c"} {
		tree.add(p)
	}
	for subject, want := range map[string]bool{"a.*": true, "a.>": false, "b.>": true, "b.*": true, "c": true, "*": false, ">": false, "a.b": true} {
		require.Equal(t, want, tree.match(subject), subject)
	}
}

// What is chosen by others may not make a question expensive: 100,000 inboxes are no slower to ask than one.
func BenchmarkInterested(b *testing.B) {
	i := newInterest(interestBytesDefault, watchTokensDefault)
	for n := range 100_000 {
		for _, s := range []string{fmt.Sprintf("_INBOX.%d.*", n), fmt.Sprintf("_INBOX.%d", n)} {
			_, err := i.add(s)
			require.NoError(b, err)
		}
	}
	i.complete()
	b.ReportAllocs()
	for b.Loop() {
		if !i.interested("_INBOX.77777.12") || i.interested("_INBOX.other.12") {
			b.Fatal("wrong")
		}
	}
}
