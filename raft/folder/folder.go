package folder

// The data folder: who may use it, whose it is, and how often it was started.

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/snapfile"
	"github.com/raftbus/raftbus/raft/wal"
)

// Folder is a node's data directory, held by one process at a time:
//
//	LOCK       locked while a process uses the folder (F13)
//	identity   whose folder this is, its random instance id, and how often it was started
//	starts     the newest start of each peer that this node has proof of (starts.go)
//	wal/       the log (raft/wal); wal.before-*: that of a cluster which this folder went on from (succession.go)
//	kv/        the state machine
//	snapshot/  what a leader sends of its state: incoming, while it comes; complete, until it is the state machine's own;
//	           suspect, the last that was found damaged
//
// The identity is one line of JSON and one with its CRC32C, replaced as a whole at each start: written under another name,
// synced, renamed, and the directory synced (K33, K54). So is the file of starts.
type Folder struct {
	Dir      string
	Instance rpc.InstanceID
	Boot     rpc.BootEpoch
	Earlier  []rpc.BootEpoch // starts before this one, the last of them, rising
	Starts   []Start         // the newest start of each peer, as known when the folder was opened: for the bus
	Lost     error           // why those are not known, if their file is damaged; it was set aside
	ident    identity
	lock     io.Closer
	fs       vfs.FS
	random   io.Reader
	succeeds bool // opened for a succession
}

// ErrInUse: another process, or another node of this one, holds the data folder.
var ErrInUse = errors.New("the data folder is in use by another node: stop it, or choose another folder")

// ErrOtherNode: the data folder is of another node id.
var ErrOtherNode = errors.New("it belongs to node")

// identity is what the file of that name says.
type identity struct {
	Version  int    `json:"version"` // set when it is written
	Node     string `json:"node"`
	Instance string `json:"instance"`
	Starts   uint32 `json:"starts"`
	// Boots are the epochs of the last starts, rising: by them others tell this folder from an old copy of it (F23).
	Boots []rpc.BootEpoch `json:"boots,omitempty"`
	// Begun says that the node has a part in consensus, and so a log that holds at least its table.
	Begun bool `json:"begun,omitempty"`
	// Successions are the clusters that this folder went on from, the latest last (succession.go), Unfinished one that is being made.
	Successions []Succession `json:"successions,omitempty"`
	Unfinished  *Succession  `json:"unfinished,omitempty"`
}

// identityVersion is what this build reads, with those before it. Version 2 has successions: a build that knows none would erase them, and with them the
// mark that the folder is half made (F28). What has none is written as version 1, so that the folder can go back to such a build.
const identityVersion = 2

func (i *identity) version() int {
	if i.Unfinished != nil || len(i.Successions) > 0 {
		return identityVersion
	}
	return 1
}

// bootsMax is how many starts the identity keeps. A member that was away for more of them cannot tell an old copy.
const bootsMax = 64

// Open takes hold of a node's data directory, makes it if there is none, and counts the start. It refuses a folder
// that is in use, belongs to another node, or has lost its identity: a node must never come back as somebody else (D3).
func Open(fs vfs.FS, dir string, id rpc.NodeID) (*Folder, error) {
	return OpenFrom(fs, dir, id, rand.Reader)
}

// OpenFrom is Open with another source of the random instance id and boot nonce, so that a simulated run can be
// replayed. In production nothing but crypto/rand will do: two folders must never come to the same.
func OpenFrom(fs vfs.FS, dir string, id rpc.NodeID, random io.Reader) (*Folder, error) {
	return open(&Folder{Dir: dir, fs: fs, random: random}, id)
}

func open(f *Folder, id rpc.NodeID) (*Folder, error) {
	fs, dir := f.fs, f.Dir
	if err := wal.MakeDir(fs, dir); err != nil {
		return nil, fmt.Errorf("data folder %s: %w: make it for this user, or choose another", dir, err)
	}
	lock, err := fs.Lock(fs.PathJoin(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, lockError(err))
	}
	f.lock = lock
	if err := f.start(id); err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s: %w", dir, err), lock.Close())
	}
	return f, nil
}

// heldHere is how vfs.Default says that this process has the lock, which no value tells.
const heldHere = "lock held by current process"

// lockError tells a folder that another holds from one whose LOCK cannot be opened at all, as on a disk mounted read-only, or not be locked, as on a file
// system that has no locks just now: there is nobody to stop then.
func lockError(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("it is a file: choose a folder: %w", err)
	}
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return fmt.Errorf("its LOCK cannot be written: see that the disk is mounted for writing, and the folder is this user's: %w", err)
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), heldHere) {
		return fmt.Errorf("%w (%v)", ErrInUse, err)
	}
	return fmt.Errorf("its LOCK cannot be locked: see that the file system has locks, and serves them: %w", err)
}

// Close lets go of the folder.
func (f *Folder) Close() error { return f.lock.Close() }

// Path is the path of something in the folder.
func (f *Folder) Path(name string) string { return f.fs.PathJoin(f.Dir, name) }

// Snapshots is the place of received snapshots.
func (f *Folder) Snapshots() *snapfile.Dir { return &snapfile.Dir{FS: f.fs, Root: f.Path("snapshot")} }

// Received is how many bytes of the disk snapshots have that came: where they lack room to be installed, they go.
func (f *Folder) Received() (bytes int64) {
	for _, name := range []string{snapfile.Complete, snapfile.Incoming} {
		if file, err := f.fs.Stat(f.Snapshots().Path(name)); err == nil {
			bytes += file.Size()
		}
	}
	return bytes
}

// OpenLog opens the folder's log. Where the node had a part in consensus it makes none in the place of one that is gone: that is to be put back (D3).
func (f *Folder) OpenLog(o wal.Options) (*wal.Log, error) {
	o.MustExist = f.Begun()
	log, err := wal.Open(f.fs, f.Path("wal"), o)
	if errors.Is(err, wal.ErrNoLog) {
		return nil, f.LostLog()
	}
	return log, err
}

// LostLog says that there is none where the node had one.
func (f *Folder) LostLog() error { return &lostLog{dir: f.Dir, id: rpc.NodeID(f.ident.Node)} }

// lostLog is a wal.Unreadable.
type lostLog struct {
	dir string
	id  rpc.NodeID
}

func (e *lostLog) Error() string { return e.Cause() + ": put it back, or " + Anew(e.id) }

// Cause implements wal.Unreadable.
func (e *lostLog) Cause() string {
	return fmt.Sprintf("the log of data folder %s is gone, and with it the votes and entries it held", e.dir)
}

// Anew is how a member goes on whose folder is of no use any more.
func Anew(id rpc.NodeID) string {
	return fmt.Sprintf("give %s an empty folder, start it with --join, then raftbus member replace %s", id, id)
}

// Begun reports whether the node of this folder ever had a part in consensus.
func (f *Folder) Begun() bool { return f.ident.Begun }

// Begin records that the node has a part in consensus from now on: a folder that then comes without a log has lost it, and
// with it the votes that were given (D3).
func (f *Folder) Begin() error {
	if f.ident.Begun {
		return nil
	}
	f.ident.Begun = true
	return f.write(&f.ident)
}

// start reads the identity, or makes one in an empty folder, and writes it back with one more start.
func (f *Folder) start(id rpc.NodeID) error {
	ident, err := f.read()
	switch {
	case errors.Is(err, os.ErrNotExist):
		ident, err = f.fresh(id)
	case err == nil && ident.Node != string(id):
		err = fmt.Errorf("%w %s, not %s: start with --id %s, or choose another folder", ErrOtherNode, ident.Node, id, ident.Node)
	}
	if err == nil && !f.succeeds {
		err = ident.unfinished()
	}
	if err != nil {
		return err
	}
	if err := f.take(ident); err != nil {
		return err
	}
	f.ident = *ident
	if err := f.write(ident); err != nil {
		return err
	}
	return f.loadStarts()
}

// take sets the folder's fields, with one more start.
func (f *Folder) take(ident *identity) error {
	ident.Starts++
	instance, err := rpc.ParseInstance(ident.Instance)
	if err != nil {
		return fmt.Errorf("the identity's %w: put the file back from where the folder came from", err)
	}
	f.Instance = instance
	var nonce [4]byte
	if _, err := io.ReadFull(f.random, nonce[:]); err != nil {
		return err
	}
	f.Boot = rpc.BootEpoch(uint64(ident.Starts)<<32 | uint64(binary.LittleEndian.Uint32(nonce[:])))
	f.Earlier = ident.Boots
	ident.Boots = append(slices.Clone(ident.Boots[max(0, len(ident.Boots)-bootsMax+1):]), f.Boot)
	return nil
}

// fresh is the identity of a new folder. A folder with data but no identity is not new: it has lost it.
func (f *Folder) fresh(id rpc.NodeID) (*identity, error) {
	list, err := f.fs.List(f.Dir)
	if err != nil {
		return nil, err
	}
	for _, name := range list {
		if name == "wal" || name == "kv" {
			return nil, fmt.Errorf("it holds %s/ but no identity file: put the file back, or %s", name, Anew(id))
		}
	}
	var instance rpc.InstanceID
	if _, err := io.ReadFull(f.random, instance[:]); err != nil {
		return nil, err
	}
	return &identity{Node: string(id), Instance: instance.String()}, nil
}

func (f *Folder) read() (*identity, error) {
	raw, err := f.readFile("identity")
	if err != nil {
		return nil, err
	}
	return parseIdentity(raw)
}

// smallFileBytesMax bounds the files of one line.
const smallFileBytesMax = 64 << 10

func (f *Folder) readFile(name string) ([]byte, error) {
	file, err := f.fs.Open(f.Path(name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, smallFileBytesMax))
}

func parseIdentity(raw []byte) (*identity, error) {
	var ident identity
	if err := parseLine(raw, &ident); err != nil {
		return nil, fmt.Errorf("the identity file is damaged (%w): put it back from a copy; do not delete it, the node would come back as another. Without a copy give the node an empty folder, start it with --join, then raftbus member replace, with its id", err)
	}
	if ident.Version < 1 || ident.Version > identityVersion {
		return nil, fmt.Errorf("the identity file is of version %d, this build reads 1 to %d: run the version that wrote it, or a later one", ident.Version, identityVersion)
	}
	return &ident, nil
}

// parseLine takes what writeLine wrote. It checks the sum before it believes a word of it (D1).
func parseLine(raw []byte, into any) error {
	const tail = len("\n00000000\n")
	if len(raw) < tail {
		return errors.New("too short")
	}
	line := raw[:len(raw)-tail]
	if sum := fmt.Sprintf("\n%08x\n", crc32.Checksum(line, castagnoli)); string(raw[len(line):]) != sum {
		return errors.New("its checksum does not fit")
	}
	return json.Unmarshal(line, into)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *Folder) write(ident *identity) error {
	ident.Version = ident.version()
	return f.writeLine("identity", ident)
}

// writeLine replaces a file of one line as a whole, durably.
func (f *Folder) writeLine(name string, content any) error {
	line, err := json.Marshal(content)
	if err != nil {
		return err
	}
	temp := f.Path(name + ".tmp")
	file, err := f.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "%s\n%08x\n", line, crc32.Checksum(line, castagnoli))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write the file %s: %w", name, err)
	}
	if err := f.fs.Rename(temp, f.Path(name)); err != nil {
		return err
	}
	return wal.SyncDir(f.fs, f.Dir)
}
