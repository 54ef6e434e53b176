package sim

// What the simulated disk does in a crash is what all durability here rests on.

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func newFile(t *testing.T, d *disk, name string) vfs.File {
	f, err := d.Create(name, "")
	require.NoError(t, err)
	return f
}

func content(t *testing.T, d *disk, name string) string {
	f, err := d.Open(name)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(b)
}

func syncDir(t *testing.T, d *disk, name string) {
	f, err := d.OpenDir(name)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
}

func write(t *testing.T, f vfs.File, at int64, text string) {
	_, err := f.WriteAt([]byte(text), at)
	require.NoError(t, err)
}

func TestACrashForgetsWhatWasNotSynced(t *testing.T) {
	d, r := newDisk(func() {}), rand.New(rand.NewPCG(1, 1))
	f := newFile(t, d, "f")
	write(t, f, 0, "first")
	require.NoError(t, f.Sync())
	require.Equal(t, "f", d.unsynced("", ""), "its name is not durable")
	syncDir(t, d, "")
	write(t, f, 0, "FIRST and more")
	require.Equal(t, "f", d.unsynced("", ""))
	newFile(t, d, "g")
	d.crash(loseAll, r)
	require.Equal(t, "first", content(t, d, "f"))
	require.Equal(t, []string{"f"}, d.everyName())
	require.Empty(t, d.unsynced("", ""))
}

func TestAKilledProcessLosesNothing(t *testing.T) {
	d, r := newDisk(func() {}), rand.New(rand.NewPCG(1, 1))
	write(t, newFile(t, d, "f"), 0, "text")
	d.crash(loseNone, r)
	require.Equal(t, "text", content(t, d, "f"))
}

// A power loss keeps some of the sectors of a write: each of them whole, or as it was.
func TestACrashTearsAtSectors(t *testing.T) {
	torn := 0
	for seed := range uint64(50) {
		d, r := newDisk(func() {}), rand.New(rand.NewPCG(seed, 1))
		f := newFile(t, d, "f")
		write(t, f, 0, string(make([]byte, 3*sectorBytes)))
		require.NoError(t, f.Sync())
		syncDir(t, d, "")
		ones := make([]byte, 3*sectorBytes)
		for i := range ones {
			ones[i] = 1
		}
		write(t, f, 0, string(ones))
		d.crash(loseSome, r)
		got := content(t, d, "f")
		sum := 0
		for at := 0; at < len(got); at += sectorBytes {
			sector := got[at : at+sectorBytes]
			require.Contains(t, []string{string(ones[:sectorBytes]), string(make([]byte, sectorBytes))}, sector)
			sum += int(sector[0])
		}
		if sum == 1 || sum == 2 {
			torn++
		}
	}
	require.Greater(t, torn, 10)
}

// K53: after a failed sync all looks well, also a second sync, and the bytes are gone with the power.
func TestAFailedSyncLosesPages(t *testing.T) {
	d, r := newDisk(func() {}), rand.New(rand.NewPCG(1, 1))
	f := newFile(t, d, "f")
	write(t, f, 0, "old")
	require.NoError(t, f.Sync())
	syncDir(t, d, "")
	write(t, f, 0, "new")
	d.failIn = 1
	require.ErrorIs(t, f.Sync(), errIO)
	require.NoError(t, f.Sync())
	require.Equal(t, "new", content(t, d, "f"))
	require.Equal(t, "f", d.unsynced("", ""))
	d.crash(loseAll, r)
	require.Equal(t, "old", content(t, d, "f"))
}

func TestAFullDiskTakesNoMore(t *testing.T) {
	d := newDisk(func() {})
	f := newFile(t, d, "f")
	write(t, f, 0, "text")
	d.full = true
	write(t, f, 0, "TEXT")
	_, err := f.WriteAt([]byte("x"), 4)
	require.ErrorIs(t, err, errNoSpace)
	_, err = d.Create("g", "")
	require.ErrorIs(t, err, errNoSpace)
}

func TestAPowerCutEndsAllWork(t *testing.T) {
	told := 0
	d := newDisk(func() { told++ })
	f := newFile(t, d, "f")
	d.cutIn = 2
	write(t, f, 0, "a")
	_, err := f.WriteAt([]byte("b"), 0)
	require.ErrorIs(t, err, errPowerCut)
	require.ErrorIs(t, f.Sync(), errPowerCut)
	require.Equal(t, 1, told)
	d.crash(loseAll, rand.New(rand.NewPCG(1, 1)))
	require.Empty(t, d.everyName())
}
