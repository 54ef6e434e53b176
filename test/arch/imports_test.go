package arch

// Who may import whom. Imports run one way: cmd, then kv, then the node, then bus, log and core, then the messages.

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// room is what a folder, and each folder under it that is no room itself, may import. Go source outside all rooms is
// outside the plan: the design fixes the top-level folders.
type room struct {
	folder string
	ours   []string // packages of this module; "kv/..." is kv and all under it
	pure   bool     // nothing from outside the standard library, and of it nothing in impure
	why    string
}

var rooms = []room{
	{"raft", []string{"raft/rpc"}, true, "the core is events in, effects out: clock, disk, bus and chance are the driver's, in raft/node"},
	{"raft/rpc", nil, false, "the messages stand under everything else: move what needs more to where it is used"},
	{"raft/model", nil, true, "the model knows no user of it: pass in what it needs"},
	{"raft/measure", nil, false, "what measures knows nothing of what it measures"},
	{"raft/config", []string{"raft/rpc"}, false, "the configuration is plain values: what acts on them lives elsewhere"},
	{"raft/wal", []string{"raft/rpc", "raft/measure"}, false, "the log stores entries and asks nobody: let the node tell it"},
	{"raft/wal/waltest", []string{"raft/rpc", "raft/wal"}, false, "file systems for tests of the log, and nothing more"},
	{"raft/leaktest", nil, false, "what ends the tests of every package stands under all of them"},
	{"raft/logtest", nil, false, "what keeps the logs of every package's tests stands under all of them"},
	{"raft/stalltest", nil, false, "what measures beside the tests of every package stands under all of them"},
	{"raft/snapfile", []string{"raft", "raft/rpc"}, false, "a snapshot's file is written and read, and no more: what becomes of it is the node's to decide"},
	{"raft/folder", []string{"raft", "raft/rpc", "raft/wal", "raft/snapfile"}, false, "the folder remembers what it is handed, and runs no node: let the node, or cmd, tell it"},
	{"raft/node", []string{"raft", "raft/rpc", "raft/measure", "raft/wal", "raft/snapfile", "raft/folder", "raft/config", "raft/model", "busclient"}, false,
		"the node drives core, log and bus; the state machine comes in by its interface, and cmd wires"},
	{"busclient", []string{"raft/rpc", "raft/model", "raft/config", "busclient/internal/..."}, false, "the bus carries messages and knows neither the core nor kv: hand them to its Owner"},
	{"busclient/embedded", nil, false, "the embedded server is NATS and nothing of ours"},
	{"busclient/embedded/natstest", []string{"busclient/embedded"}, false, "servers and connections for tests, and nothing more"},
	{"busclient/leaf", []string{"busclient/internal/..."}, false, "a leaf connection carries messages and knows nothing of ours: hand in what it is to be told"},
	{"busclient/internal", nil, false, "what busclient's packages share stands under them"},
	{"kv", []string{"raft/node", "raft/rpc", "raft/measure", "raft/config", "kv/..."}, false, "kv knows the node by its interface, never the core nor Raft's bus"},
	{"kv/store", []string{"raft/node", "raft/rpc", "kv/command", "kv/subject", "kv/internal/...", "kv/store/engine"}, false, "the store is a state machine: it is called, by the node and by kv"},
	{"kv/watch", []string{"kv/subject", "kv/internal/headers", "kv/internal/names", "kv/internal/stamp"}, true, "the hub is events in, effects out: clock, store and connection are kv/delivery's"},
	{"kv/delivery", []string{"raft/node", "raft/rpc", "kv/command", "kv/store", "kv/subject", "kv/watch", "kv/jetstream", "kv/internal/bell"}, false,
		"delivery runs the hub and decides nothing: the leaf connection comes in by its interface, and cmd wires"},
	{"kv/jetstream", []string{"raft/rpc", "kv/command", "kv/store", "kv/subject", "kv/watch", "kv/internal/..."}, false, "the protocol is pure: connection, clock and consensus are package kv's"},
	{"kv/store/engine", nil, false, "an engine keeps bytes in order and knows no record: let the store tell it"},
	{"kv/store/memengine", []string{"kv/store/engine"}, false, "an engine for tests, and nothing more"},
	{"kv/command", []string{"raft/rpc", "kv/internal/..."}, false, "commands are plain values with an encoding"},
	{"kv/subject", nil, true, "patterns are matched by themselves: say what they are matched with where they are used"},
	{"kv/internal", []string{"raft/rpc", "kv/internal/..."}, false, "what kv's packages share stands under them"},
	{"cmd", []string{"raft", "raft/rpc", "raft/measure", "raft/wal", "raft/folder", "raft/node", "raft/model", "raft/config", "busclient/...", "kv/...", "cmd/..."}, false,
		"cmd wires the product: what tests need stays with the tests"},
	{"cmd/raftbus/cluster", []string{"busclient", "kv/command", "cmd/raftbus/observe", "cmd/raftbus/replica"}, false,
		"it puts together what nodes say: what to think of that, and what to print, is for who asks"},
	{"cmd/raftbus/doctor", []string{"busclient", "raft/node", "cmd/raftbus/cluster", "cmd/raftbus/native", "cmd/raftbus/natsopt", "cmd/raftbus/observe", "cmd/raftbus/replica"}, false,
		"the doctor looks from outside, and judges by what nodes and NATS say: let them say more"},
	{"cmd/raftbus/members", []string{"busclient", "raft/config", "cmd/raftbus/admin", "cmd/raftbus/native", "cmd/raftbus/replica"}, false,
		"it asks the leader, and follows what comes of it: flags, what is printed and exit codes are for who calls it"},
	{"test", []string{"raft/...", "busclient/...", "kv/...", "cmd/raftbus/replica", "test/..."}, false,
		"tests use the packages, a whole node by cmd/raftbus/replica, or the built binary"},
	{"test/compare", []string{"cmd/raftbus/bench"}, false, "the comparison is a module of its own, and measures the built binary"},
}

// impure is what of the standard library would make a pure package depend on more than its inputs.
var impure = []string{"time", "os", "io/fs", "net", "sync", "context", "log", "math/rand", "crypto/rand", "runtime", "syscall"}

// reserved says which rooms may import a module from outside. What is not listed is everybody's.
var reserved = []struct {
	path    string
	folders []string
	why     string
}{
	{"github.com/nats-io/nats-server/v2", []string{"busclient/embedded", "cmd", "test"}, "start a server by busclient/embedded, so that a library user does not link one"},
	{"github.com/nats-io/nats.go", []string{"busclient", "kv", "cmd", "test"}, "the rest talks to the bus by busclient"},
	{"github.com/cockroachdb/pebble/v2/vfs", []string{"raft/wal", "raft/snapfile", "raft/folder", "kv/store", "cmd", "test"}, "files are for the log, the store and the data folder"},
	{"github.com/cockroachdb/pebble/v2", []string{"kv/store", "raft/wal", "raft/node", "test"}, "the state's engine is the store's own; the log takes its file system only"},
	{"google.golang.org/protobuf", []string{"raft/rpc", "kv/command", "kv/internal", "kv/store", "kv"}, "what goes on the wire is encoded in raft/rpc, what goes into the state under kv"},
}

// roomOf is the innermost room that holds the folder.
func roomOf(folder string) (found room, ok bool) {
	for _, r := range rooms {
		if within(folder, r.folder) && len(r.folder) >= len(found.folder) {
			found, ok = r, true
		}
	}
	return found, ok
}

func (r room) allows(folder string) bool {
	return slices.ContainsFunc(r.ours, func(pattern string) bool {
		parent, all := strings.CutSuffix(pattern, "/...")
		return folder == pattern || all && within(folder, parent)
	})
}

func checkImports(s *source) (problems []problem) {
	r, ok := roomOf(s.folder())
	if !ok {
		return []problem{s.problem(s.syntax.Pos(), "put it under one of cmd, raft, busclient, kv, test", "Go source outside the plan of the house")}
	}
	for _, spec := range s.syntax.Imports {
		name := strings.Trim(spec.Path.Value, "\"`")
		if what, remedy := r.objection(s, name); what != "" {
			problems = append(problems, s.problem(spec.Pos(), remedy, "%s", what))
		}
	}
	return problems
}

// objection says what is wrong with an import of a file in the room, and what to do instead. Test files may reach further:
// into any package, but into cmd and test no further than the room.
func (r room) objection(s *source, name string) (what, remedy string) {
	folder, ours := strings.CutPrefix(name, module+"/")
	forbidden := fmt.Sprintf("%s may not import %s", r.folder, name)
	switch {
	case ours && s.isTest() && !within(s.folder(), "test"):
		if (within(folder, "cmd") || within(folder, "test")) && !within(folder, r.folder) && !r.allows(folder) {
			return forbidden, "what needs a whole node or cluster is a test under test"
		}
	case ours:
		if !r.allows(folder) {
			return forbidden, r.why
		}
	case s.isTest():
	case r.pure && (strings.Contains(name, ".") || isImpure(name)):
		return forbidden, r.why
	default:
		return reservedFor(s.folder(), name)
	}
	return "", ""
}

func isImpure(name string) bool {
	return slices.ContainsFunc(impure, func(banned string) bool { return within(name, banned) })
}

// reservedFor says what is wrong with an import from outside, by the first line of reserved that names it.
func reservedFor(folder, name string) (what, remedy string) {
	for _, r := range reserved {
		if !within(name, r.path) {
			continue
		}
		if slices.ContainsFunc(r.folders, func(allowed string) bool { return within(folder, allowed) }) {
			return "", ""
		}
		return fmt.Sprintf("%s may not import %s", folder, name), r.why
	}
	return "", ""
}

func TestImportsRunOneWay(t *testing.T) {
	for _, s := range repository(t) {
		requireNone(t, checkImports(s))
	}
}

func TestImportRulesFire(t *testing.T) {
	const ours = module + "/"
	for _, c := range []struct{ path, imports, want string }{
		{"raft/core.go", ours + "raft/rpc", ""},
		{"raft/core.go", "slices", ""},
		{"raft/core.go", "time", "raft may not import time"},
		{"raft/core.go", "os", "raft may not import os"},
		{"raft/core.go", "io/fs", "raft may not import io/fs"},
		{"raft/core.go", "net/http", "raft may not import net/http"},
		{"raft/core.go", "sync", "raft may not import sync"},
		{"raft/core.go", "sync/atomic", "raft may not import sync/atomic"},
		{"raft/core.go", "context", "raft may not import context"},
		{"raft/core.go", "log", "raft may not import log"},
		{"raft/core.go", "log/slog", "raft may not import log/slog"},
		{"raft/core.go", "math/rand", "raft may not import math/rand"},
		{"raft/core.go", "math/rand/v2", "raft may not import math/rand/v2"},
		{"raft/core.go", "crypto/rand", "raft may not import crypto/rand"},
		{"raft/core.go", "math/bits", ""},
		{"raft/core.go", "github.com/nats-io/nats.go", "raft may not import github.com"},
		{"raft/core.go", ours + "raft/wal", "raft may not import"},
		{"raft/core.go", "golang.org/x/exp/constraints", "raft may not import golang.org"},
		{"raft/quorum/quorum.go", "time", "raft may not import time"},
		{"raft/walnut/walnut.go", "time", "raft may not import time"},
		{"raft/core_test.go", "time", ""},
		{"raft/core_test.go", ours + "raft/wal", ""},
		{"raft/core_test.go", ours + "cmd/raftbus/replica", "a test under test"},
		{"raft/core_test.go", ours + "test/cluster", "a test under test"},
		{"raft/rpc/codec.go", "google.golang.org/protobuf/encoding/protowire", ""},
		{"raft/rpc/codec.go", ours + "raft/config", "raft/rpc may not import"},
		{"raft/rpc/codec.go", "github.com/nats-io/nats.go", "raft/rpc may not import"},
		{"raft/model/model.go", ours + "raft/rpc", "raft/model may not import"},
		{"raft/model/model.go", "time", "raft/model may not import time"},
		{"raft/config/config.go", ours + "raft/rpc", ""},
		{"raft/config/config.go", ours + "raft", "raft/config may not import"},
		{"raft/wal/wal.go", "github.com/cockroachdb/pebble/v2/vfs", ""},
		{"raft/wal/wal.go", ours + "raft", "raft/wal may not import"},
		{"raft/snapfile/dir.go", "github.com/cockroachdb/pebble/v2/vfs", ""},
		{"raft/snapfile/dir.go", ours + "raft/wal", "raft/snapfile may not import"},
		{"raft/snapfile/dir.go", ours + "raft/node", "raft/snapfile may not import"},
		{"raft/folder/folder.go", "github.com/cockroachdb/pebble/v2/vfs", ""},
		{"raft/folder/folder.go", ours + "raft/wal", ""},
		{"raft/folder/folder.go", ours + "busclient", "raft/folder may not import"},
		{"raft/folder/folder.go", ours + "raft/node", "raft/folder may not import"},
		{"raft/node/node.go", "github.com/cockroachdb/pebble/v2/vfs", "raft/node may not import"},
		{"raft/node/node.go", ours + "busclient", ""},
		{"raft/node/node.go", ours + "raft/wal/waltest", "raft/node may not import"},
		{"raft/node/node.go", ours + "kv", "raft/node may not import"},
		{"raft/node/node.go", "github.com/nats-io/nats.go", "raft/node may not import"},
		{"raft/node/node.go", "google.golang.org/protobuf/proto", "raft/node may not import"},
		{"busclient/service.go", "github.com/nats-io/nats.go", ""},
		{"busclient/service.go", ours + "raft/model", ""},
		{"busclient/service.go", ours + "raft", "busclient may not import"},
		{"busclient/service.go", ours + "kv", "busclient may not import"},
		{"busclient/service.go", ours + "busclient/embedded", "busclient may not import"},
		{"busclient/service.go", "github.com/nats-io/nats-server/v2/server", "link one"},
		{"busclient/service_test.go", "github.com/nats-io/nats-server/v2/server", ""},
		{"busclient/embedded/server.go", "github.com/nats-io/nats-server/v2/server", ""},
		{"busclient/embedded/server.go", ours + "busclient", "busclient/embedded may not import"},
		{"busclient/conn.go", ours + "busclient/internal/notes", ""},
		{"busclient/service.go", ours + "busclient/leaf", "busclient may not import"},
		{"busclient/leaf/conn.go", "github.com/nats-io/nats.go", ""},
		{"busclient/leaf/conn.go", ours + "busclient/internal/notes", ""},
		{"busclient/leaf/conn.go", ours + "raft/rpc", "busclient/leaf may not import"},
		{"busclient/leaf/conn.go", ours + "busclient", "busclient/leaf may not import"},
		{"busclient/internal/notes/notes.go", ours + "raft/rpc", "busclient/internal may not import"},
		{"kv/service.go", ours + "kv/store", ""},
		{"kv/service.go", ours + "raft/node", ""},
		{"kv/service.go", ours + "busclient", "kv may not import"},
		{"kv/watch/hub.go", ours + "kv/subject", ""},
		{"kv/watch/hub.go", ours + "kv/store", "kv/watch may not import"},
		{"kv/watch/hub.go", "time", "kv/watch may not import time"},
		{"kv/watch/hub.go", "github.com/nats-io/nats.go", "kv/watch may not import github.com"},
		{"kv/delivery/server.go", ours + "kv/watch", ""},
		{"kv/delivery/server.go", ours + "busclient/leaf", "kv/delivery may not import"},
		{"kv/service.go", ours + "raft", "kv may not import"},
		{"kv/service.go", "github.com/cockroachdb/pebble/v2", "kv may not import"},
		{"kv/store/store.go", "github.com/cockroachdb/pebble/v2/bloom", ""},
		{"kv/store/store.go", ours + "kv/internal/wire", ""},
		{"kv/store/store.go", ours + "kv", "kv/store may not import"},
		{"kv/store/store.go", ours + "raft/config", "kv/store may not import"},
		{"kv/store/store.go", ours + "kv/store/memengine", "kv/store may not import"},
		{"kv/store/engine/pebble.go", ours + "raft/rpc", "kv/store/engine may not import"},
		{"kv/store/memengine/memory.go", ours + "kv/store", "kv/store/memengine may not import"},
		{"kv/command/command.go", ours + "kv/store", "kv/command may not import"},
		{"kv/store/store.go", ours + "kv/subject", ""},
		{"kv/subject/subject.go", ours + "kv/store", "kv/subject may not import"},
		{"kv/subject/subject.go", "time", "kv/subject may not import time"},
		{"cmd/raftbus/main.go", ours + "busclient/embedded", ""},
		{"cmd/raftbus/main.go", ours + "test/cluster", "cmd may not import"},
		{"cmd/raftbus/main.go", ours + "raft/wal/waltest", "cmd may not import"},
		{"cmd/raftbus/main_test.go", ours + "cmd/raftbus/replica", ""},
		{"cmd/raftbus/doctor.go", ours + "cmd/raftbus/doctor", ""},
		{"cmd/raftbus/cluster/view.go", ours + "cmd/raftbus/replica", ""},
		{"cmd/raftbus/cluster/view.go", ours + "cmd/raftbus/doctor", "cmd/raftbus/cluster may not import"},
		{"cmd/raftbus/cluster/view_test.go", ours + "cmd/raftbus/observe", ""},
		{"cmd/raftbus/cluster/view_test.go", ours + "cmd/raftbus/doctor", "a test under test"},
		{"cmd/raftbus/doctor/asks.go", ours + "cmd/raftbus/cluster", ""},
		{"cmd/raftbus/doctor/asks.go", ours + "cmd/raftbus/admin", "cmd/raftbus/doctor may not import"},
		{"cmd/raftbus/doctor/asks.go", ours + "kv", "cmd/raftbus/doctor may not import"},
		{"cmd/raftbus/doctor/rules_test.go", ours + "busclient/embedded", ""},
		{"cmd/raftbus/member.go", ours + "cmd/raftbus/members", ""},
		{"cmd/raftbus/members/goals.go", ours + "cmd/raftbus/admin", ""},
		{"cmd/raftbus/members/goals.go", ours + "raft/node", "cmd/raftbus/members may not import"},
		{"cmd/raftbus/members/change.go", ours + "cmd/raftbus/natsopt", "cmd/raftbus/members may not import"},
		{"cmd/raftbus/members/pursue_test.go", ours + "busclient/embedded", ""},
		{"test/cluster/cluster.go", ours + "cmd/raftbus/replica", ""},
		{"test/cluster/cluster_test.go", ours + "cmd/raftbus", "test may not import"},
		{"test/cluster/cluster.go", "github.com/nats-io/nats-server/v2/server", ""},
		{"test/compare/main.go", ours + "cmd/raftbus/bench", ""},
		{"test/compare/main.go", ours + "kv", "test/compare may not import"},
		{"kv/service.go", ours + "cmd/raftbus/replica", "kv may not import"},
		{"pkg/util/util.go", "fmt", "outside the plan"},
		{"main.go", "fmt", "outside the plan"},
		{"kvtools/main.go", "fmt", "outside the plan"},
	} {
		t.Run(c.path+" imports "+strings.TrimPrefix(c.imports, ours), func(t *testing.T) {
			requireOne(t, c.want, checkImports(synthetic(t, c.path, "package p\nimport _ \""+c.imports+"\"\n")))
		})
	}
}
