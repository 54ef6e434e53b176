package regain

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// F12: what is refused is asked for anew half a minute later, and if that was in vain ever more seldom: a subject may be refused for good.
func TestWhatIsRefusedIsAskedForEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Duration
		began := time.Now()
		r := &Regain{}
		r.Anew = func() {
			times = append(times, time.Since(began))
			began = time.Now()
			r.Connected()
			for range 3 {
				r.Refused()
			}
		}
		r.Connected()
		r.Refused()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		require.Equal(t, []time.Duration{WaitMin, time.Minute, 2 * time.Minute, 4 * time.Minute, WaitMax, WaitMax}, times)
		r.End()
		r.Refused()
		time.Sleep(time.Hour)
		require.Len(t, times, 6, "it has ended")
	})
}

// A connection on which nothing was refused for long begins anew, and one that came by itself has asked for all.
func TestAConnectionIsMadeAnewForWhatItLacksOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Duration
		began := time.Now()
		r := &Regain{Anew: func() { times = append(times, time.Since(began)) }}
		again := func(after time.Duration) {
			time.Sleep(after)
			r.Connected()
			began = time.Now()
			r.Refused()
		}
		again(0)
		again(WaitMin - 1)
		again(time.Minute + 1)
		require.Equal(t, []time.Duration{time.Minute}, times, "the first was forgotten with its connection, and counts")
		time.Sleep(time.Hour)
		r.Connected()
		time.Sleep(WaitMax + 1)
		began, times = time.Now(), nil
		r.Refused()
		time.Sleep(time.Hour)
		require.Equal(t, []time.Duration{WaitMin}, times)
		r.End()
	})
}
