package main

// Script commands for programs that go on running: the nodes, and who asks them.

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait of the scripts: it is long because it only passes when a test fails.
const patience = time.Minute

// lookPause is how long a script rests between two looks at something that is to come, most of which take a process each.
const lookPause = 100 * time.Millisecond

// process is a program that a script has started.
type process struct {
	cmd   *exec.Cmd
	lines chan string   // what it prints, on both streams
	done  chan struct{} // closed once it has ended
}

// processes are kept by name, per script, in the script's values.
func processes(ts *testscript.TestScript) map[string]*process {
	return ts.Value(processKey{}).(map[string]*process)
}

type processKey struct{}

// processCommand runs programs in the background:
//
//	process NAME start REGEXP program [args]   starts it and waits for a line that matches; NATS_URL and PORT become the line's
//	process NAME line REGEXP                   waits for another line
//	process NAME hangup REGEXP                 sends SIGHUP, and waits for a line that matches
//	process NAME term                          sends SIGTERM and wants exit code 0
//	process NAME int N REGEXP                  sends SIGINT, and wants a line that matches, and exit code N
//	process NAME kill                          sends SIGKILL
//	process NAME pause                         sends SIGSTOP; kill ends it all the same
func processCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: process NAME start|line|term|int|kill ...")
	}
	name, all := args[0], processes(ts)
	switch args[1] {
	case "start":
		all[name] = startProcess(ts, args[3], args[4:])
		all[name].waitFor(ts, args[2])
	case "line":
		all[name].waitFor(ts, args[2])
	case "hangup":
		ts.Check(all[name].cmd.Process.Signal(syscall.SIGHUP))
		all[name].waitFor(ts, args[2])
	case "term":
		ts.Check(all[name].cmd.Process.Signal(syscall.SIGTERM))
		all[name].wait(ts)
		if code := all[name].cmd.ProcessState.ExitCode(); code != 0 {
			ts.Fatalf("%s ended with code %d", name, code)
		}
	case "int":
		ts.Check(all[name].cmd.Process.Signal(os.Interrupt))
		all[name].waitFor(ts, args[3])
		all[name].wait(ts)
		if code := all[name].cmd.ProcessState.ExitCode(); strconv.Itoa(code) != args[2] {
			ts.Fatalf("%s ended with code %d", name, code)
		}
	case "pause":
		ts.Check(all[name].cmd.Process.Signal(syscall.SIGSTOP))
	case "kill":
		ts.Check(all[name].cmd.Process.Kill())
		all[name].wait(ts)
	}
}

func startProcess(ts *testscript.TestScript, program string, args []string) *process {
	path, err := exec.LookPath(program)
	ts.Check(err)
	p := &process{cmd: exec.Command(path, args...), lines: make(chan string, 10_000), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	out, in, err := os.Pipe()
	ts.Check(err)
	p.cmd.Stdout, p.cmd.Stderr = in, in
	ts.Check(p.cmd.Start())
	ts.Check(in.Close())
	go p.follow(out)
	ts.Defer(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
	})
	return p
}

// scriptEnv is the script's environment: the variables that raftbus and its home depend on.
func scriptEnv(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "XDG_CONFIG_HOME", "NATS_URL", "RAFTBUS_INSECURE", "RAFTBUS_ID", "RAFTBUS_MEMBERS", "RAFTBUS_DIR"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// follow reads what the program prints until it ends, and then awaits it.
func (p *process) follow(out io.ReadCloser) {
	defer close(p.done)
	defer close(p.lines) // what it said is read before it is known to have ended
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		p.lines <- scanner.Text()
	}
	_ = out.Close()
	_ = p.cmd.Wait() // its state tells how it ended
}

var urlInLine = regexp.MustCompile(`nats://[0-9.]+:([0-9]+)`)

func (p *process) waitFor(ts *testscript.TestScript, pattern string) {
	wanted, deadline := regexp.MustCompile(pattern), time.After(patience)
	var seen []string
	for {
		select {
		case line, more := <-p.lines:
			if !more {
				ts.Fatalf("ended without a line %q:\n%s", pattern, strings.Join(seen, "\n"))
			}
			if seen = append(seen, line); !wanted.MatchString(line) {
				continue
			}
			if url := urlInLine.FindStringSubmatch(line); url != nil {
				ts.Setenv("NATS_URL", url[0])
				ts.Setenv("PORT", url[1])
			}
			return
		case <-deadline:
			ts.Fatalf("no line %q after %v:\n%s", pattern, patience, strings.Join(seen, "\n"))
		}
	}
}

func (p *process) wait(ts *testscript.TestScript) {
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("did not end within %v", patience)
	}
}

// untilCommand runs a program again and again until what it prints matches: until REGEXP program [args]
func untilCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP program [args]")
	}
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	wanted := regexp.MustCompile(args[0])
	for end := time.Now().Add(patience); ; time.Sleep(lookPause) { // each look starts a process
		cmd := exec.Command(path, args[2:]...)
		cmd.Dir, cmd.Env = ts.MkAbs("."), scriptEnv(ts)
		out, _ := cmd.CombinedOutput() // a failure is one of the outcomes to look at
		if wanted.Match(out) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("still no %q after %v, but:\n%s", args[0], patience, out)
		}
	}
}

// requestCommand sends a request to the cluster and prints the answer. It asks again while nobody leads, as clients do:
// request SUBJECT BODY
func requestCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: request SUBJECT BODY")
	}
	conn, err := nats.Connect(ts.Getenv("NATS_URL"))
	ts.Check(err)
	defer conn.Close()
	for end := time.Now().Add(patience); ; time.Sleep(lookPause) {
		answer, err := conn.Request(args[0], []byte(args[1]), 10*time.Second) // a put is not to be done twice
		if err == nil {
			_, err = ts.Stdout().Write(append(answer.Data, '\n'))
			ts.Check(err)
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no answer on %s: %v", args[0], err)
		}
	}
}

// unreadCommand runs a program whose stderr is a pipe that is full and that nobody reads, and wants it to end with an exit code: unread N program [args]
func unreadCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: unread N program [args]")
	}
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	out, in, err := os.Pipe()
	ts.Check(err)
	defer out.Close()
	defer in.Close()
	fd := int(in.Fd())
	ts.Check(syscall.SetNonblock(fd, true))
	for err == nil {
		_, err = syscall.Write(fd, bytes.Repeat([]byte("x"), 512))
	}
	ts.Check(syscall.SetNonblock(fd, false))
	p := &process{cmd: exec.Command(path, args[2:]...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = ts.MkAbs("."), scriptEnv(ts), in
	ts.Check(p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // its state tells how it ended
	}()
	defer func() { _ = p.cmd.Process.Kill() }() // it may have ended
	p.wait(ts)
	if code := p.cmd.ProcessState.ExitCode(); strconv.Itoa(code) != args[0] {
		ts.Fatalf("it ended with code %d, not %s", code, args[0])
	}
}
