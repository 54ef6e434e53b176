package library

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/raft/config"
	"github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/node"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// tally adds numbers up and lasts: one file has the sum and the last entry that is in it, so that both change together.
type tally struct {
	path string
	mu   sync.Mutex
	now  tallied
}

type tallied struct {
	sum  uint64
	last rpc.EntryID
}

const talliedBytes = 24

func (s tallied) bytes() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, talliedBytes), s.sum)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(s.last.Term)), uint64(s.last.Index))
}

func openTally(path string) (*tally, error) {
	t := &tally{path: path}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	} else if err != nil {
		return nil, err
	}
	defer file.Close()
	t.now, err = readTallied(file)
	return t, err
}

func readTallied(r io.Reader) (s tallied, err error) {
	b, err := io.ReadAll(r)
	if err != nil || len(b) != talliedBytes {
		return s, errors.Join(err, fmt.Errorf("%d bytes are no tally", len(b)))
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	return tallied{number(0), rpc.EntryID{Term: rpc.Term(number(1)), Index: rpc.Index(number(2))}}, nil
}

// become makes a state durable, and then lets it be seen. A crash leaves the old file or the new one.
func (t *tally) become(next tallied) error {
	file, err := vfs.Default.Create(t.path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(next.bytes())
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = vfs.Default.Rename(t.path+".new", t.path)
	}
	if err != nil {
		return err
	}
	dir, err := vfs.Default.OpenDir(filepath.Dir(t.path))
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = next
	return errors.Join(dir.Sync(), dir.Close())
}

func (t *tally) Apply(entries []rpc.Entry) ([]any, error) {
	next, results := t.state(), make([]any, len(entries))
	for i := range entries {
		if e := &entries[i]; e.Kind == rpc.EntryCommand {
			next.sum += binary.BigEndian.Uint64(e.Data)
			results[i] = next.sum
		}
	}
	next.last = entries[len(entries)-1].ID()
	return results, t.become(next)
}

func (t *tally) state() tallied {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

func (t *tally) Applied() rpc.EntryID             { return t.state().last }
func (t *tally) Durable() rpc.Index               { return t.state().last.Index } // each Apply syncs; the log need not be kept for longer
func (t *tally) Snapshot() (node.Snapshot, error) { return t.state(), nil }
func (t *tally) Close() error                     { return nil }

func (t *tally) Restore(r io.Reader) error {
	next, err := readTallied(r)
	if err != nil {
		return err
	}
	return t.become(next)
}

// A state is its own snapshot.
func (s tallied) ID() rpc.EntryID { return s.last }
func (s tallied) Close() error    { return nil }

func (s tallied) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s.bytes())
	return int64(n), err
}

// life is one life of a cluster of one node, from its start to its end.
func life(url, dir string, do func(n *node.Node, t *tally)) {
	conf, err := config.Validate(config.Config{NodeID: "n1", MemberIDs: []rpc.NodeID{"n1"}})
	check(err)
	data, err := folder.Open(vfs.Default, dir, "n1")
	check(err)
	log, err := wal.Open(vfs.Default, data.Path("wal"), wal.Options{})
	check(err)
	machine, err := openTally(data.Path("tally"))
	check(err)
	conns := map[busclient.Role]*busclient.Conn{}
	for _, role := range []busclient.Role{busclient.RoleControl, busclient.RoleBulk} {
		conns[role], err = busclient.Dial(context.Background(), busclient.ConnOptions{URLs: []string{url}, Prefix: conf.Prefix(), Node: "n1", Role: role})
		check(err)
	}
	n := node.New(node.Options{Config: conf, Folder: data, Log: log, Machine: machine, Logger: slog.New(slog.DiscardHandler)})
	bus, err := busclient.NewService(busclient.Options{
		Config: conf, Identity: busclient.Identity{ID: "n1", Instance: data.Instance, Boot: data.Boot},
		Control: conns[busclient.RoleControl], Bulk: conns[busclient.RoleBulk], Owner: n, PingContent: n.PingContent,
	})
	check(err)
	check(n.Start(bus))
	check(bus.Start(context.Background()))
	for !n.Status().Serving {
		time.Sleep(time.Millisecond)
	}
	do(n, machine)
	bus.Close()
	check(n.Stop(context.Background()))
	for _, c := range conns {
		c.Close()
	}
	check(errors.Join(log.Close(), data.Close()))
}

// add adds a number, and returns the sum: it is on the disks of a majority.
func add(n *node.Node, number uint64) any {
	sum := make(chan any, 1)
	check(n.Propose(binary.BigEndian.AppendUint64(nil, number), func(result any, _ rpc.EntryID) { sum <- result }))
	return <-sum
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A state machine of one's own that outlives its node, and that a node which was away for long gets as a snapshot.
func Example() {
	server, err := embedded.Start(embedded.Options{})
	check(err)
	defer server.Shutdown()
	dir, err := os.MkdirTemp("", "tally")
	check(err)
	defer os.RemoveAll(dir)

	life(server.URL(), dir, func(n *node.Node, _ *tally) {
		fmt.Println(add(n, 20), add(n, 22))
	})
	life(server.URL(), dir, func(n *node.Node, t *tally) {
		fmt.Println("it was", t.state().sum, "and is", add(n, 1))
		taken, err := t.Snapshot()
		check(err)
		r, w := io.Pipe()
		go func() { _, err := taken.WriteTo(w); w.CloseWithError(err) }()
		other, err := openTally(filepath.Join(dir, "other"))
		check(err)
		check(other.Restore(r))
		fmt.Println("another is given", other.state().sum, "up to the same entry:", other.Applied() == t.Applied())
	})
	// Output:
	// 20 42
	// it was 42 and is 43
	// another is given 43 up to the same entry: true
}
