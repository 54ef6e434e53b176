// Package guides holds the guides of docs/ to the product: what a stranger is told to paste works and prints what the page says, and what a log is
// said to say is in the source.
package guides

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/built"
)

var operating = flag.Bool("operating", false, "run TestOperatingGuide, which builds raftbus, nats-server and the nats CLI")

const root = "../.."

func read(t *testing.T, path string) string {
	b, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(b)
}

// step is a command of a page, and what the page says it prints.
type step struct {
	command string
	want    []string
}

// steps are the commands of a page's console blocks, in order.
func steps(page string) (list []step) {
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		command, begins := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && begins:
			list = append(list, step{command: command})
		case inside && line != "":
			list[len(list)-1].want = append(list[len(list)-1].want, line)
		}
	}
	return list
}

// The operating guide, pasted command by command into one shell: from nothing to a secured, watched cluster, whose members change, which is
// upgraded and backed up, to its end. Only the ports are others than the page's, so that it does not matter who has those.
func TestOperatingGuide(t *testing.T) {
	if !*operating {
		t.Skip("builds three programs: give -operating")
	}
	page := freePorts(t, read(t, "docs/operating.md"))
	list := steps(page)
	require.NotEmpty(t, list)
	dir := t.TempDir()
	said := paste(t, dir, list)
	for i, s := range list {
		require.Regexp(t, pattern(s.want), said[i], "%s\n%s", s.command, logs(dir))
	}
}

// freePorts puts ports that are free in the place of the page's.
func freePorts(t *testing.T, page string) string {
	base := 0
	for range 20 {
		if base = freePort(t) / 10 * 10; threeFree(base) {
			break
		}
	}
	require.True(t, threeFree(base), "no three ports in a row are free")
	page = strings.ReplaceAll(page, "127.0.0.1:808", fmt.Sprintf("127.0.0.1:%d", base/10))
	client, leaf := freePort(t), freePort(t)
	page = strings.ReplaceAll(page, "raftbus auth init ", fmt.Sprintf("raftbus auth init --listen 127.0.0.1:%d --listen-leaf 127.0.0.1:%d --url nats://127.0.0.1:%d ", client, leaf, client))
	return strings.ReplaceAll(page, "raftbus node ", fmt.Sprintf("raftbus node --nats nats://127.0.0.1:%d --leaf nats://127.0.0.1:%d ", client, leaf))
}

// threeFree reports whether nobody has the three ports after one.
func threeFree(base int) bool {
	for i := 1; i <= 3; i++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// paste gives a shell the commands, one after the other, and returns what each printed.
func paste(t *testing.T, dir string, list []step) []string {
	const mark = "-- the next command --"
	var script strings.Builder
	script.WriteString("set -e -o pipefail\n")
	for _, s := range list {
		fmt.Fprintf(&script, "%s\necho '%s'\n", s.command, mark)
	}
	bin := programs(t) // which may take long, before the commands' time begins
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-c", script.String())
	shell.Dir = dir
	shell.Env = append(slices.DeleteFunc(os.Environ(), ours), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, ".config"))
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with all that it leaves behind
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.WaitDelay = time.Second
	var out, diagnosis bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &diagnosis
	err := shell.Run()
	_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) // what the page did not end
	said := strings.Split(out.String(), mark+"\n")
	require.NoError(t, err, "at %q\n%s\n%s\n%s", list[min(len(said)-1, len(list)-1)].command, said[len(said)-1], &diagnosis, logs(dir))
	return said
}

// ours is what the commands would be told by the shell that runs the tests, and by nothing on the page.
func ours(variable string) bool {
	return strings.HasPrefix(variable, "NATS_") || strings.HasPrefix(variable, "RAFTBUS_")
}

// logs is the end of each log that the page has written.
func logs(dir string) string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		fmt.Fprintf(&all, "== %s\n%s\n", filepath.Base(file), b[max(0, len(b)-3000):])
	}
	return all.String()
}

// programs is a folder with what the page needs: raftbus, and NATS as go.mod and .ci/tools pin it.
func programs(t *testing.T) string {
	built.Seen(t)
	dir := t.TempDir()
	for _, args := range [][]string{
		{"build", "-o", dir, "./cmd/raftbus"},
		{"build", "-o", dir, "github.com/nats-io/nats-server/v2"},
		{"-C", ".ci/tools", "build", "-o", dir, "github.com/nats-io/natscli/nats"},
	} {
		build := exec.Command("go", args...)
		build.Dir = root
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
	return dir
}

// pattern is what lines must look like, blank ones aside; in them ... stands for anything.
func pattern(lines []string) *regexp.Regexp {
	text := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(lines, "\n")), `\.\.\.`, `.*`)
	return regexp.MustCompile(`^\n*` + strings.ReplaceAll(text, "\n", `\n+`) + `\n*$`)
}

// What the troubleshooting page says that a node or a command says, it does say: the words are in the source.
func TestTroubleshootingSaysWhatTheProductSays(t *testing.T) {
	source := sources(t)
	first := regexp.MustCompile(`(?m)^\| ([^|]*) \|`)
	quoted := regexp.MustCompile("`([^`]+)`")
	count := 0
	for _, row := range first.FindAllStringSubmatch(read(t, "docs/troubleshooting.md"), -1) {
		for _, words := range quoted.FindAllStringSubmatch(row[1], -1) {
			require.True(t, strings.Contains(source, words[1]), "no log line or error has %q", words[1])
			count++
		}
	}
	require.Greater(t, count, 30)
}

// The page of metrics names the queues that a node shows.
func TestMetricsPageNamesTheQueues(t *testing.T) {
	_, line, _ := strings.Cut(read(t, "docs/metrics.md"), "\nThe label `queue` is ")
	line, _, _ = strings.Cut(line, "\n")
	names := regexp.MustCompile(`(?m)(?:of\(|Queue\{|^\t\t\{)"([a-z_]+)"`).FindAllStringSubmatch(read(t, "cmd/raftbus/replica/stats.go")+read(t, "raft/node/queues.go"), -1)
	require.Len(t, names, 12)
	require.Equal(t, len(names)+1, strings.Count(line, "`")/2, "and the mark of an account: %s", line)
	for _, name := range names {
		require.Contains(t, line, "`"+name[1]+"`")
	}
}

// sources is the text of all Go files of the product.
func sources(t *testing.T) string {
	var all strings.Builder
	for _, dir := range []string{"raft", "busclient", "kv", "cmd"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		}))
	}
	return all.String()
}

// What README says of locks gives one to nobody else: a renewal that is given again under its id renews nothing (kv/store has a test of that), so that time
// counts from when it was given first.
func TestTheTimeOfALockCountsFromTheFirstTry(t *testing.T) {
	page := read(t, "README.md")
	require.Contains(t, page, "30 s after the last `create` or `update` that was answered was first given.")
	require.Contains(t, page, "Given again under its id it renews nothing")
}
