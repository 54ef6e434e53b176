package engine_test

// One bit of a file that a Pebble database is opened by is another: it opens all the same, or what it says names the file (D1).

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func TestDamageNamesTheFile(t *testing.T) {
	const stride = 11 // of bits: each byte's place in a word and each bit's in a byte come up
	fs := vfs.NewCrashableMem()
	reopen(t, pebbleDisk{fs})
	reopen(t, pebbleDisk{fs}) // a second time, so that there are a manifest and options of before
	names, err := fs.List(stateDir)
	require.NoError(t, err)
	found := map[string]int{}
	for _, name := range names {
		content := read(t, fs, name)
		for bit := 0; bit < 8*len(content); bit += stride {
			damaged := fs.CrashClone(vfs.CrashCloneCfg{})
			content[bit/8] ^= 1 << (bit % 8)
			write(t, damaged, name, content)
			content[bit/8] ^= 1 << (bit % 8)
			db, err := pebbleDisk{damaged}.engine().Open()
			if err == nil {
				require.NoError(t, db.Close())
				continue
			}
			require.ErrorContains(t, err, name)
			kind, _, _ := strings.Cut(name, "-")
			found[kind]++
		}
	}
	require.NotZero(t, found["OPTIONS"])
	require.NotZero(t, found["MANIFEST"])
}

const stateDir = "node/store/state-1"

func reopen(t *testing.T, d pebbleDisk) {
	db, err := d.engine().Open()
	require.NoError(t, err)
	require.NoError(t, db.Flush())
	require.NoError(t, db.Close())
}

func read(t *testing.T, fs vfs.FS, name string) []byte {
	f, err := fs.Open(fs.PathJoin(stateDir, name))
	require.NoError(t, err)
	content, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return content
}

func write(t *testing.T, fs vfs.FS, name string, content []byte) {
	f, err := fs.Create(fs.PathJoin(stateDir, name), vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(slices.Clone(content)) // with the race detector it changes what it is given
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// tabled is a state with tables (few enough that none are merged), and how long its manifest was before the last record came.
func tabled(t *testing.T) (fs *vfs.MemFS, manifest string, before int) {
	fs = vfs.NewCrashableMem()
	db, err := pebbleDisk{fs}.engine().Open()
	require.NoError(t, err)
	pile(t, db, 2, 10)
	for _, name := range list(t, fs) {
		if strings.HasPrefix(name, "MANIFEST-") {
			manifest = name // the newest of them
		}
	}
	before = len(read(t, fs, manifest))
	require.NoError(t, write1(db, 2, 10))
	require.NoError(t, db.Flush())
	require.NoError(t, db.Close())
	return fs, manifest, before
}

// openDamaged opens a state with another manifest: it is refused, and its files stay, or so many flushes are read.
func openDamaged(t *testing.T, fs *vfs.MemFS, manifest string, content []byte, flushes int, what string, args ...any) error {
	damaged := fs.CrashClone(vfs.CrashCloneCfg{})
	write(t, damaged, manifest, content)
	files := list(t, damaged)
	db, err := pebbleDisk{damaged}.engine().Open()
	if err != nil {
		require.ErrorContains(t, err, "damaged store file node/store/state-1/"+manifest, what, args)
		require.Equal(t, files, list(t, damaged), what, args)
		return err
	}
	for i := range flushes {
		value, err := db.Get(fmt.Append(nil, "k", i))
		require.NoError(t, err, what, args)
		require.NotNil(t, value, what, args)
	}
	return db.Close()
}

// A bit of the list of a state's tables is another: that is refused, and Pebble, which ends at the first record that does not fit, does not get to
// delete the tables that those after it name (D4, K51). The length of the last one may reach beyond the file's end, as a power loss leaves it.
func TestADamagedListOfTablesIsRefused(t *testing.T) {
	fs, manifest, before := tabled(t)
	content := read(t, fs, manifest)
	for bit := range 8 * len(content) {
		content[bit/8] ^= 1 << (bit % 8)
		err := openDamaged(t, fs, manifest, content, 2, "bit %d", bit)
		content[bit/8] ^= 1 << (bit % 8)
		if err == nil {
			require.Contains(t, []int{before + 4, before + 5}, bit/8, "bit %d was not noticed", bit)
		}
	}
}

// A power loss may leave of the last record any part that the file ends in, or in which a sector was not written: what was flushed before comes up. Of
// the first it leaves all, since nobody uses the list before that is synced.
func TestATornListOfTablesIsRead(t *testing.T) {
	fs, manifest, before := tabled(t)
	content := read(t, fs, manifest)
	for end := before; end < len(content); end++ {
		require.NoError(t, openDamaged(t, fs, manifest, content[:end], 2, "%d bytes", end))
	}
	require.NoError(t, openDamaged(t, fs, manifest, append(content[:before:before], make([]byte, 5000)...), 2, "zeros"))
	for end := range 20 {
		require.ErrorContains(t, openDamaged(t, fs, manifest, content[:end], 0, "%d bytes", end), "from byte 0 on")
	}
}

// The file that names the list of a state's tables is gone: that is refused, and Pebble does not get to delete them (D4, K51).
func TestTablesThatNoListNamesStay(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := pebbleDisk{fs}.engine().Open()
	require.NoError(t, err)
	pile(t, db, 2, 10)
	require.NoError(t, db.Close())
	for _, name := range list(t, fs) {
		if strings.HasPrefix(name, "marker.manifest.") {
			require.NoError(t, fs.Remove(fs.PathJoin(stateDir, name)))
		}
	}
	before := list(t, fs)
	require.Contains(t, strings.Join(before, " "), ".sst")
	_, err = pebbleDisk{fs}.engine().Open()
	require.ErrorContains(t, err, "marker.manifest.*")
	require.Equal(t, before, list(t, fs))
}

func list(t *testing.T, fs vfs.FS) []string {
	names, err := fs.List(stateDir)
	require.NoError(t, err)
	slices.Sort(names)
	return names
}
