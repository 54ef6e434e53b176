package regain

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// renewed is a Regain that counts how often the connection was to be made anew, for tests.
func renewed() (*Regain, chan struct{}) {
	times := make(chan struct{}, 100)
	return &Regain{Anew: func() { times <- struct{}{} }}, times
}

// after is how many times the connection is to be made anew within so long, from the last look on.
func after(wait time.Duration, times chan struct{}) (n int) {
	time.Sleep(wait)
	synctest.Wait()
	for n = len(times); len(times) > 0; {
		<-times
	}
	return n
}

// F12: what is refused is asked for anew half a minute later, and if that was in vain ever more seldom: a subject may be refused for good.
func TestWhatIsRefusedIsAskedForEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, times := renewed()
		for _, wait := range []time.Duration{WaitMin, time.Minute, 2 * time.Minute, 4 * time.Minute, WaitMax, WaitMax} {
			r.Connected()
			for range 3 {
				r.Refused()
			}
			require.Zero(t, after(wait-1, times), wait)
			require.Equal(t, 1, after(1, times), wait)
		}
		r.Connected()
		r.Refused()
		r.End()
		r.Refused()
		require.Zero(t, after(time.Hour, times), "it has ended")
	})
}

// A connection that came by itself has asked for all, and on one on which nothing was refused for long it is begun anew.
func TestAConnectionIsMadeAnewForWhatItLacksOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, times := renewed()
		r.Connected()
		r.Refused()
		require.Zero(t, after(WaitMin-1, times))
		r.Connected()
		require.Zero(t, after(time.Hour, times), "nothing lacks")
		r.Refused()
		require.Equal(t, 1, after(WaitMin, times))
		r.Connected()
		require.Zero(t, after(WaitMax, times))
		r.Refused()
		require.Zero(t, after(WaitMin, times), "it was refused not long ago")
		r.End()
	})
}

// How long a subject is refused is counted over the connections that are made anew for it, since each is told of it only after a moment; and from the
// beginning once it was granted.
func TestASubjectIsRefusedUntilAConnectionHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := renewed()
		r.Connected()
		require.Zero(t, r.For("a"))
		r.RefusedSubject("a")
		for range 3 {
			time.Sleep(WaitMin)
			r.Connected()
			require.NotZero(t, r.For("a"), "it is only asked for")
			time.Sleep(answerMax / 2)
			r.RefusedSubject("a")
		}
		require.Equal(t, 3*(WaitMin+answerMax/2), r.For("a"))
		require.Zero(t, r.For("b"))
		time.Sleep(time.Hour)
		require.Greater(t, r.For("a"), time.Hour, "nothing was asked for since")
		r.Connected()
		time.Sleep(answerMax)
		require.Zero(t, r.For("a"))
		r.RefusedSubject("a")
		require.Zero(t, r.For("a"))
		time.Sleep(time.Second)
		require.Equal(t, time.Second, r.For("a"))
		r.Connected()
		r.Connected()
		require.Empty(t, r.refused, "no more is remembered than of one connection before")
		r.End()
	})
}
