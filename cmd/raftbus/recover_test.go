package main

// What is left of a cluster, or comes from a backup, goes on as a new one.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/backup"
	"github.com/raftbus/raftbus/kv/command"
	datafolder "github.com/raftbus/raftbus/raft/folder"
	"github.com/raftbus/raftbus/raft/rpc"
	"github.com/raftbus/raftbus/raft/wal"
)

// oldBackup opens a backup that lies here.
func oldBackup(t *testing.T) *backup.File {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "commands-2.rbb"))
	require.NoError(t, err)
	file, err := backup.Open(bytes.NewReader(raw))
	require.NoError(t, err)
	return file
}

// leftOver is the folder of a node that restored a backup, took part in later terms than that of its last entry, and whose log holds two
// buckets that are not applied.
func leftOver(t *testing.T) (dir string, begun datafolder.Succession, term rpc.Term) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "n1")
	begun, err := restore(oldBackup(t), dir, "n1", 0)
	require.NoError(t, err)
	log, err := openLog(filepath.Join(dir, "wal"))
	require.NoError(t, err)
	term = begun.Term + 5
	b := wal.Batch{HardState: &rpc.HardState{Term: term}}
	for i, bucket := range []string{"the-one", "the-other"} {
		c := command.Command{AddBucket: &command.AddBucket{Name: bucket}}
		b.Entries = append(b.Entries, rpc.Entry{Index: begun.Index + 1 + rpc.Index(i), Term: begun.Term + 1, Kind: rpc.EntryCommand, Time: 1, Data: c.Encode()})
	}
	require.NoError(t, log.Append(b))
	require.NoError(t, log.Close())
	return dir, begun, term
}

// recovered gives the command, and returns what it did.
func recovered(t *testing.T, dir string, flags ...string) (done datafolder.Succession) {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, execute(t, t.Context(), &out, append([]string{"recover", "--dir", dir, "--id", "n1", "--yes", "--skip", "100", "--json"}, flags...)...))
	require.NoError(t, json.Unmarshal(out.Bytes(), &done))
	return done
}

// The new cluster's term is one that nobody was in who was heard of, and not only later than that of the last entry: whoever voted in it would
// be in two clusters' terms at a time (D3).
func TestRecoveredInALaterTermThanWasKnown(t *testing.T) {
	dir, begun, term := leftOver(t)
	text, code := said("recover", "--dir", dir, "--id", "n1", "--dry-run", "--json")
	require.Equal(t, exitOK, code, text)
	var have remains
	require.NoError(t, json.Unmarshal([]byte(text), &have), text)
	require.Equal(t, remains{
		Node: "n1", Cluster: begun.Cluster, Members: []string{"n1"}, Voter: true, Term: uint64(term), Last: begun.Index + 2, LastTerm: begun.Term + 1,
		Time: time.Unix(0, 1).UTC(), Applied: begun.Index, Certain: begun.Revision, Uncertain: 2, Revision: begun.Revision + 2,
	}, have)
	done := recovered(t, dir)
	require.Equal(t, term+1, done.Term)
	require.Equal(t, begun.Index+3, done.Index)
	require.Equal(t, begun.Revision+2, done.Revision)
	require.Equal(t, begun.Revision, done.Certain)
}

// A state that is not the log's, as one that was put back from elsewhere, is not recovered with it (D3).
func TestRecoverOfAStateThatIsNotTheLogs(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *datafolder.Folder, rpc.Index){
		"ahead": func(t *testing.T, folder *datafolder.Folder, last rpc.Index) {
			state, err := openState(folder, "")
			require.NoError(t, err)
			for state.Applied().Index <= last {
				_, err = state.Apply([]rpc.Entry{{Index: state.Applied().Index + 1, Term: state.Applied().Term, Kind: rpc.EntryNoop}})
				require.NoError(t, err)
			}
			require.NoError(t, state.Close())
		},
		"behind": func(t *testing.T, folder *datafolder.Folder, _ rpc.Index) {
			require.NoError(t, os.RemoveAll(folder.Path("kv")))
		},
		"of another history": ofAnotherHistory,
	} {
		t.Run(name, func(t *testing.T) {
			dir, begun, _ := leftOver(t)
			folder, err := openFolderToSucceed(dir, "n1")
			require.NoError(t, err)
			change(t, folder, begun.Index+2)
			require.NoError(t, folder.Close())
			for _, flag := range []string{"--dry-run", "--yes"} {
				text, code := said("recover", "--dir", dir, "--id", "n1", flag)
				require.Equal(t, exitError, code, text)
				require.Contains(t, text, "they do not belong together")
			}
		})
	}
}

// What it says is left to do can be done: the state goes on alone once the log is out of its way.
func TestRecoverOfAStateThatIsNotTheLogsWithoutThat(t *testing.T) {
	dir, begun, _ := leftOver(t)
	folder, err := openFolderToSucceed(dir, "n1")
	require.NoError(t, err)
	ofAnotherHistory(t, folder, begun.Index)
	require.NoError(t, folder.Close())
	text, code := said("recover", "--dir", dir, "--id", "n1", "--yes", "--without-log")
	require.Equal(t, exitError, code, text)
	require.Contains(t, text, "move "+filepath.Join(dir, "wal")+" to another place, and give --without-log")
	require.NoError(t, os.Rename(filepath.Join(dir, "wal"), filepath.Join(t.TempDir(), "wal")))
	done := recovered(t, dir, "--without-log")
	require.Equal(t, begun.Index+2, done.Index)
	require.Equal(t, []uint64{begun.Revision, begun.Revision}, []uint64{done.Certain, done.Revision})
}

// ofAnotherHistory has the state apply an entry that is another one in the log.
func ofAnotherHistory(t *testing.T, folder *datafolder.Folder, _ rpc.Index) {
	state, err := openState(folder, "")
	require.NoError(t, err)
	_, err = state.Apply([]rpc.Entry{{Index: state.Applied().Index + 1, Term: state.Applied().Term, Kind: rpc.EntryNoop}})
	require.NoError(t, errors.Join(err, state.Close()))
}

// An entry that only a later release understands is told, and not left out: what goes on without it is not what the cluster had (I5, F28).
func TestRecoverSkipsNoUnknownKind(t *testing.T) {
	dir, begun, term := leftOver(t)
	log, err := openLog(filepath.Join(dir, "wal"))
	require.NoError(t, err)
	require.NoError(t, log.Append(wal.Batch{Entries: []rpc.Entry{{Index: begun.Index + 3, Term: term, Kind: 9, Time: 1}}}))
	require.NoError(t, log.Close())
	for _, flag := range []string{"--dry-run", "--yes"} {
		text, code := said("recover", "--dir", dir, "--id", "n1", flag)
		require.Equal(t, exitError, code, text)
		require.Contains(t, text, rpc.EntryID{Term: term, Index: begun.Index + 3}.String()+" is of kind 9, which this build does not know: run the version that wrote it")
	}
	folder, err := openFolderToSucceed(dir, "n1")
	require.NoError(t, err)
	require.Nil(t, folder.Unfinished(), "that version can still run")
	require.NoError(t, folder.Close())
}

// The first signal ends the command for as long as nothing is planned: from then on the old cluster is given up.
func TestASignalEndsRecoverBeforeItIsIrrevocable(t *testing.T) {
	dir, _, _ := leftOver(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := executeSaying(t, ctx, io.Discard, &endAt{word: "then:", end: cancel}, "recover", "--dir", dir, "--id", "n1", "--yes")
	require.ErrorIs(t, err, context.Canceled)
	var told bytes.Buffer // nor does it go on after it has read the log, which may take long
	require.ErrorIs(t, executeSaying(t, ctx, io.Discard, &told, "recover", "--dir", dir, "--id", "n1", "--dry-run"), context.Canceled)
	require.Empty(t, told.String())
	folder, err := openFolderToSucceed(dir, "n1")
	require.NoError(t, err)
	require.Nil(t, folder.Unfinished())
	require.NoError(t, folder.Close())
}

// Who is no voter may have been far behind, of which the operator is to know before others are given up.
func TestRecoverOfALearner(t *testing.T) {
	dir, begun, term := leftOver(t)
	log, err := openLog(filepath.Join(dir, "wal"))
	require.NoError(t, err)
	conf := rpc.Configuration{Index: begun.Index + 3, Voters: []rpc.Member{{ID: "n2", Instance: rpc.InstanceID{2}}}, Learners: []rpc.Member{{ID: "n1", Instance: rpc.InstanceID{1}}}}
	require.NoError(t, log.Append(wal.Batch{Entries: []rpc.Entry{{Index: conf.Index, Term: term, Kind: rpc.EntryConfiguration, Time: 1, Data: rpc.AppendConfiguration(nil, &conf)}}}))
	require.NoError(t, log.Close())
	text, code := said("recover", "--dir", dir, "--id", "n1", "--dry-run")
	require.Equal(t, exitOK, code, text)
	require.Contains(t, text, "members:      n1, n2\n")
	require.Contains(t, text, "n1 was no voter: it may be far behind")
	require.Contains(t, text, "by n2 without this node")
}

// Broken off after the state went on, the command tells the revision that was recovered, and not the one after those that are left out.
func TestRecoverGoesOnAfterTheStateDid(t *testing.T) {
	dir, begun, term := leftOver(t)
	folder, err := openFolderToSucceed(dir, "n1")
	require.NoError(t, err)
	state, err := openState(folder, "")
	require.NoError(t, err)
	at := datafolder.After(begun.Index+2, term)
	plan, err := folder.Plan(datafolder.Succession{Kind: datafolder.Recovered, Term: at.Term, Index: at.Index, Certain: begun.Revision, Skip: 100})
	require.NoError(t, err)
	require.NoError(t, replay(folder, state, plan.Index-1))
	require.NoError(t, state.Succeed(at, plan.Skip))
	require.NoError(t, errors.Join(state.Close(), folder.Close()))
	require.Equal(t, begun.Revision+2, recovered(t, dir).Revision)
}

// damage changes the log where its last entry's bucket is named.
func damage(t *testing.T, dir string, change func(segment []byte, at int)) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	require.NoError(t, err)
	for _, name := range segments {
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		if at := bytes.Index(raw, []byte("the-other")); at >= 0 {
			change(raw, at)
			require.NoError(t, os.WriteFile(name, raw, 0o600))
		}
	}
}

// unreadable damages the head of the log's last batch, which begins on a sector.
func unreadable(segment []byte, at int) { segment[at/512*512+9] ^= 1 }

// Who is to recover has no other nodes: of a log that cannot be read the command does not say that they hold what was acknowledged.
func TestRecoverOfALogThatCannotBeReadPointsToNoOthers(t *testing.T) {
	dir, _, _ := leftOver(t)
	damage(t, dir, unreadable)
	for _, flag := range []string{"--dry-run", "--yes"} {
		text, code := said("recover", "--dir", dir, "--id", "n1", flag)
		require.Equal(t, exitError, code, text)
		require.Contains(t, text, "is damaged at offset")
		require.Contains(t, text, "restore a backup")
		require.Contains(t, text, "--without-log")
		require.NotContains(t, text, "the other nodes hold")
	}
}

// The state goes on without a log that cannot be read, in a term that is later than any that may have been in it (D3), and the log stays as it is (D4).
func TestRecoverWithoutALogThatCannotBeRead(t *testing.T) {
	dir, begun, term := leftOver(t)
	damage(t, dir, unreadable)
	text, code := said("recover", "--dir", dir, "--id", "n1", "--without-log", "--dry-run", "--json")
	require.Equal(t, exitOK, code, text)
	var have remains
	require.NoError(t, json.Unmarshal([]byte(text), &have), text)
	require.Contains(t, have.LogDamage, "is damaged at offset")
	require.Greater(t, have.Term, uint64(term), "which it cannot read")
	require.Equal(t, remains{
		Node: "n1", Cluster: begun.Cluster, Members: []string{"n1"}, Voter: true, Term: have.Term, Last: begun.Index, LastTerm: begun.Term, Time: have.Time,
		Applied: begun.Index, Certain: begun.Revision, Revision: begun.Revision, Damaged: begun.Index + 1, LogDamage: have.LogDamage,
	}, have)
	text, code = said("recover", "--dir", dir, "--id", "n1", "--without-log", "--dry-run")
	require.Equal(t, exitOK, code, text)
	require.Contains(t, text, fmt.Sprintf("without log:  revision %d, and no more; wal: segment ", begun.Revision))
	old := logFiles(t, dir, "wal")
	done := recovered(t, dir, "--without-log")
	require.EqualValues(t, have.Term+1, done.Term)
	require.Equal(t, begun.Index+1, done.Index)
	require.Equal(t, []uint64{begun.Revision, begun.Revision}, []uint64{done.Certain, done.Revision})
	require.Equal(t, old, logFiles(t, dir, done.OldLog))
	folder, err := datafolder.Open(vfs.Default, dir, "n1")
	require.NoError(t, err, "a node can start with it")
	require.NoError(t, folder.Close())
}

// A log that is gone is no end of a folder that has a state: who is told to give the node an empty one would lose the last there is.
func TestRecoverWithoutALogThatIsGone(t *testing.T) {
	for name, lose := range map[string]func(wal string) error{
		"with its folder": os.RemoveAll,
		"from its folder": func(wal string) error { return errors.Join(os.RemoveAll(wal), os.Mkdir(wal, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, begun, _ := leftOver(t)
			require.NoError(t, lose(filepath.Join(dir, "wal")))
			text, code := said("recover", "--dir", dir, "--id", "n1", "--yes")
			require.Equal(t, exitError, code, text)
			require.Contains(t, text, "put back what is gone")
			require.Contains(t, text, "--without-log")
			require.NotContains(t, text, "--join")
			text, code = said("recover", "--dir", dir, "--id", "n1", "--without-log", "--yes")
			require.Equal(t, exitOK, code, text)
			require.Contains(t, text, "is gone, and with it")
			require.Contains(t, text, fmt.Sprintf("recovered revision %d ", begun.Revision))
			require.Regexp(t, "old log: +there was none\n", text)
			text, _ = said("log", "verify", "--dir", dir)
			require.Regexp(t, "went on from cluster unknown .* old log none\n", text)
			log, err := openLog(filepath.Join(dir, "wal"))
			require.NoError(t, err)
			require.Greater(t, log.State(0).HardState.Term, begun.Term+1<<20, "the node may have voted in later terms than the state's")
			require.NoError(t, log.Close())
		})
	}
}

// Nor is one that the disk does not give, or of which it does not give a part.
func TestRecoverWithoutALogThatTheDiskDoesNotGive(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"a part of it": {errorfs.OpFileReadAt}, "a file of it": {errorfs.OpOpen},
	} {
		t.Run(name, func(t *testing.T) {
			dir, begun, _ := leftOver(t)
			fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if slices.Contains(kinds, op.Kind) && filepath.Ext(op.Path) == ".wal" {
					return syscall.EIO
				}
				return nil
			}))
			folder, err := datafolder.OpenToSucceed(fs, dir, "n1")
			require.NoError(t, err)
			state, err := openState(folder, "")
			require.NoError(t, err)
			id := "n1"
			f := recoverFlags{id: &id}
			_, err = f.look(folder, state)
			require.ErrorContains(t, err, "cannot be read at offset")
			require.ErrorContains(t, err, "--without-log")
			require.NotContains(t, err.Error(), "the other nodes hold")
			f.withoutLog = true
			have, err := f.look(folder, state)
			require.NoError(t, err)
			require.Contains(t, have.LogDamage, "cannot be read at offset")
			require.Equal(t, begun.Revision, have.Revision)
			require.NoError(t, errors.Join(state.Close(), folder.Close()))
		})
	}
}

// Nor is a state without its log taken for all that the node had, if what is left of that says otherwise.
func TestRecoverWithoutALogAndWithoutTheState(t *testing.T) {
	for name, c := range map[string]struct {
		change func(segment []byte, at int)
		want   string
	}{
		"of which the beginning can be read": {unreadable, "the state is of entry 0/0, which the log, of entries "},
		"of which nothing can be read":       {func(segment []byte, _ int) { segment[512+9] ^= 1 }, "the state is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _, _ := leftOver(t)
			damage(t, dir, c.change)
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "kv")))
			text, code := said("recover", "--dir", dir, "--id", "n1", "--without-log", "--yes")
			require.Equal(t, exitError, code, text)
			require.Contains(t, text, c.want)
		})
	}
}

// Who the members were cannot be read either: nothing is said of them.
func TestRecoverWithoutALogOfWhichNothingCanBeRead(t *testing.T) {
	dir, begun, _ := leftOver(t)
	damage(t, dir, func(segment []byte, _ int) { segment[512+9] ^= 1 })
	text, code := said("recover", "--dir", dir, "--id", "n1", "--without-log", "--dry-run")
	require.Equal(t, exitOK, code, text)
	require.Contains(t, text, "members:      unknown\n")
	require.NotContains(t, text, "was no voter")
	require.Equal(t, begun.Revision, recovered(t, dir, "--without-log").Revision)
}

// Broken off before the log was set aside, the command goes on also if that cannot be read.
func TestRecoverWithoutALogGoesOn(t *testing.T) {
	dir, begun, term := leftOver(t)
	damage(t, dir, unreadable)
	folder, err := openFolderToSucceed(dir, "n1")
	require.NoError(t, err)
	at := datafolder.After(begun.Index, term)
	_, err = folder.Plan(datafolder.Succession{Kind: datafolder.Recovered, Term: at.Term, Index: at.Index, Certain: begun.Revision, Skip: 100})
	require.NoError(t, errors.Join(err, folder.Close()))
	require.Equal(t, begun.Revision, recovered(t, dir).Revision)
}

// What was begun with one --skip is not silently gone on with where another is given: who gives it has a reason.
func TestRecoverGoesOnWithTheSkipItBeganWith(t *testing.T) {
	dir, begun, _ := leftOver(t)
	folder, err := openFolderToSucceed(dir, "n1")
	require.NoError(t, err)
	at := datafolder.After(begun.Index, begun.Term)
	_, err = folder.Plan(datafolder.Succession{Kind: datafolder.Recovered, Term: at.Term, Index: at.Index, Certain: begun.Revision, Skip: 0})
	require.NoError(t, errors.Join(err, folder.Close()))
	text, code := said("recover", "--dir", dir, "--id", "n1", "--yes", "--skip", "100")
	require.Equal(t, exitConflict, code, text)
	require.Contains(t, text, "--skip 100: 'raftbus recover' was begun in "+dir+" with --skip 0, and broken off")
	text, code = said("recover", "--dir", dir, "--id", "n1", "--yes")
	require.Equal(t, exitOK, code, text)
	require.Regexp(t, "goes on: +with what was begun at .*, with --skip 0\n", text)
	require.Contains(t, text, fmt.Sprintf("goes on after revision %d\n", begun.Revision))
}

// logFiles are the files of a log, by name.
func logFiles(t *testing.T, dir, log string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(dir, log, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		files[filepath.Base(name)], err = os.ReadFile(name)
		require.NoError(t, err)
	}
	return files
}

// A log with an entry that cannot be read is recovered up to it, and who asks is told what is lost.
func TestRecoverOfADamagedLog(t *testing.T) {
	dir, begun, _ := leftOver(t)
	damage(t, dir, func(segment []byte, at int) { segment[at+len("the-")] = '0' })
	text, code := said("recover", "--dir", dir, "--id", "n1", "--dry-run", "--json")
	require.Equal(t, exitOK, code, text)
	var have remains
	require.NoError(t, json.Unmarshal([]byte(text), &have), text)
	require.Equal(t, begun.Index+2, have.Damaged)
	require.EqualValues(t, 1, have.Uncertain, "the one that is lost leads to nothing")
	require.Equal(t, begun.Revision+1, have.Revision)
	require.Equal(t, begun.Revision+1, recovered(t, dir).Revision)
}

// A backup that holds another state than its head says is none, though its checksums fit.
func TestRestoreOfABackupThatIsNotWhatItSays(t *testing.T) {
	file := oldBackup(t)
	file.Head.Revision++
	dir := filepath.Join(t.TempDir(), "n1")
	_, err := restore(file, dir, "n1", 0)
	require.ErrorIs(t, err, backup.ErrBadFile)
	_, err = datafolder.Open(vfs.Default, dir, "n1")
	require.ErrorIs(t, err, datafolder.ErrUnfinished, "and no node starts with it")
}
