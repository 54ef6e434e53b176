package busclient

// The newest start of each instance that this node has proof of. A start is proven by an answer to what this node itself
// asked, since that names a round and an inbox that nobody knew before: so neither a message that was held back nor one
// that somebody wrote in another's name can shut out the process that runs (Q10). What was proven outlives the table of
// members, and this process too if the owner keeps it (F23: an old backup put back while this node was down). A later start
// counts only if its folder knows the one that was proven before: an old copy that is put back counts its own starts on, and
// would else be as good as the folder it replaced once it was started often enough.

import (
	"maps"
	"slices"
	"sync"

	"github.com/raftbus/raftbus/raft/rpc"
)

// startsMax bounds what is remembered: before there is a table, a peer may come as one instance after the other. Once half of it is taken, those
// that are no members are forgotten when the table changes.
const startsMax = 256

// starts is what is known of all instances, members or not. Safe for use by several goroutines.
type starts struct {
	mu     sync.Mutex
	newest map[rpc.Member]rpc.BootEpoch
}

func newStarts(known []Identity) *starts {
	s := &starts{newest: map[rpc.Member]rpc.BootEpoch{}}
	for _, k := range known {
		s.note(k)
	}
	return s
}

// of returns the newest start of an instance; 0: none is known.
func (s *starts) of(m rpc.Member) rpc.BootEpoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest[m]
}

// note remembers a start if it is newer than what is known, and reports whether it was.
func (s *starts) note(who Identity) bool {
	m := rpc.Member{ID: who.ID, Instance: who.Instance}
	s.mu.Lock()
	defer s.mu.Unlock()
	newest, known := s.newest[m]
	if compare(who.Boot, newest) != unprovenStart || !known && len(s.newest) >= startsMax {
		return false
	}
	s.newest[m] = who.Boot
	return true
}

// makeRoom forgets those that are no members, before there is no room for members to come.
func (s *starts) makeRoom(members []rpc.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.newest) >= startsMax/2 {
		maps.DeleteFunc(s.newest, func(m rpc.Member, _ rpc.BootEpoch) bool { return !slices.Contains(members, m) })
	}
}

// forgot reports whether this node's data folder does not know a start of its own that a peer has proof of: it is an old copy
// then. Starts from before those that the folder keeps cannot be told any more.
func (s *Service) forgot(start rpc.BootEpoch) bool {
	oldest := s.self.Boot
	if len(s.earlier) > 0 {
		oldest = s.earlier[0]
	}
	return start != 0 && start != s.self.Boot && start.Count() >= oldest.Count() && !slices.Contains(s.earlier, start)
}

// list is what is known of the members of a configuration.
func (s *starts) list(conf *rpc.Configuration) (list []rpc.Start) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range slices.Concat(conf.Voters, conf.Learners) {
		if boot := s.newest[m]; boot != 0 && len(list) < rpc.MaxMembers {
			list = append(list, rpc.Start{ID: m.ID, Instance: m.Instance, Boot: boot})
		}
	}
	return list
}

// hearStarts takes what a member says of the starts of others, where this node has no proof of its own: it may be new, or its disk may be. What
// members know of old copies of each other's folders is not to be lost with a disk (F23; the simulator's S15). Where there is own proof nobody's
// word counts: the member may have believed an old copy.
func (s *Service) hearStarts(list []rpc.Start) {
	for _, known := range list {
		who := Identity{ID: known.ID, Instance: known.Instance, Boot: known.Boot}
		if s.starts.of(rpc.Member{ID: who.ID, Instance: who.Instance}) == 0 && who.ID != s.self.ID {
			s.believe(who)
		}
	}
}

// newestOf is the newest start of a peer that this node has proof of; 0: of none.
func (s *Service) newestOf(peer rpc.NodeID) rpc.BootEpoch {
	if r := s.roster.Load(); r != nil && r.members[peer] != nil {
		return rpc.BootEpoch(r.members[peer].boot.Load())
	}
	return 0
}

// believe takes note of a start that is proven.
func (s *Service) believe(who Identity) {
	if r := s.roster.Load(); r != nil {
		r.prove(who)
	}
	if s.starts.note(who) {
		s.owner.Booted(who)
	}
}
