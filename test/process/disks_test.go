package process

// Disks that hang, are full, or give back other bits than they were given.

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/linear"
)

var flips = flag.Int("flips", 0, "how many bits TestBitFlipped flips; 0: not one")

// Every write and sync of the leader's disk hangs: another leads within 10 s, writes go on, the node is not elected while its disk
// hangs, and takes part again when it is well (L5, F22, K60, K61).
func TestDiskHangs(t *testing.T) {
	if !*traced {
		t.Skip("hangs a disk by strace: give -strace")
	}
	c := started(t, layout{nodes: 3})
	l := startLoad(c, 4, 20, 5*time.Millisecond)
	leader := c.leader()
	l.waitAck(time.Now(), 5*time.Second)
	began := time.Now()
	release := c.hang(leader)
	hung := time.Now()
	next := c.leader(leader)
	l.waitAck(time.Now(), 10*time.Second)
	gap := l.longestGap(began, time.Now())
	t.Logf("%s leads instead of %s %v after its disk hung; %v without an acknowledged write", next, leader, rounded(time.Since(hung)), rounded(gap))
	require.Less(t, gap, 10*time.Second)

	c.signal(next, syscall.SIGSTOP) // now only the hung node and one other could lead, so nobody may
	require.Never(t, func() bool {
		s, ok := c.statuses()[leader]
		return ok && s.Role == "leader"
	}, 5*time.Second, 100*time.Millisecond, "a node was elected while its disk hangs")
	c.signal(next, syscall.SIGCONT)
	l.waitAck(time.Now(), 10*time.Second)

	release()
	c.converged(time.Minute)
	c.command("leader", "transfer", "--to", leader)
	l.finish()
	c.checkStates()
}

// Every write and sync of a follower's disk hangs, for longer than a bulk connection may be held up: writes go on without it, nobody else is
// elected, and it comes back when its disk is well (F22).
func TestFollowersDiskHangs(t *testing.T) {
	if !*traced {
		t.Skip("hangs a disk by strace: give -strace")
	}
	c := started(t, layout{nodes: 3})
	l := startLoad(c, 1, 20, 0)
	leader := c.leader()
	l.waitAck(time.Now(), 5*time.Second)
	term, began := c.term(), time.Now()
	hung := c.followers(rand.New(rand.NewPCG(1, 1)), leader)[0]
	release := c.hang(hung)
	require.Never(t, func() bool { return c.term() > term }, 8*time.Second, 100*time.Millisecond, "a follower whose disk hangs caused an election")
	gap := l.longestGap(began, time.Now())
	t.Logf("%s hung: %v without an acknowledged write", hung, rounded(gap))
	require.Less(t, gap, 2*time.Second)
	release()
	c.converged(time.Minute)
	require.Equal(t, term, c.term())
	l.finish()
	c.checkStates()
}

// hang makes every write to a file and every sync of a running node take longer than the test.
func (c *cluster) hang(id string) (release func()) {
	pid := strconv.Itoa(c.nodes[id].cmd.Process.Pid)
	tracer := run(c.t, nil, nil, "strace", "-f", "-p", pid, "-e", "trace=pwrite64,fsync,fdatasync",
		"-e", "inject=pwrite64,fsync,fdatasync:delay_enter=300000000", "-o", "/dev/null")
	tracer.logged(c.t, 10*time.Second, "attached")
	return func() {
		tracer.signal(c.t, syscall.SIGTERM) // it lets go of the node
		<-tracer.done
	}
}

// The leader's disk fills up: it hands leadership to a node with room, and writes go on. Then another's: writes are refused as full, though the
// leader has room, and reads go on. So it is when all disks are full. In the end all have room again. Nothing is lost (F21).
func TestDiskFull(t *testing.T) {
	needNamespaces(t)
	c := newCluster(t, layout{nodes: 3})
	for _, id := range c.members {
		c.smallDisk(id)
	}
	c.startAll()
	leader := c.leader()
	c.addBucket("app")
	l := startLoad(c, 4, 20, 5*time.Millisecond)
	l.waitAck(time.Now(), 5*time.Second)

	began := time.Now()
	empty := c.fill(leader)
	next := c.leader(leader)
	l.waitAck(time.Now(), 5*time.Second)
	require.True(t, c.status(leader).Disk.Full)
	t.Logf("%s is full, %s leads and takes writes; %v without", leader, next, rounded(l.longestGap(began, time.Now())))

	empties := []func(){empty}
	for _, id := range c.members {
		if id != leader && id != next {
			empties = append(empties, c.fill(id))
			c.refusedAsFull(leader, id)
		}
	}
	c.readable(l.acks())
	require.Equal(t, next, c.leader())
	require.False(t, c.status(next).Disk.Full)
	empties = append(empties, c.fill(next))
	c.refusedAsFull(c.members...)
	c.readable(l.acks())
	for _, empty := range empties {
		empty()
	}
	freed := time.Now()
	t.Logf("writes are back %v after there was room", rounded(l.waitAck(freed, 15*time.Second)))
	c.converged(time.Minute)
	t.Logf("errors that writers were told: %v", l.errors())
	l.finish()
	c.checkStates()
}

// A follower's disk fills up to the last byte, whatever the node does then: it stops at most, loses nothing, and takes part again
// once there is room (F21, D5).
func TestDiskFullToTheLastByte(t *testing.T) {
	needNamespaces(t)
	c := newCluster(t, layout{nodes: 3})
	id := c.members[1]
	c.smallDisk(id)
	c.startAll()
	c.leader()
	c.addBucket("app")
	l := startLoad(c, 4, 20, 5*time.Millisecond)
	l.waitAck(time.Now(), 5*time.Second)
	empty := c.fillUpTo(id, 0)
	began := time.Now()
	nc := c.connect()
	for time.Since(began) < 12*time.Second { // longer than a state waits for its flush
		_, _ = request(nc, time.Second, "raftbus.kv.put.app.bulk", bulk, nil)
	}
	t.Logf("with a full disk %s has ended: %v %v", id, c.nodes[id].ended(), c.nodes[id].err)
	require.Less(t, l.longestGap(began, time.Now()), worstGap)
	if c.nodes[id].ended() {
		require.Contains(t, c.nodes[id].log.String(), "no space left")
		empty()
		c.start(id)
	} else {
		empty()
	}
	c.converged(time.Minute)
	c.startsWhenThereIsRoom(id)
	l.finish()
	c.checkStates()
}

// startsWhenThereIsRoom has a node end, and start while there is no byte left on its disk: who starts it does so once.
func (c *cluster) startsWhenThereIsRoom(id string) {
	c.kill(id)
	empty := c.fillUpTo(id, 0)
	c.start(id).logged(c.t, 15*time.Second, "the start waits: the disk has no space left")
	empty()
	c.converged(time.Minute)
	require.Equal(c.t, 1, c.nodes[id].said("the start waits"))
}

// smallDisk gives a node that was not started a file system of its own.
func (c *cluster) smallDisk(id string) {
	require.NoError(c.t, os.MkdirAll(c.dirs[id], 0o700))
	mountSmall(c.t, c.dirs[id], diskBytes)
}

const (
	diskBytes = 128 << 20
	// scarceBytes is less than a node wants to have free for its state.
	scarceBytes = 20 << 20
)

// fill leaves so little room on a node's disk that it takes no more writes.
func (c *cluster) fill(id string) (empty func()) { return c.fillUpTo(id, scarceBytes) }

func (c *cluster) fillUpTo(id string, left int64) (empty func()) {
	ballast := filepath.Join(c.dirs[id], "ballast")
	f, err := os.Create(ballast)
	require.NoError(c.t, err)
	defer f.Close()
	block := make([]byte, 1<<16)
	for free(c.t, c.dirs[id]) > left {
		if _, err := f.Write(block); err != nil {
			require.ErrorIs(c.t, err, syscall.ENOSPC)
			break
		}
	}
	return func() { require.NoError(c.t, os.Remove(ballast)) }
}

func free(t *testing.T, dir string) int64 {
	var s syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &s))
	return int64(s.Bavail) * int64(s.Bsize)
}

// refusedAsFull waits until those nodes are full, and a write is refused for that.
func (c *cluster) refusedAsFull(full ...string) {
	require.Eventually(c.t, func() bool {
		all := c.statuses()
		return len(all) == len(c.members) && !slices.ContainsFunc(full, func(id string) bool { return !all[id].Disk.Full })
	}, 15*time.Second, 20*time.Millisecond, "a disk is not found full")
	nc := c.connect()
	defer nc.Close()
	require.Eventually(c.t, func() bool {
		r, err := request(nc, time.Second, "raftbus.kv.put.app.full", "", nil)
		return err == nil && r.Error != nil && r.Error.ErrCode == linear.CodeFull
	}, 15*time.Second, 20*time.Millisecond, "writes are taken although these disks are full: %v", full)
}

// readable requires that reads are answered, by whoever leads.
func (c *cluster) readable(acked []ack) {
	nc := c.connect()
	defer nc.Close()
	for _, a := range acked[max(0, len(acked)-20):] {
		require.NoError(c.t, readBack(nc, a))
	}
}

// One bit is flipped in a stopped node's log, or in its state: the node finds it and stops, saying where, or the leader repairs it;
// what it then answers as a leader is right, and no other node has it. Who stopped is replaced (D1-D4, F18, K50).
func TestBitFlipped(t *testing.T) {
	if *flips == 0 {
		t.Skip("give -flips")
	}
	t.Logf("-seed %d", *seed)
	c := started(t, layout{nodes: 3})
	r := c.random()
	l := startLoad(c, 4, 20, 5*time.Millisecond)
	l.waitAck(time.Now(), 5*time.Second)
	outcomes := map[string]int{}
	for i := range *flips {
		id := c.followers(r, "")[0]
		room := []string{"wal", "kv"}[i%2]
		if room == "wal" {
			c.kill(id) // its state is behind its log, so the log is needed
		} else {
			c.nodes[id].stop(t, 20*time.Second) // all is in the state
		}
		place := flipBit(t, r, filepath.Join(c.dirs[id], room))
		t.Logf("%s: %s", id, place)
		outcome := c.flipped(id, place, l)
		t.Logf("%s", outcome)
		outcomes[filepath.Base(filepath.Dir(place.path))+" "+outcome]++
	}
	l.finish()
	c.checkStates()
	t.Logf("%v", outcomes)
}

type flip struct {
	path   string
	offset int64
	bit    int
}

func (f flip) String() string {
	return fmt.Sprintf("%s at %d, bit %d", f.path[max(0, len(f.path)-30):], f.offset, f.bit)
}

// flipBit flips one bit of a file of a folder, each byte as likely as any other; of the log only where something was written.
func flipBit(t *testing.T, r *rand.Rand, dir string) flip {
	var total int64
	content := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if filepath.Ext(path) == ".wal" {
			raw = written(raw)
		}
		content[path] = raw
		total += int64(len(raw))
		return err
	}))
	at := r.Int64N(total)
	for _, path := range slices.Sorted(maps.Keys(content)) {
		if at >= int64(len(content[path])) {
			at -= int64(len(content[path]))
			continue
		}
		f := flip{path, at, r.IntN(8)}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = file.WriteAt([]byte{content[path][at] ^ 1<<f.bit}, at)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		return f
	}
	panic("no such byte")
}

// written is a segment up to its last sector that is no preallocation: of those each half is unlike all else, but the sector as a
// whole repeats one word.
func written(raw []byte) []byte {
	const sector = 512
	end := len(raw)
	for end > sector && bytes.Equal(raw[end-sector:end-8], raw[end-sector+8:end]) {
		end -= sector
	}
	return raw[:end]
}

// flipped starts a node with a flipped bit, and says what came of it, once it is well again.
func (c *cluster) flipped(id string, place flip, l *load) string {
	p := c.start(id)
	outcome := "harmless"
	require.Eventually(c.t, func() bool {
		s, ok := c.statuses()[id]
		return p.ended() || ok && s.Ready && s.Disk.Damaged == 0 && allLinked(s)
	}, 30*time.Second, 20*time.Millisecond, "%s is neither well nor ended:\n%s", id, p.log)
	if !p.ended() {
		if c.statuses()[id].Disk.Repaired > 0 {
			outcome = "repaired"
		}
		if p.said("damaged") > 0 && outcome == "harmless" {
			outcome = "forgotten, the state has it"
		}
		if c.answersRight(id, l) {
			if filepath.Ext(place.path) != ".wal" {
				c.replaceWiped(id) // what is damaged may be read yet: the next flip would be the second node that is lost
			}
			return outcome
		}
		outcome = "found when read: "
	} else {
		outcome = "found at the start: "
	}
	said := p.log.String()
	require.Contains(c.t, said, strings.TrimSuffix(filepath.Base(place.path), ".sst"), "%s does not say what is damaged", id)
	if filepath.Ext(place.path) == ".wal" {
		require.Contains(c.t, said, "is damaged at offset")
	}
	c.replaceWiped(id)
	return outcome + "replaced"
}

// answersRight has a node lead and reads all that was acknowledged. It reports false if the node ends, or says that it can not read:
// a wrong answer fails the test.
func (c *cluster) answersRight(id string, l *load) bool {
	if _, err := c.try("leader", "transfer", "--to", id); err != nil && c.nodes[id].ended() {
		return false
	}
	nc := c.connect()
	defer nc.Close()
	for _, a := range l.acks() {
		r, err := request(nc, time.Second, "raftbus.kv.get.app."+a.key, "", nil)
		switch {
		case c.nodes[id].ended():
			return false
		case err == nil && r.Error != nil && r.Error.ErrCode == linear.CodeReadFailed:
			c.t.Logf("%s answers: %s", id, r.Error.Text)
			read := time.Now()
			require.Eventually(c.t, c.nodes[id].ended, 25*time.Second, 5*time.Millisecond, "%s goes on with a damaged file", id)
			c.t.Logf("%s has ended %v after it", id, rounded(time.Since(read)))
			return false
		case err == nil && r.Error == nil:
			require.Equal(c.t, a.key, r.Value, "a damaged value was served")
		case err == nil:
			require.Fail(c.t, "an acknowledged key is missing", "%s: %+v", a.key, *r.Error)
		}
	}
	return c.nodes[id].said("node stops") == 0
}
