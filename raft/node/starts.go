package node

// The newest start of each peer that the bus has proof of, kept in the data folder: so that an old backup of a peer's folder is
// refused also by nodes that were started anew since (F23). No promise of consensus rests on it. So a file that is damaged, or cannot be read, is set
// aside (D4), and one that cannot be written, on a full disk, is tried again with the next news.

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// startsMax bounds what is kept in memory, as the bus does; in the file are members only.
const startsMax = 256

// starts is what is known. Safe for use by several goroutines, but for what the loop owns.
type starts struct {
	mu     sync.Mutex
	newest map[rpc.Member]rpc.BootEpoch

	kept    []busclient.Identity // owned by the loop: in the file, or being written
	writing bool                 // owned by the loop
}

// known takes what earlier lives of this node have kept.
func (s *starts) known(list []busclient.Identity) {
	s.kept = list
	for _, who := range list {
		s.note(who)
	}
}

// note takes a start, and reports whether it is news.
func (s *starts) note(who busclient.Identity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		s.newest = map[rpc.Member]rpc.BootEpoch{}
	}
	m := rpc.Member{ID: who.ID, Instance: who.Instance}
	newest, known := s.newest[m]
	if known && who.Boot.Count() <= newest.Count() || !known && len(s.newest) >= startsMax {
		return false
	}
	s.newest[m] = who.Boot
	return true
}

// of are the starts of those that counts says yes to, in order of id. The others are forgotten before there is no room for them: members that
// left, or whose configuration this node has not heard of yet.
func (s *starts) of(counts func(rpc.Member) bool) []busclient.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []busclient.Identity{}
	for m, boot := range s.newest {
		if counts(m) {
			list = append(list, busclient.Identity{ID: m.ID, Instance: m.Instance, Boot: boot})
		}
	}
	if len(s.newest) >= startsMax/2 {
		maps.DeleteFunc(s.newest, func(m rpc.Member, _ rpc.BootEpoch) bool { return !counts(m) })
	}
	slices.SortFunc(list, func(a, b busclient.Identity) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), slices.Compare(a.Instance[:], b.Instance[:]))
	})
	return list
}

// keepStarts has the members' starts written down, off the loop, if they are not what the file says.
func (n *Node) keepStarts() {
	s := &n.starts
	if n.core == nil || n.over || s.writing {
		return
	}
	inForce, committed := n.core.Membership().Configuration, n.core.Committed()
	list := s.of(func(m rpc.Member) bool {
		return isMember(&inForce, m) || isMember(&committed, m) || n.learned != nil && isMember(n.learned, m)
	})
	if slices.Equal(list, s.kept) {
		return
	}
	s.writing, s.kept = true, list
	n.compact.do(func() error {
		err := n.o.Folder.writeStarts(list)
		if err != nil {
			n.logger.Warn("the newest starts of the peers could not be kept: tried again with the next one", "err", err)
		}
		n.inbox.call(func() { n.startsKept(err) })
		return nil
	})
}

// startsKept: they are in the file, or not. There may be news meanwhile.
func (n *Node) startsKept(err error) {
	n.starts.writing = false
	if err != nil {
		n.starts.kept = nil
		return
	}
	n.keepStarts()
}

func isMember(c *rpc.Configuration, m rpc.Member) bool {
	found, ok := c.Member(m.ID)
	return ok && found == m
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

func (f *Folder) writeStarts(list []busclient.Identity) error {
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

func parseStarts(raw []byte) ([]busclient.Identity, error) {
	var content startsFile
	if err := parseLine(raw, &content); err != nil {
		return nil, err
	}
	if content.Version != startsVersion {
		return nil, fmt.Errorf("version %d, this build reads %d", content.Version, startsVersion)
	}
	var list []busclient.Identity
	for _, line := range content.Starts {
		instance, err := rpc.ParseInstance(line.Instance)
		if err != nil {
			return nil, err
		}
		list = append(list, busclient.Identity{ID: rpc.NodeID(line.Node), Instance: instance, Boot: rpc.BootEpoch(line.Boot)})
	}
	return list, nil
}
