package busclient

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at is a moment so long after an arbitrary one.
func at(d time.Duration) time.Time { return time.Unix(1000, 0).Add(d) }

const patience = 100 * time.Millisecond

func TestAPeerIsInStepWhileItAnswersInTime(t *testing.T) {
	var s step
	require.True(t, s.in(at(0), patience), "it begins so")
	s.asked(at(0))
	s.asked(at(90 * time.Millisecond))
	require.True(t, s.in(at(patience), patience))
	s.answered(true)
	require.True(t, s.in(at(time.Hour), patience), "nothing is unanswered")
}

func TestAPeerThatDoesNotAnswerIsSpokenToAloneUntilItDoes(t *testing.T) {
	var s step
	s.asked(at(0))
	s.asked(at(90 * time.Millisecond))
	require.False(t, s.in(at(patience+1), patience), "the oldest counts")
	require.False(t, s.in(at(time.Hour), patience), "it has not answered yet")
	s.answered(false)
	require.True(t, s.in(at(time.Hour), patience))
}

// Where messages to several do not get through, each trial costs a loss: they become rare, but do not end.
func TestTrialsThatFailBecomeRare(t *testing.T) {
	var s step
	now := time.Duration(0)
	for trial, want := 0, patience; trial < 100; trial, want = trial+1, min(2*want, aloneMax) {
		require.True(t, s.in(at(now), patience))
		s.asked(at(now))
		now += patience + 1
		require.False(t, s.in(at(now), patience))
		s.answered(false)
		require.False(t, s.in(at(now+want-1), patience), "alone for %v", want)
		now += want
	}
	s.asked(at(now))
	s.answered(true)
	s.asked(at(now))
	require.False(t, s.in(at(now+patience+1), patience))
	s.answered(false)
	require.True(t, s.in(at(now+2*patience+2), patience), "one that worked makes all before it forgotten")
}

// That nobody heard one to several is as if it had not been answered in time, however many left at once; a new link does not have it forgotten.
func TestAPeerThatWasNotHeardIsSpokenToAlone(t *testing.T) { // K75
	var s step
	for range 5 {
		s.asked(at(0))
		s.unheard(at(0), patience)
	}
	require.False(t, s.in(at(time.Hour), patience), "it has not answered yet")
	s.answered(false)
	s.begin()
	require.False(t, s.in(at(patience-1), patience))
	require.True(t, s.in(at(patience), patience))
	s.unheard(at(patience), patience)
	s.begin()
	require.False(t, s.in(at(3*patience-1), patience), "longer each time in a row")
	require.True(t, s.in(at(3*patience), patience))
}

func TestANewLinkBeginsInStep(t *testing.T) {
	var s step
	s.asked(at(0))
	s.begin()
	require.True(t, s.in(at(time.Hour), patience), "what was asked over the link before is over")
}
