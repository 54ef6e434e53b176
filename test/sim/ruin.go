package sim

// Faults after which a node's data is not what it was: F18, F23. Safety is promised with such faults on up to f of 2f+1 voters,
// so no more are ruined at a time.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/raftbus/raftbus/kv/store/memengine"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// What is wrong with a node's data.
const (
	rotten = "rotten"      // bytes of its log have changed, and it may not come back with it
	lossy  = "lossy"       // what an entry of its log said is lost: it counts again once a leader has given it again
	wiped  = "wiped"       // its folder is gone
	old    = "an old copy" // of its folder was put back
)

// backup is a copy of a node's disks.
type backup struct {
	disk     *disk
	memory   *memengine.Memory
	instance rpc.InstanceID
	start    uint32            // the newest one that it knows of
	conf     rpc.Configuration // in force by its log
}

// spares reports whether every configuration that may be in force has a majority left if this node is ruined too.
func (w *world) spares(n *node) bool {
	return !slices.ContainsFunc(w.configurations(), func(conf *rpc.Configuration) bool {
		return slices.ContainsFunc(setsOf(conf), func(set []rpc.Member) bool { return !w.enough(set, conf.Learners, n) })
	})
}

// enough reports whether the sound ones among some voters are a majority, also when learners become voters, as they do by themselves:
// the unsound ones first. One node counts as ruined already; nil: none does.
func (w *world) enough(voters, learners []rpc.Member, ruined *node) bool {
	all, sound := 0, 0
	for i, m := range slices.Concat(voters, learners) {
		n := w.nodes[m.ID]
		switch {
		case n != ruined && n.sound(m):
			if i < len(voters) {
				all, sound = all+1, sound+1
			}
		default:
			all++
		}
	}
	return 2*sound > all
}

// forget has the mirror begin anew. What the lost disk held is remembered: a leader that was told so may count on it, since a
// lost disk is one of the f that a commit survives.
func (n *node) forget() {
	n.past = append(n.past, n.mirror)
	n.mirror, n.kept, n.conf, n.onDisk = mirror{}, 0, nil, nil
}

// held reports whether the disk of an instance holds what is committed up to an index, or did before it was lost.
func (n *node) held(instance rpc.InstanceID, upTo rpc.Index) bool {
	if m := &n.mirror; m.instance == instance && m.matched >= upTo {
		return true
	}
	for i := range n.past {
		if m := &n.past[i]; m.instance == instance && (m.matched >= upTo || m.term(upTo) == n.world.watch.at(upTo).term) {
			return true
		}
	}
	return false
}

// sound reports whether a node has the data that a member is known by.
func (n *node) sound(m rpc.Member) bool { return n.ruined == "" && n.mirror.instance == m.Instance }

// ruin damages a node's data, or takes a copy of it to be put back later.
func (f *faults) ruin(k kind, n *node, d time.Duration, r *rand.Rand) string {
	w := f.world
	joint, learner := n.ruined == "" && w.changing(isJoint), n.ruined == "" && w.changing(hasLearner)
	defer func() {
		gone := n.ruined != "" && n.ruined != lossy
		w.reach.note(diskLostInJoint, joint && gone)
		w.reach.note(diskLostBesideLearner, learner && gone)
	}()
	if k == kindBackup && !w.refused(n) {
		if p := n.process; p != nil && (n.backup == nil || r.IntN(3) == 0) {
			n.backup = &backup{n.disk.copyOf(), n.memory.Crash(), p.folder.Instance, p.folder.Boot.Count(), p.status.Configuration}
		}
		return "copy of " + string(n.id)
	}
	if k == kindWipe {
		return f.wipe(n, d, r)
	}
	if n.ruined != "" || n == w.keeper || w.watch.last() == 0 || !w.spares(n) {
		return "nobody"
	}
	switch k {
	case kindRot:
		return fmt.Sprintf("%s: %s", n.id, f.rot(n, d, r))
	case kindBackup:
		n.crash(loseNone, 0)
		n.ruined, n.oldConf = old, n.backup.conf
		w.reach.note(oldCopyRuns, true)
		n.disk, n.memory, n.backup = n.backup.disk, n.backup.memory, nil
		n.forget()
	}
	w.after(d, n.restart)
	return string(n.id) + " is " + n.ruined
}

// wipe takes a node's disk away, and starts it anew.
func (f *faults) wipe(n *node, d time.Duration, r *rand.Rand) string {
	w := f.world
	if !w.mayWipe(n) {
		return "nobody"
	}
	w.flags(n, r)
	lost := w.counts(n)
	if n.wipe(); lost {
		n.ruined = wiped
	}
	w.after(d, n.restart)
	return fmt.Sprintf("%s is wiped, to join: %v", n.id, n.join)
}

// rot changes bytes at rest: what an entry says, mostly, or anything of the log, or a snapshot that is being received.
func (f *faults) rot(n *node, d time.Duration, r *rand.Rand) string {
	if n.process != nil && r.IntN(5) > 0 {
		what := n.loseEntry(r)
		if r.IntN(3) > 0 { // and so that it is found soon
			n.crash(loseNone, 0)
			f.world.after(d, n.restart)
		}
		return what
	}
	files := n.disk.files("data/wal")
	if r.IntN(4) == 0 {
		files = n.disk.files("data/snapshot")
	}
	if len(files) == 0 {
		return "nothing"
	}
	name := files[r.IntN(len(files))]
	if strings.HasPrefix(name, "data/wal/") {
		n.ruined = rotten
	} else {
		n.spoilt = true // it stops if it has that for whole, and gets another
	}
	return name + ": " + n.disk.names[name].rot(r)
}

// loseEntry flips a bit of what an entry of the log says, wherever on the disk that is.
func (n *node) loseEntry(r *rand.Rand) string {
	log := n.process.log
	st := log.State(group)
	if st.Last.Index == st.Base.ID.Index {
		return "nothing"
	}
	last := uint64(st.Last.Index - st.Base.ID.Index)
	i := st.Last.Index - rpc.Index(r.Uint64N(pick(r, last, min(last, 20)))) // the state has mostly made older ones dispensable
	list, err := log.Entries(group, i, i+1, 1)
	if err != nil || len(list) == 0 || list[0].Kind != rpc.EntryCommand {
		return "nothing"
	}
	for _, name := range n.disk.files("data/wal") {
		data := n.disk.names[name].data
		for from := 0; ; {
			at := bytes.Index(data[from:], list[0].Data)
			if at < 0 {
				break
			}
			data[from+at+r.IntN(len(list[0].Data))] ^= 1 << r.IntN(8)
			n.ruined, n.looked = lossy, false
			n.world.reach.note(twoLost, slices.ContainsFunc(n.world.list, func(o *node) bool { return o != n && o.ruined == lossy }))
			from += at + 1
		}
	}
	return fmt.Sprintf("what entry %v says", list[0].ID())
}

// mended notes that a log with a lost entry has been looked through since, and has nothing left that is lost.
func (n *node) mended() {
	if n.ruined == lossy && n.looked && len(n.mirror.Damaged) == 0 {
		n.ruined = ""
		n.world.reach.note(lostRepaired, true)
	}
}

// refused reports whether the copy of a node's folder is an old one for all other nodes that have a log, for certain, by their own
// disks. Nothing is promised of copies that others have not heard of (BUGS.md, S2).
func (w *world) refused(n *node) bool {
	b := n.backup
	if b == nil || n.mirror.instance != b.instance {
		return false
	}
	return !w.oldElect(n) && !slices.ContainsFunc(w.list, func(other *node) bool {
		return other != n && other.mirror.known && other.disk.keptStart(rpc.Member{ID: n.id, Instance: b.instance}) <= b.start
	})
}

// oldElect reports whether old copies would be a quorum by themselves, with that of a node among them, by a configuration that one of
// them has: whom they do not reach cannot keep them from electing one of them (BUGS.md, S16).
func (w *world) oldElect(n *node) bool {
	isOld := func(m rpc.Member) bool { return m.ID == n.id || w.nodes[m.ID] != nil && w.nodes[m.ID].ruined == old }
	return majorities(&n.backup.conf, isOld) || slices.ContainsFunc(w.list, func(other *node) bool {
		return other.ruined == old && majorities(&other.oldConf, isOld)
	})
}

// keptStart is the newest start of a peer that a disk remembers, as package node writes it down.
func (d *disk) keptStart(m rpc.Member) uint32 {
	file := d.durable["data/starts"]
	if file == nil || len(file.unsynced)+len(file.lost) > 0 {
		return 0
	}
	var content struct {
		Starts []struct {
			Node, Instance string
			Boot           rpc.BootEpoch
		}
	}
	end := bytes.LastIndexByte(file.data, '}')
	if json.Unmarshal(file.data[:end+1], &content) != nil {
		return 0
	}
	for _, s := range content.Starts {
		if s.Node == string(m.ID) && s.Instance == m.Instance.String() {
			return s.Boot.Count()
		}
	}
	return 0
}

// expected reports whether a process may stop for that reason.
func expected(n *node, err error) bool {
	var corrupt *wal.CorruptError
	return errors.Is(err, errPowerCut) ||
		n.disk.failed && (errors.Is(err, syscall.EIO) || errors.Is(err, wal.ErrFailed)) ||
		n.disk.full && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, wal.ErrFull)) ||
		(n.ruined == rotten || n.ruined == lossy) && errors.As(err, &corrupt) ||
		n.spoilt && strings.Contains(err.Error(), "the snapshot's file is damaged")
}
