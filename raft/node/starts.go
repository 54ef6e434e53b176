package node

// The newest start of each peer that the bus has proof of, kept in the data folder: so that an old backup of a peer's folder is
// refused also by nodes that were started anew since (F23). No promise of consensus rests on it. So a file that is damaged, or cannot be read, is set
// aside (D4), and one that cannot be written, on a full disk, is tried again with the next news.

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
)

// startsMax bounds what is kept in memory, as the bus does; in the file are members only.
const startsMax = 256

// starts is what is known. Safe for use by several goroutines, but for what the loop owns.
type starts struct {
	mu     sync.Mutex
	newest map[rpc.Member]rpc.BootEpoch

	kept    []folder.Start // owned by the loop: in the file, or being written
	writing bool           // owned by the loop
}

// known takes what earlier lives of this node have kept.
func (s *starts) known(list []folder.Start) {
	s.kept = list
	for _, who := range list {
		s.note(busclient.Identity(who))
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
func (s *starts) of(counts func(rpc.Member) bool) []folder.Start {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []folder.Start{}
	for m, boot := range s.newest {
		if counts(m) {
			list = append(list, folder.Start{ID: m.ID, Instance: m.Instance, Boot: boot})
		}
	}
	if len(s.newest) >= startsMax/2 {
		maps.DeleteFunc(s.newest, func(m rpc.Member, _ rpc.BootEpoch) bool { return !counts(m) })
	}
	slices.SortFunc(list, func(a, b folder.Start) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), slices.Compare(a.Instance[:], b.Instance[:]))
	})
	return list
}

// KnownStarts are the newest starts of peers that earlier lives of this node have kept: for the bus.
func (n *Node) KnownStarts() []busclient.Identity {
	var list []busclient.Identity
	for _, who := range n.o.Folder.Starts {
		list = append(list, busclient.Identity(who))
	}
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
		err := n.o.Folder.WriteStarts(list)
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
