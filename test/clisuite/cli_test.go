package clisuite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// place is where commands are given: the servers of one NATS, which are taken in turn, and the JetStream domain.
type place struct {
	urls   []string
	domain string
	home   string // of the CLI's own files
	turn   int
}

func at(t testing.TB, domain string, urls ...string) *place {
	return &place{urls: urls, domain: domain, home: t.TempDir()}
}

// commandTime bounds one command, and what a test waits for.
const commandTime = time.Minute

// command prepares one command of the CLI. It has no terminal, and no settings of whoever runs the tests.
func (p *place) command(ctx context.Context, stdin string, args ...string) *exec.Cmd {
	flags := []string{"--server", p.urls[p.turn%len(p.urls)], "--timeout", "30s", "--no-context"}
	p.turn++
	if p.domain != "" {
		flags = append(flags, "--js-domain", p.domain)
	}
	cmd := exec.CommandContext(ctx, natsCLI, append(flags, args...)...)
	cmd.Env = []string{"HOME=" + p.home, "XDG_CONFIG_HOME=" + p.home, "PATH=" + os.Getenv("PATH"), "TZ=UTC"}
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

func (p *place) run(t testing.TB, stdin string, args ...string) printed {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := p.command(ctx, stdin, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	require.NoError(t, ctx.Err(), "%v does not end\n%s%s", args, out.String(), stderr.String())
	return printed{out: out.String(), err: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// watch runs a command that goes on: until it watches a bucket and has printed some lines, and, while something happens, some more.
func (p *place) watch(t testing.TB, bucket string, args []string, before int, meanwhile func(), after int) printed {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	others := p.consumers(t, bucket)
	out := &output{}
	cmd := p.command(ctx, "", args...)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	isNew := func(name string) bool { return !slices.Contains(others, name) }
	await(t, func() bool { return slices.ContainsFunc(p.consumers(t, bucket), isNew) }, "%v watches nothing:\n%s", args, out)
	lines := func(count int) func() bool { return func() bool { return strings.Count(out.String(), "\n") >= count } }
	await(t, lines(before), "%v: less than %d lines at first:\n%s", args, before, out)
	meanwhile()
	await(t, lines(before+after), "%v: less than %d lines:\n%s", args, before+after, out)
	cancel()
	_ = cmd.Wait() // it was killed
	return printed{out: out.String()}
}

func await(t testing.TB, what func() bool, format string, args ...any) {
	for end := time.Now().Add(commandTime); !what(); time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(end), append([]any{format}, args...)...)
	}
}

// output collects what a command that goes on prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// client is for what the CLI does not say, and what would take too many commands.
func (p *place) client(t testing.TB, use func(context.Context, jetstream.JetStream)) {
	nc, err := nats.Connect(p.urls[0])
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if p.domain != "" {
		js, err = jetstream.NewWithDomain(nc, p.domain)
	}
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	use(ctx, js)
}

// consumers are who watches a bucket; those that were killed stay a while.
func (p *place) consumers(t testing.TB, bucket string) (names []string) {
	p.client(t, func(ctx context.Context, js jetstream.JetStream) {
		stream, err := js.Stream(ctx, "KV_"+bucket)
		require.NoError(t, err)
		list := stream.ConsumerNames(ctx)
		for name := range list.Name() {
			names = append(names, name)
		}
		require.NoError(t, list.Err())
	})
	return names
}

// printed is what a command says.
type printed struct {
	out, err string
	code     int
}

func (p printed) String() string {
	return fmt.Sprintf("    exit code %d\n%s%s", p.code, indented("    out> ", p.out), indented("    err> ", p.err))
}

func indented(with, text string) string {
	if text = strings.Trim(text, "\n"); text == "" {
		return ""
	}
	return with + strings.ReplaceAll(text, "\n", "\n"+with) + "\n"
}

// volatile is what differs from run to run, and what each of the two counts in its own way.
var volatile = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?`), "<time>"},
	{regexp.MustCompile(`─+`), "─"}, // lines and columns are as wide as what is in them
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`(?m)^ | $`), ""},
	{regexp.MustCompile(`(?m)^Bucket Size: [0-9.]+ [KM]?i?B$`), "Bucket Size: <size>"},
	{regexp.MustCompile(`(<time> │) [0-9.]+ [KM]?i?B (│ [0-9,]+ │) \S+ │`), "$1 <size> $2 <age> │"}, // kv ls
	{regexp.MustCompile(`Cluster Information:\n\nName:.*\nLeader: .*\n`), "Cluster Information: <name> <name>\n"},
}

// masked is what two places must have in common; with anyOrder, lines may be in any.
func (p printed) masked(anyOrder bool) printed {
	for _, v := range volatile {
		p.out, p.err = v.pattern.ReplaceAllString(p.out, v.instead), v.pattern.ReplaceAllString(p.err, v.instead)
	}
	if anyOrder {
		p.out = strings.Join(slices.Sorted(strings.SplitSeq(p.out, "\n")), "\n")
	}
	return p
}
