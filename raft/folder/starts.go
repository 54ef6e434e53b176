package folder

// The file of the newest starts of the peers, as the node hands them in. One that is damaged, or cannot be read, is set aside: no promise of consensus
// rests on it (D4).

import (
	"errors"
	"fmt"
	"os"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// Start is one start of a node.
type Start struct {
	ID       rpc.NodeID
	Instance rpc.InstanceID
	Boot     rpc.BootEpoch
}

// startsFile is what the file says.
type startsFile struct {
	Version int         `json:"version"`
	Starts  []startLine `json:"starts"`
}

type startLine struct {
	Node     string `json:"node"`
	Instance string `json:"instance"`
	Boot     uint64 `json:"boot"`
}

const (
	startsVersion = 1
	startsName    = "starts"
	startsSuspect = "starts.suspect"
)

// WriteStarts replaces the file, durably.
func (f *Folder) WriteStarts(list []Start) error {
	content := startsFile{Version: startsVersion}
	for _, who := range list {
		content.Starts = append(content.Starts, startLine{string(who.ID), who.Instance.String(), uint64(who.Boot)})
	}
	return f.writeLine(startsName, &content)
}

// loadStarts reads the file, or sets it aside if it is damaged, or cannot be read.
func (f *Folder) loadStarts() error {
	raw, err := f.readFile(startsName)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if wal.TooManyFiles(err) { // which says nothing of the file
		return fmt.Errorf("read the file %s: %w", startsName, err)
	}
	if err == nil {
		f.Starts, err = parseStarts(raw)
	}
	if err == nil {
		return nil
	}
	f.Lost = fmt.Errorf("the file %s was damaged, and is %s now: %w", startsName, startsSuspect, err)
	if err := f.fs.Rename(f.Path(startsName), f.Path(startsSuspect)); err != nil && !errors.Is(err, os.ErrNotExist) { // a failing disk does not even say that
		return err
	}
	return wal.SyncDir(f.fs, f.Dir)
}

func parseStarts(raw []byte) ([]Start, error) {
	var content startsFile
	if err := parseLine(raw, &content); err != nil {
		return nil, err
	}
	if content.Version != startsVersion {
		return nil, fmt.Errorf("version %d, this build reads %d", content.Version, startsVersion)
	}
	var list []Start
	for _, line := range content.Starts {
		instance, err := rpc.ParseInstance(line.Instance)
		if err != nil {
			return nil, err
		}
		list = append(list, Start{ID: rpc.NodeID(line.Node), Instance: instance, Boot: rpc.BootEpoch(line.Boot)})
	}
	return list, nil
}
