package engine

// The store's folder holds one database per state it was given: state-1, then one more for each Restore. The newest that
// holds the file 'complete' is the store. That file is made last, after all else in the database is synced, so a crash leaves
// either the old state or the new one, and no step depends on the order in which a file system writes two names.

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	statePrefix  = "state-"
	completeFile = "complete"
)

type folder struct {
	fs  vfs.FS
	dir string
}

func (f folder) path(number uint64) string {
	return f.fs.PathJoin(f.dir, statePrefix+strconv.FormatUint(number, 10))
}

// open finds the newest complete state, or makes the first one, and removes what a Restore left over. It returns its number.
func (f folder) open() (uint64, error) {
	if err := f.make(f.dir); err != nil {
		return 0, err
	}
	all, err := f.numbers()
	if err != nil {
		return 0, err
	}
	for _, number := range slices.Backward(all) {
		complete, err := f.complete(number)
		if err != nil {
			return 0, err
		}
		if complete {
			return number, f.sync(f.path(number)) // whoever made the mark may have been killed before it did
		}
	}
	return f.first(all)
}

// first makes the first state. A database without the mark and without another one that has it was damaged, or is not ours:
// it is not touched (D4).
func (f folder) first(all []uint64) (uint64, error) {
	for _, number := range all {
		files, err := f.fs.List(f.path(number))
		if err != nil {
			return 0, err
		}
		if len(files) > 0 {
			return 0, fmt.Errorf("%s holds data but not the file %q that says it is whole: put that file back, or give the node an empty data folder and replace the member", f.path(number), completeFile)
		}
	}
	if err := f.make(f.path(1)); err != nil {
		return 0, err
	}
	return 1, f.markComplete(1)
}

// removeOthers removes superseded states and unfinished ones. Call it when the state to keep has been opened (K51).
func (f folder) removeOthers(keep uint64) error {
	all, err := f.numbers()
	if err != nil {
		return err
	}
	for _, number := range all {
		if number == keep {
			continue
		}
		if err := f.fs.RemoveAll(f.path(number)); err != nil {
			return err
		}
	}
	return nil
}

// numbers lists the states there are, rising.
func (f folder) numbers() ([]uint64, error) {
	files, err := f.fs.List(f.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, file := range files {
		digits, ours := strings.CutPrefix(path.Base(file), statePrefix)
		if number, err := strconv.ParseUint(digits, 10, 64); ours && err == nil {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (f folder) complete(number uint64) (bool, error) {
	_, err := f.fs.Stat(f.fs.PathJoin(f.path(number), completeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// markComplete is the moment from which a state is the store's. Everything in it must be synced before.
func (f folder) markComplete(number uint64) error {
	if err := f.sync(f.dir); err != nil {
		return err
	}
	file, err := f.fs.Create(f.fs.PathJoin(f.path(number), completeFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		_ = file.Close() // the sync's error says more
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return f.sync(f.path(number))
}

// make makes a folder and those it is in, each durable before the next is made (K54). The name of what is there already is made durable too:
// a process that made it may have been killed before it did.
func (f folder) make(dir string) error {
	if _, err := f.fs.Stat(dir); err != nil {
		if up := f.fs.PathDir(dir); up != dir {
			if err := f.make(up); err != nil && !errors.Is(err, fs.ErrPermission) { // it may lie in what only others read
				return err
			}
		}
		if err := f.fs.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return f.sync(f.fs.PathDir(dir))
}

func (f folder) sync(dir string) error {
	d, err := f.fs.OpenDir(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		_ = d.Close() // the sync's error says more
		return err
	}
	return d.Close()
}
