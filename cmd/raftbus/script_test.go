package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/cmd/raftbus/members"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

// TestMain lets the scripts run this very binary as the command raftbus.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // scripts mostly wait; -parallel says otherwise
	testscript.Main(m, map[string]func(){"raftbus": main, "node-whose-store-fails": nodeWhoseStoreFails, "command-whose-store-fails": commandWhoseStoreFails})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// A user's own settings must not reach the scripts, and theirs must not leave them.
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/config")
			e.Setenv("RAFTBUS_INSECURE", "true") // most run on a bus that is open
			older, err := filepath.Abs("testdata/commands-2.rbb")
			if err != nil {
				return err
			}
			e.Setenv("BACKUP_OF_COMMANDS_2", older) // of an earlier build: bucket app, color is blue
			e.Values[processKey{}] = map[string]*process{}
			e.Values[busKey{}] = &bus{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":     codeCommand,
			"examples": examplesCommand,
			"bus":      busCommand,
			"answer":   answerCommand,
			"binary":   binaryCommand,
			"silent":   silentCommand,
			"process":  processCommand,
			"request":  requestCommand,
			"until":    untilCommand,
			"unread":   unreadCommand,
		},
	})
}

// codeCommand runs a program and wants an exact exit code: code 2 raftbus node
func codeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program [args]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

// examplesCommand carries out the examples of a command's help, one after the other: each is done, and prints something. examples kv
func examplesCommand(ts *testscript.TestScript, _ bool, args []string) {
	cmd, _, err := newRoot(os.LookupEnv).Find(args)
	ts.Check(err)
	for line := range strings.Lines(cmd.Example) {
		line = strings.Replace(line, "--json | jq -r .value", "--current --json", 1) // so that it ends
		shell := exec.Command("sh", "-c", line)
		shell.Dir, shell.Env = ts.MkAbs("."), scriptEnv(ts)
		out, err := shell.CombinedOutput()
		if err != nil || len(out) == 0 {
			ts.Fatalf("the example %q: %v\n%s", line, err, out)
		}
	}
}

// busCommand starts a NATS server, and names it in NATS_URL, or stops it: bus [user password], bus configuration, bus stop
func busCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 1 && args[0] == "stop" {
		ts.Value(busKey{}).(*bus).server.Shutdown()
		return
	}
	o := embedded.Options{}
	if len(args) == 1 {
		o = embedded.Options{ConfigFile: ts.MkAbs(args[0]), Host: "127.0.0.1", Port: embedded.Random, LeafPort: embedded.Random}
	}
	if len(args) == 2 {
		o.Users = []embedded.User{{Name: args[0], Password: args[1]}}
	}
	server, err := embedded.Start(o)
	ts.Check(err)
	ts.Defer(server.Shutdown)
	ts.Value(busKey{}).(*bus).server = server
	ts.Setenv("NATS_URL", server.URL())
}

// silentCommand listens and answers nothing, as a leader that is paused: silent SUBJECT
func silentCommand(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := nats.Connect(ts.Getenv("NATS_URL"))
	ts.Check(err)
	ts.Defer(conn.Close)
	_, err = conn.Subscribe(args[0], func(*nats.Msg) {})
	ts.Check(err)
	ts.Check(conn.Flush())
}

// binaryCommand writes a file that has every byte there is: binary FILE
func binaryCommand(ts *testscript.TestScript, _ bool, args []string) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), every, 0o600))
}

// bus is the script's NATS server that was started last, kept in the script's values.
type bus struct{ server *embedded.Server }

type busKey struct{}

// answerCommand listens as a node would, and answers status requests with a file: answer n1 file
func answerCommand(ts *testscript.TestScript, _ bool, args []string) {
	id, body := args[0], []byte(ts.ReadFile(args[1]))
	conn, err := nats.Connect(ts.Getenv("NATS_URL"))
	ts.Check(err)
	ts.Defer(conn.Close)
	for _, who := range []string{id, busclient.AllNodes} {
		_, err := conn.Subscribe(busclient.StatusSubject(defaultPrefix, who), func(m *nats.Msg) { _ = m.Respond(body) })
		ts.Check(err)
	}
	ts.Check(conn.Flush())
}

func TestEachFlagCanBeSetByAVariable(t *testing.T) {
	samples := map[string]string{"bool": "true", "int": "3", "int64": "3", "float64": "3", "string": "x", "stringSlice": "a,b", "LEVEL": "debug", "uint64": "3", "bytes": "3KiB", "stringToString": "a=b", "duration": "3s"}
	for _, command := range all(newRoot(os.LookupEnv)) {
		set := map[string]string{}
		command.Flags().VisitAll(func(flag *pflag.Flag) { set[variableOf(flag)] = samples[flag.Value.Type()] })
		lookup := func(name string) (string, bool) { value, ok := set[name]; return value, ok }
		require.NoError(t, fillFromEnv(command.Flags(), lookup))
		command.Flags().VisitAll(func(flag *pflag.Flag) {
			_, ofNATS := flag.Annotations[natsopt.Annotation] // these are tested with their package
			require.Equal(t, !ofNATS, flag.Changed, "%s --%s", command.Name(), flag.Name)
		})
	}
}

// With the data folder of a node in the environment, neither are the seeds of 'auth init' put into it, nor the nodes of dev.
func TestTheFolderOfANodeIsNotThatOfDevOrAuth(t *testing.T) {
	set := map[string]string{"RAFTBUS_DIR": "/node", "RAFTBUS_DEV_DIR": "/dev", "RAFTBUS_AUTH_INIT_DIR": "/auth"}
	lookup := func(name string) (string, bool) { value, ok := set[name]; return value, ok }
	dirs := map[string]string{}
	for _, command := range all(newRoot(os.LookupEnv)) {
		require.NoError(t, fillFromEnv(command.Flags(), lookup))
		if dir := command.Flags().Lookup("dir"); dir != nil {
			dirs[command.CommandPath()] = dir.Value.String()
		}
	}
	require.Equal(t, map[string]string{
		"raftbus node": "/node", "raftbus recover": "/node", "raftbus restore": "/node", "raftbus log verify": "/node", "raftbus log dump": "/node", "raftbus config print": "/node",
		"raftbus dev": "/dev", "raftbus auth init": "/auth",
	}, dirs)
}

// all are the commands under one, and those under them.
func all(cmd *cobra.Command) (list []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		list = append(append(list, sub), all(sub)...)
	}
	return list
}

func TestTheHelpListsTheExitCodes(t *testing.T) {
	for _, code := range []int{exitOK, exitError, exitUsage, exitNotFound, exitConflict, exitUnavailable, exitTimeout, exitNoLeader, exitRefused} {
		require.Contains(t, exitCodesHelp, fmt.Sprintf("\n  %d  ", code))
	}
}

// --timeout is for one answer: how long a command outlasts an election is said, and is so.
func TestTheHelpSaysHowLongALeaderIsAwaited(t *testing.T) {
	require.Contains(t, awaitsLeader, "waits "+members.AloneMax.String())
	for _, path := range []string{"member add", "member remove", "member replace", "leader transfer", "upgrade finish", "backup"} {
		text, code := said(append(strings.Fields(path), "--help")...)
		require.Equal(t, exitOK, code)
		require.Contains(t, text, strings.TrimSpace(awaitsLeader), path)
	}
}

// To change a bucket changes nothing that is not given: no default is shown.
func TestAnUpdateHasNoDefaults(t *testing.T) {
	for op, shown := range map[string]bool{"add": true, "update": false} {
		text, _ := said("bucket", op, "--help")
		require.Equal(t, shown, strings.Contains(text, "(default 1)"), op)
	}
	for flag, word := range map[string]string{"get --level": "LEVEL", "watch --first": "WHAT"} {
		name, option, _ := strings.Cut(flag, " ")
		text, _ := said("kv", name, "--help")
		require.Contains(t, text, option+" "+word+" ")
	}
}
