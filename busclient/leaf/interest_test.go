package leaf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// interested reports whether a plain subscription of the account takes the subject.
func (i *interest) interested(subject string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.has(subject)
}

// size is how many subjects clients listen on.
func (i *interest) size() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.literal) + i.patterns.size
}

// Whatever is said, watched and lost in whatever order: who was told last knows what is so, and is told nothing twice.
func TestWhatWasToldLastIsSo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := newInterest(1<<20, watchTokensDefault)
		said, told := map[string]bool{}, map[string]bool{}
		known := false
		hear := func(changes []change) {
			for _, c := range changes {
				require.NotEqual(t, told[c.subject], c.interested, "told twice")
				told[c.subject] = c.interested
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			pattern, subject := patternOf().Draw(t, "pattern"), subjectOf("a", "b").Draw(t, "subject")
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				changes, err := i.add(pattern)
				require.NoError(t, err)
				hear(changes)
				said[pattern] = true
			case 2:
				hear(i.remove(pattern))
				delete(said, pattern)
			case 3, 4:
				told[subject] = i.watch(subject)
			case 5:
				i.unwatch(subject)
				delete(told, subject)
				for i.watched[subject] != nil {
					i.unwatch(subject)
				}
			case 6:
				if known {
					i.forget()
					said = map[string]bool{}
				} else {
					hear(i.complete())
				}
				known = !known
			}
			require.Equal(t, len(said), i.size())
			for s, last := range told {
				want := false
				for p := range said {
					want = want || matches(p, s)
				}
				require.Equal(t, known && want, i.interested(s), s)
				require.True(t, !known || last == want, "%s: told %v", s, last)
			}
		}
	})
}

// Two consumers may deliver to one inbox: when one of them ends the other still hears whether somebody listens there.
func TestASubjectIsWatchedUntilAllWhoWatchItHaveDone(t *testing.T) {
	i := newInterest(1<<20, watchTokensDefault)
	i.complete()
	require.False(t, i.watch("inbox"))
	require.False(t, i.watch("inbox"))
	i.unwatch("inbox")
	changes, err := i.add("inbox")
	require.NoError(t, err)
	require.Equal(t, []change{{"inbox", true}}, changes)
	i.unwatch("inbox")
	require.Empty(t, i.remove("inbox"))
	require.Empty(t, i.watched, "nothing is kept of it")
}

// A pattern is kept token by token, and counts as that; up to as many tokens as a watched subject may have.
func TestWhatAPatternCostsGoesByItsTokens(t *testing.T) { // Q12
	i := newInterest(interestBytesDefault, 1_000)
	i.complete()
	most := "a" + strings.Repeat(".a", 999)
	require.False(t, i.watch(most))
	changes, err := i.add("*" + strings.Repeat(".*", 999))
	require.NoError(t, err)
	require.Equal(t, []change{{most, true}}, changes)
	require.Greater(t, i.bytes, 100<<10)
	for _, more := range []string{"*" + strings.Repeat(".*", 1_000), "a" + strings.Repeat(".a", 1_000)} {
		before := i.bytes
		changes, err = i.add(more)
		require.NoError(t, err)
		require.Empty(t, changes)
		require.Equal(t, before, i.bytes)
		require.Empty(t, i.remove(more))
		require.Equal(t, 1, i.size())
	}
}

// What a subject costs is given back: else the bound would be reached by coming and going.
func TestInterestCostsWhileItLasts(t *testing.T) {
	i := newInterest(10_000, watchTokensDefault)
	for n := range 1000 {
		s := fmt.Sprintf("_INBOX.%d.*", n)
		_, err := i.add(s)
		require.NoError(t, err)
		_, err = i.add(s)
		require.NoError(t, err, "said twice, counted once")
		i.remove(s)
		i.remove(s)
	}
	require.Zero(t, i.bytes)
	for n := 0; ; n++ {
		require.Less(t, n, 100, "the bound was never reached")
		if _, err := i.add(fmt.Sprintf("_INBOX.%d.*", n)); err != nil {
			require.ErrorIs(t, err, errTooMuch)
			break
		}
	}
	i.forget()
	require.Zero(t, i.bytes)
}
