package page_test

import (
	"context"
	"flag"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/cmd/raftbus/page"
	"github.com/raftbus/raftbus/cmd/raftbus/top"
)

var (
	chromium    = flag.String("chromium", "", "`PROGRAM` to try the page in, such as chromium; empty: the page is tried in no browser")
	ill         = flag.Bool("ill", false, "run TestFaultsAreShown, which takes some twenty seconds, without a browser too")
	screenshots = flag.String("screenshots", "", "`FOLDER` to put pictures of the page and of raftbus top into; needs -chromium")
)

// tab is a page in a real browser.
type tab struct {
	context.Context
	address string

	mu     sync.Mutex
	wrong  []string // what the browser complains of: errors, and what the policy forbids
	beyond []string // what was asked of others than the page's server
}

const tabTime = 60 * time.Second

// open serves a handler on loopback and opens it in a browser of its own.
func open(t *testing.T, handler http.Handler) *tab {
	t.Helper()
	if *chromium == "" {
		t.Skip("NOT RUN: the page is tried in no browser: give -chromium")
	}
	s, err := observe.Listen("127.0.0.1:0", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.ShowPage(handler)
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), chromedp.ExecPath(*chromium), chromedp.Headless, chromedp.NoSandbox, chromedp.WindowSize(1280, 1000))
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, tabTime)
	t.Cleanup(cancel)
	b := &tab{Context: ctx, address: "http://" + s.Address() + "/"}
	require.NoError(t, chromedp.Listen(ctx, b.note))
	_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	do(t, b, chromedp.Navigate(b.address))
	return b
}

func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if !strings.HasSuffix(e.Entry.URL, "/favicon.ico") {
			b.wrong = append(b.wrong, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.address) {
			b.beyond = append(b.beyond, e.Request.URL)
		}
	}
}

// do does something in a tab and returns what comes of it.
func do[T any](t *testing.T, b *tab, action chromedp.Action[T]) T {
	t.Helper()
	result, err := chromedp.Run(b, action)
	require.NoError(t, err)
	return result
}

func (b *tab) click(t *testing.T, selector string) {
	t.Helper()
	do(t, b, chromedp.Click(chromedp.CSS(selector)))
}

func (b *tab) set(t *testing.T, selector, value string) {
	t.Helper()
	do(t, b, chromedp.SetValue(chromedp.CSS(selector), value))
}

// until waits until an expression of the page is true.
func (b *tab) until(t *testing.T, expression string) {
	t.Helper()
	_, err := chromedp.Run(b, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(20*time.Second)))
	if err != nil {
		text, _ := chromedp.Run(b, chromedp.Evaluate[string]("document.body.innerText")) // to tell more
		require.NoError(t, err, "%s on %s", expression, text)
	}
}

func (b *tab) text(t *testing.T, id string) string {
	t.Helper()
	return do(t, b, chromedp.Text(chromedp.CSS("#"+id)))
}

// clean wants a browser without complaints.
func (b *tab) clean(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(t, b.wrong)
	require.Empty(t, b.beyond, "nothing is loaded from anywhere else")
}

const has = "document.getElementById(%q).textContent.includes(%q)"

func TestInBrowser(t *testing.T) {
	if *chromium == "" {
		t.Skip("NOT RUN: the page is tried in no browser: give -chromium")
	}
	c := start(t, "n1", "n2", "n3")
	c.request(t, "raftbus.bucket.add.app", `{"history":2}`)
	c.request(t, "raftbus.bucket.add.other", "")
	const hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
	for i := range 12 {
		c.request(t, fmt.Sprintf("raftbus.kv.put.app.k.%02d", i), hostile)
	}
	c.request(t, "raftbus.kv.put.app.z", "\xff\x00")
	b := open(t, c.nodes[0].Page())
	leader := c.leader()
	b.until(t, fmt.Sprintf(has, "headline", fmt.Sprintf("n%d leads in term", leader+1)))
	require.Contains(t, b.text(t, "headline"), "3 of 3 nodes answer")
	b.until(t, "document.querySelectorAll('#nodes tr').length === 4 && document.querySelectorAll('#links tr').length === 4")
	b.until(t, "document.querySelector('#throughput polyline')?.getAttribute('points').split(' ').length > 1")

	// Keys by prefix, page by page, and a value with its revision.
	b.until(t, "document.querySelectorAll('#bucket option').length === 2")
	b.set(t, "#prefix", "k.")
	b.set(t, "#limit", "10")
	b.click(t, "#browse button[type=submit]")
	b.until(t, "document.querySelectorAll('#keys li').length === 10")
	b.click(t, "#more")
	b.until(t, "document.querySelectorAll('#keys li').length === 12 && document.getElementById('more').hidden")
	b.click(t, "#keys li:nth-child(3) button")
	b.until(t, fmt.Sprintf(has, "value", hostile))
	require.Contains(t, b.text(t, "about"), "linearizable")
	require.Contains(t, b.text(t, "about"), "k.02")
	b.set(t, "#read", "local")
	b.click(t, "#keys li:nth-child(4) button")
	b.until(t, fmt.Sprintf(has, "about", "age, ms"))
	b.set(t, "#prefix", "z")
	b.click(t, "#browse button[type=submit]")
	b.until(t, "document.querySelectorAll('#keys li').length === 1")
	b.click(t, "#keys button")
	b.until(t, fmt.Sprintf(has, "value", "base64: /wA="))

	// A node stops: it stays on the list, and the others lead and serve.
	c.stop(t, leader)
	b.until(t, fmt.Sprintf(has, "nodes", "no answer since"))
	if leader != 0 { // whose page it is
		b.until(t, fmt.Sprintf(has, "headline", "2 of 3 nodes answer")+" && "+fmt.Sprintf(has, "headline", "leads in term"))
	}
	b.clean(t)
}

// Whatever the cluster says, or who else answers in its place, is text: names of keys and buckets, values, reasons, ids, roles.
func TestHostileAnswersInBrowser(t *testing.T) {
	if *chromium == "" {
		t.Skip("NOT RUN: the page is tried in no browser: give -chromium")
	}
	server := natstest.Run(t, embedded.Options{})
	nc := natstest.Connect(t, server)
	const evil = `<img src=x onerror=document.title='owned'><svg onload=document.title='owned'></option></select><script>document.title='owned'</script>javascript:alert(1)`
	for subject, answer := range map[string]string{
		"bucket.ls":   `{"buckets":["app",%[1]q]}`,
		"kv.keys.app": `{"bucket":"app","keys":[%[1]q,"__proto__","constructor"]}`,
		"node._all.stats": `{"node":"n1","role":%[1]q,"members":["n1","n2",%[1]q],"prefix":%[1]q,"health":{"warnings":[%[1]q]},
			"peers":[{"id":%[1]q,"link":%[1]q,"reason":%[1]q},{"id":"n2","link":"broken","reason":%[1]q}],"nats":[{"role":%[1]q,"last_error":%[1]q}]}`,
	} {
		_, err := nc.Subscribe("raftbus."+subject, func(m *nats.Msg) { _ = m.Respond(fmt.Appendf(nil, answer, evil)) })
		require.NoError(t, err)
	}
	require.NoError(t, nc.Flush())
	b := open(t, page.New(page.Options{Conn: nc, Prefix: "raftbus", Stats: "raftbus.node._all.stats"}))
	b.until(t, fmt.Sprintf(has, "problems", evil))
	b.until(t, fmt.Sprintf(has, "headline", evil))
	b.until(t, fmt.Sprintf(has, "bucket", evil))
	b.set(t, "#bucket", "app")
	b.click(t, "#browse button[type=submit]")
	b.until(t, fmt.Sprintf(has, "keys", evil))
	b.until(t, "document.querySelectorAll('#keys li').length === 3")
	b.click(t, "#keys li:nth-child(1) button")
	b.until(t, fmt.Sprintf(has, "said", "tokens of A-Z")) // its own node refuses it before it is a subject
	require.Equal(t, "raftbus", do(t, b, chromedp.Title()))
	require.Zero(t, do(t, b, chromedp.Evaluate[int]("document.querySelectorAll('img, main script, option script').length")))

	// And if the page were wrong, the policy would hold.
	outcome := do(t, b, chromedp.Evaluate[string](`(() => { try { document.body.innerHTML = "<p>"; return "done" } catch (e) { return e.name } })()`))
	require.Equal(t, "TypeError", outcome)
}

// The pictures of docs: five nodes under load, of which one is paused, one cut off from its peers, and one has a slow disk, for which each
// write waits, since two others are a majority only with it.
func TestScreenshots(t *testing.T) {
	if *chromium == "" || *screenshots == "" {
		t.Skip("NOT RUN: no pictures are made: give -chromium and -screenshots")
	}
	c := startWard(t, "n1", "n2", "n3", "n4", "n5")
	c.request(t, "raftbus.bucket.add.orders", "")
	loading, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	for worker := range 4 {
		load.Go(func() {
			for i := 0; loading.Err() == nil; i++ {
				key := fmt.Sprintf("orders.%d.%03d", 1000+worker, i%200)
				_, _ = c.nc.Request("raftbus.kv.put."+key, fmt.Appendf(nil, `{"state":"paid","attempt":%d}`, i), time.Second) // those that fail are asked for again
				_, _ = c.nc.Request("raftbus.kv.get."+key, nil, time.Second)
				time.Sleep(5 * time.Millisecond) // a picture needs no more
			}
		})
	}
	b := open(t, c.handler)
	b.until(t, "document.querySelector('#throughput polyline')?.getAttribute('points').split(' ').length > 8")
	c.watch.look(t)
	paused := c.follower(shown)
	cut := c.follower(shown, paused)
	slow := c.follower(shown, paused, cut)
	if slow < 0 { // the page's node leads
		slow = c.leader()
	}
	c.patients[paused].pause()
	b.until(t, fmt.Sprintf(has, "headline", "4 of 5 nodes answer"))
	c.patients[cut].peers.cut()
	b.until(t, fmt.Sprintf(has, "problems", "connection to NATS is down"))
	b.until(t, "document.querySelector('#throughput polyline')?.getAttribute('points').split(' ').length > 16")
	b.click(t, "#browse button[type=submit]")
	b.until(t, "document.querySelectorAll('#keys li').length > 10")
	b.click(t, "#keys li:nth-child(3) button")
	b.until(t, fmt.Sprintf(has, "value", "paid"))
	c.patients[slow].slow.Store(true)
	b.until(t, fmt.Sprintf(has, "problems", "the disk is slow")+" && "+fmt.Sprintf(has, "headline", "leads in term"))
	b.until(t, "document.querySelector('#throughput polyline')?.getAttribute('points').split(' ').length > 24")
	b.picture(t, "page.png")

	before := c.watch.look(t)
	time.Sleep(2 * time.Second) // an interval of top
	text := top.Compare(before, c.watch.look(t)).Text(top.Options{Color: true})
	do(t, b, chromedp.EmulateViewport(1280, 360))
	do(t, b, chromedp.Navigate("data:text/html;charset=utf-8,"+strings.ReplaceAll(terminal(text), "#", "%23")))
	b.picture(t, "top.png")
}

// watch looks at a cluster as raftbus top does.
type watch struct {
	nc   *nats.Conn
	last top.Sample
}

func (w *watch) look(t *testing.T) top.Sample {
	t.Helper()
	answers, err := observe.Gather(t.Context(), w.nc, busclient.StatsSubject("raftbus", busclient.AllNodes), w.last.Silent())
	require.NoError(t, err)
	w.last = w.last.Next(time.Now(), answers)
	return w.last
}

// terminal shows text with escape codes as a terminal would.
func terminal(text string) string {
	text = html.EscapeString(text)
	for code, tag := range map[string]string{"\x1b[1m": "<b>", "\x1b[31m": "<b style='color:lightcoral'>", "\x1b[0m": "</b>"} {
		text = strings.ReplaceAll(text, code, tag)
	}
	return "<body style='background:black;color:lightgray;margin:12px'><pre style='font:12px monospace'>$ raftbus top\n" + text + "</pre>"
}

func (b *tab) picture(t *testing.T, name string) {
	t.Helper()
	png := do(t, b, chromedp.FullScreenshot(100))
	require.NoError(t, os.WriteFile(filepath.Join(*screenshots, name), png, 0o644))
}
