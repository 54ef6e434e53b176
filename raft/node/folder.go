package node

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft/rpc"
)

// Folder is a node's data directory, held by one process at a time:
//
//	LOCK       locked while a process uses the folder (F13)
//	identity   whose folder this is, its random instance id, and how often it was started
//	wal/       the log (raft/wal)
//	kv/        the state machine
//
// The identity is one line of JSON and one with its CRC32C, replaced as a whole at each start: written under another name,
// synced, renamed, and the directory synced (K33, K54).
type Folder struct {
	Dir      string
	Instance rpc.InstanceID
	Boot     rpc.BootEpoch
	ident    identity
	lock     io.Closer
	fs       vfs.FS
}

// ErrFolderInUse: another process, or another node of this one, holds the data folder.
var ErrFolderInUse = errors.New("the data folder is in use by another node: stop it, or choose another folder")

// identity is what the file of that name says.
type identity struct {
	Version  int    `json:"version"`
	Node     string `json:"node"`
	Instance string `json:"instance"`
	Starts   uint32 `json:"starts"`
	// Begun says that the node has a part in consensus, and so a log that holds at least its table.
	Begun bool `json:"begun,omitempty"`
}

const identityVersion = 1

// OpenFolder takes hold of a node's data directory, makes it if there is none, and counts the start. It refuses a folder
// that is in use, belongs to another node, or has lost its identity: a node must never come back as somebody else (D3).
func OpenFolder(fs vfs.FS, dir string, id rpc.NodeID) (*Folder, error) {
	if err := makeDir(fs, dir); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, err)
	}
	lock, err := fs.Lock(fs.PathJoin(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", dir, lockError(err))
	}
	f := &Folder{Dir: dir, fs: fs, lock: lock}
	if err := f.start(id); err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s: %w", dir, err), lock.Close())
	}
	return f, nil
}

// lockError tells a folder that another holds from one whose LOCK cannot be opened at all, as on a disk mounted read-only:
// there is nobody to stop then.
func lockError(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return fmt.Errorf("its LOCK cannot be written: see that the disk is mounted for writing, and the folder is this user's: %w", err)
	}
	return fmt.Errorf("%w (%v)", ErrFolderInUse, err)
}

// Close lets go of the folder.
func (f *Folder) Close() error { return f.lock.Close() }

// Path is the path of something in the folder.
func (f *Folder) Path(name string) string { return f.fs.PathJoin(f.Dir, name) }

// begun reports whether the node of this folder ever had a part in consensus.
func (f *Folder) begun() bool { return f.ident.Begun }

// begin records that the node has a part in consensus from now on: a folder that then comes without a log has lost it, and
// with it the votes that were given (D3).
func (f *Folder) begin() error {
	if f.ident.Begun {
		return nil
	}
	f.ident.Begun = true
	return f.write(&f.ident)
}

// makeDir makes a directory of mode 0700 (Q13), with those it is in, and makes the names of new ones durable (K54). Its own
// name always: a process that made it may have been killed before it did.
func makeDir(fs vfs.FS, dir string) error {
	changed := []string{fs.PathDir(dir)}
	for at := changed[0]; fs.PathDir(at) != at; at = fs.PathDir(at) {
		if _, err := fs.Stat(at); err == nil {
			break
		}
		changed = append(changed, fs.PathDir(at))
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range changed {
		if err := syncDir(fs, parent); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// start reads the identity, or makes one in an empty folder, and writes it back with one more start.
func (f *Folder) start(id rpc.NodeID) error {
	ident, err := f.read()
	switch {
	case errors.Is(err, os.ErrNotExist):
		ident, err = f.fresh(id)
	case err == nil && ident.Node != string(id):
		err = fmt.Errorf("it belongs to node %s, not %s: start with --id %s, or choose another folder", ident.Node, id, ident.Node)
	}
	if err != nil {
		return err
	}
	if err := f.take(ident); err != nil {
		return err
	}
	f.ident = *ident
	return f.write(ident)
}

// take sets the folder's fields, with one more start.
func (f *Folder) take(ident *identity) error {
	ident.Starts++
	raw, err := hex.DecodeString(ident.Instance)
	if err != nil || len(raw) != len(f.Instance) {
		return fmt.Errorf("the identity's instance %q is not 16 bytes in hexadecimal: put the file back from where the folder came from", ident.Instance)
	}
	copy(f.Instance[:], raw)
	var nonce [4]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	f.Boot = rpc.BootEpoch(uint64(ident.Starts)<<32 | uint64(binary.LittleEndian.Uint32(nonce[:])))
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
			return nil, fmt.Errorf("it holds %s/ but no identity file: put the file back, or give the node an empty folder and replace the member", name)
		}
	}
	var instance rpc.InstanceID
	_, _ = rand.Read(instance[:]) // never fails (crypto/rand)
	return &identity{Version: identityVersion, Node: string(id), Instance: instance.String()}, nil
}

func (f *Folder) read() (*identity, error) {
	file, err := f.fs.Open(f.Path("identity"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		return nil, err
	}
	return parseIdentity(raw)
}

// parseIdentity checks the file's sum before it believes a word of it (D1).
func parseIdentity(raw []byte) (*identity, error) {
	damaged := func(what string) error {
		return fmt.Errorf("the identity file is damaged (%s): put it back from a copy; do not delete it, the node would come back as another", what)
	}
	const tail = len("\n00000000\n")
	if len(raw) < tail {
		return nil, damaged("too short")
	}
	line := raw[:len(raw)-tail]
	if sum := fmt.Sprintf("\n%08x\n", crc32.Checksum(line, castagnoli)); string(raw[len(line):]) != sum {
		return nil, damaged("its checksum does not fit")
	}
	var ident identity
	if err := json.Unmarshal(line, &ident); err != nil {
		return nil, damaged(err.Error())
	}
	if ident.Version != identityVersion {
		return nil, fmt.Errorf("the identity file is of version %d, this build reads %d: run the version that wrote it, or a later one", ident.Version, identityVersion)
	}
	return &ident, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *Folder) write(ident *identity) error {
	line, err := json.Marshal(ident)
	if err != nil {
		return err
	}
	temp := f.Path("identity.tmp")
	file, err := f.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "%s\n%08x\n", line, crc32.Checksum(line, castagnoli))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write the identity: %w", err)
	}
	if err := f.fs.Rename(temp, f.Path("identity")); err != nil {
		return err
	}
	return syncDir(f.fs, f.Dir)
}
