package node

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// vault is a state machine on a disk: a list of the numbers it was given, and their sum. It writes all of it every so many entries.
type vault struct {
	sum
	fs      vfs.FS
	every   int
	unsaved int
	saved   rpc.Index
	list    []uint64
}

func openVault(fs vfs.FS, every int) (*vault, error) {
	v := &vault{fs: fs, every: every}
	file, err := fs.Open("vault")
	if os.IsNotExist(err) {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := v.load(file); err != nil {
		return nil, err
	}
	v.saved = v.applied.Index
	return v, nil
}

func (v *vault) load(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(raw) < 24 || len(raw) != 24+8*int(binary.LittleEndian.Uint64(raw[16:])) {
		return fmt.Errorf("%d bytes are no vault", len(raw))
	}
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(raw[8*i:]) }
	v.mu.Lock()
	defer v.mu.Unlock()
	v.applied = rpc.EntryID{Term: rpc.Term(number(0)), Index: rpc.Index(number(1))}
	v.list, v.total = nil, 0
	for i := range int(number(2)) {
		v.list = append(v.list, number(3+i))
		v.total += number(3 + i)
	}
	return nil
}

func (v *vault) bytes() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	var b []byte
	for _, n := range append([]uint64{uint64(v.applied.Term), uint64(v.applied.Index), uint64(len(v.list))}, v.list...) {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

func (v *vault) Apply(entries []rpc.Entry) ([]any, error) {
	results, err := v.sum.Apply(entries)
	v.mu.Lock()
	for _, e := range entries {
		if e.Kind == rpc.EntryCommand {
			v.list = append(v.list, binary.BigEndian.Uint64(e.Data))
		}
	}
	v.mu.Unlock()
	if v.unsaved += len(entries); v.unsaved >= v.every && err == nil {
		err = v.save()
	}
	return results, err
}

func (v *vault) save() error {
	file, err := v.fs.Create("vault.tmp", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := file.Write(v.bytes()); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := v.fs.Rename("vault.tmp", "vault"); err != nil {
		return err
	}
	if err := wal.SyncDir(v.fs, ""); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unsaved, v.saved = 0, v.applied.Index
	return nil
}

func (v *vault) Durable() rpc.Index { v.mu.Lock(); defer v.mu.Unlock(); return v.saved }

func (v *vault) Snapshot() (Snapshot, error) {
	return &vaultSnapshot{id: v.Applied(), raw: v.bytes()}, nil
}

// isFull is a file that says that the vault's disk has no room for another state.
const isFull = "full"

// Restore reads first, and replaces then.
func (v *vault) Restore(r io.Reader) error {
	if _, err := v.fs.Stat(isFull); err == nil {
		return fmt.Errorf("vault: %w", syscall.ENOSPC)
	}
	if err := v.load(r); err != nil {
		return err
	}
	return v.save()
}

type vaultSnapshot struct {
	id  rpc.EntryID
	raw []byte
}

func (s *vaultSnapshot) ID() rpc.EntryID { return s.id }
func (s *vaultSnapshot) Close() error    { return nil }

// WriteTo writes in small pieces, as a state machine may.
func (s *vaultSnapshot) WriteTo(w io.Writer) (int64, error) {
	written := int64(0)
	for piece := s.raw; len(piece) > 0; {
		n, err := w.Write(piece[:min(100, len(piece))])
		written += int64(n)
		if err != nil {
			return written, err
		}
		piece = piece[n:]
	}
	return written, nil
}
