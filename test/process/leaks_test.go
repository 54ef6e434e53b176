package process

// What nodes hold when all is quiet, looked at between faults: what only ever grows is a leak, and shows in a long run.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// holding is what one node has at a moment.
type holding struct {
	goroutines, files int
	memory, disk      int64 // in bytes: resident, and of the data folder
}

// How much more a node may hold at any quiet moment than it, or another, did at the first. Memory and disk may follow what was written: keys are kept
// for ever here, an LSM tree holds several generations of them for a while, and Go gives memory back late.
const (
	goroutinesMore = 20
	filesMore      = 60 // tables of the store are kept open
	memoryMore     = 192 << 20
	diskMore       = 192 << 20
	bytesPerKey    = 4 << 10
)

// leaks are what nodes held at quiet moments.
type leaks struct {
	first, most, last holding // each figure for itself, of all nodes
	looks             int
}

// look holds what every node has now against what was there at the first look. keys have been written meanwhile.
func (l *leaks) look(c *cluster, keys int) {
	var now holding
	for _, id := range c.members {
		h := c.settled(id, l)
		now = holding{max(now.goroutines, h.goroutines), max(now.files, h.files), max(now.memory, h.memory), max(now.disk, h.disk)}
	}
	if l.looks++; l.looks == 1 {
		l.first = now
	}
	l.last = now
	l.most = holding{max(l.most.goroutines, now.goroutines), max(l.most.files, now.files), max(l.most.memory, now.memory), max(l.most.disk, now.disk)}
	wrote := int64(keys) * bytesPerKey
	require.LessOrEqual(c.t, now.memory, l.first.memory+memoryMore+wrote, "memory leaks: %v", l)
	require.LessOrEqual(c.t, now.disk, l.first.disk+diskMore+wrote, "the data folder only grows: %v", l)
}

// settled is what a node holds once its goroutines and files are within their bounds: some end a while after what they served.
func (c *cluster) settled(id string, l *leaks) (h holding) {
	require.Eventually(c.t, func() bool {
		h = c.holds(id)
		return l.looks == 0 || h.goroutines <= l.first.goroutines+goroutinesMore && h.files <= l.first.files+filesMore
	}, 30*time.Second, 200*time.Millisecond, "%s leaks goroutines or descriptors: it has %v, %v", id, &h, l)
	return h
}

func (c *cluster) holds(id string) (h holding) {
	h.goroutines = c.status(id).Goroutines
	pid := strconv.Itoa(c.nodes[id].cmd.Process.Pid) // nsenter becomes the node
	files, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	require.NoError(c.t, err)
	h.files, h.memory, h.disk = len(files), resident(c, pid), folderBytes(c, c.dirs[id])
	return h
}

// resident is the memory of a process, in bytes.
func resident(c *cluster, pid string) int64 {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	require.NoError(c.t, err)
	for line := range strings.Lines(string(text)) {
		if kilobytes, is := strings.CutPrefix(line, "VmRSS:"); is {
			n, err := strconv.ParseInt(strings.Fields(kilobytes)[0], 10, 64)
			require.NoError(c.t, err)
			return n << 10
		}
	}
	return 0
}

// folderBytes is the size of all files in a folder, some of which may go meanwhile.
func folderBytes(c *cluster, dir string) (size int64) {
	require.NoError(c.t, filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				size += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}))
	return size
}

func (h *holding) String() string {
	return fmt.Sprintf("%d goroutines, %d files, %d MiB of memory, %d MiB on disk", h.goroutines, h.files, h.memory>>20, h.disk>>20)
}

func (l *leaks) String() string {
	return fmt.Sprintf("the most of a node at the first of %d looks: %v; ever: %v; at the last: %v", l.looks, &l.first, &l.most, &l.last)
}
