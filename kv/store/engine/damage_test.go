package engine_test

// One bit of a file that a Pebble database is opened by is another: it opens all the same, or what it says names the file (D1).

import (
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
	_, err = f.Write(content)
	require.NoError(t, err)
	require.NoError(t, f.Close())
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
