package replica

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/cmd/raftbus/observe"
)

var prometheus = flag.String("prometheus", "", "folder with prometheus and promtool: scrapes a cluster with the real thing")

const monitoring = "../../../deploy/monitoring"

// A real Prometheus takes the alerts, scrapes a cluster, and tells of a node that is gone, and of a majority that is.
func TestPrometheusTellsWhatIsWrong(t *testing.T) {
	if *prometheus == "" {
		t.Skip("needs -prometheus")
	}
	tool(t, "check", "rules", filepath.Join(monitoring, "alerts.yml"))
	tool(t, "check", "config", filepath.Join(monitoring, "prometheus.yml"))
	nodes, leads, nc := three(t)
	var targets []string
	for _, r := range nodes {
		page, err := observe.Listen("127.0.0.1:0", slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		t.Cleanup(page.Close)
		page.Show(r)
		targets = append(targets, page.Address())
	}
	p := startPrometheus(t, targets)
	request(t, nc, "raftbus.bucket.add.app", "")
	request(t, nc, "raftbus.kv.put.app.color", "blue")
	p.await(t, "query?query="+url.QueryEscape("sum(raftbus_node_ready)"), `"3"]`)
	p.await(t, "query?query="+url.QueryEscape(`sum(raftbus_request_duration_seconds_count{door="kv",operation="write"})`), `"1"]`)
	p.await(t, "alerts", `"alerts":[]`)
	p.checkDashboard(t)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, nodes[(leads+1)%3].Stop(ctx))
	p.await(t, "query?query="+url.QueryEscape(`ALERTS{alertname="RaftbusNodeFailed",alertstate="firing"}`), "critical") // its page is there still
	p.await(t, "alerts", "RaftbusLinkBroken")
	p.await(t, "alerts", "RaftbusMemberMissing")
	require.NoError(t, nodes[leads].Stop(ctx))
	p.await(t, "alerts", "RaftbusNoLeader")
	p.await(t, "alerts", "RaftbusQuorumLost")
}

// checkDashboard has every query of the dashboard answered.
func (s server) checkDashboard(t *testing.T) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
	require.NoError(t, err)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(content, &board))
	fill := strings.NewReplacer("$cluster", ".*", "$node", ".*", "$__rate_interval", "1m")
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			said := s.ask(t, "query?query="+url.QueryEscape(fill.Replace(target.Expr)))
			require.Contains(t, said, `"status":"success"`, "%s: %s", panel.Title, target.Expr)
		}
	}
}

func tool(t *testing.T, args ...string) {
	t.Helper()
	said, err := exec.Command(filepath.Join(*prometheus, "promtool"), args...).CombinedOutput()
	require.NoError(t, err, "%s", said)
}

type server struct{ address string }

func startPrometheus(t *testing.T, targets []string) server {
	t.Helper()
	dir := t.TempDir()
	rules, err := os.ReadFile(filepath.Join(monitoring, "alerts.yml"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yml"), rules, 0o600))
	config := fmt.Sprintf("global: {scrape_interval: 500ms, evaluation_interval: 500ms}\nrule_files: [alerts.yml]\nscrape_configs:\n- job_name: raftbus\n  scrape_timeout: 400ms\n  static_configs:\n  - targets: ['%s']\n", strings.Join(targets, "','"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := server{free.Addr().String()}
	require.NoError(t, free.Close())
	cmd := exec.Command(filepath.Join(*prometheus, "prometheus"), "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", s.address)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return s
}

// ask returns what the API says; empty while it does not.
func (s server) ask(t *testing.T, path string) string {
	transport := &http.Transport{DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address+"/api/v1/"+path, nil)
	require.NoError(t, err)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	if !json.Valid(body) {
		return ""
	}
	return string(body)
}

// await waits until the API says something.
func (s server) await(t *testing.T, path, want string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(s.ask(t, path), want) }, time.Minute, 200*time.Millisecond, "%s never says %s: %s", path, want, s.ask(t, path))
}
