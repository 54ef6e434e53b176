// Package packaging holds what deploy/ ships to what the binary is: labels that fit each other, limits that leave it the time it takes, and a
// release that is the same twice. That it sets only what there is, package main tests, which knows the flags.
package packaging

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/raftbus/raftbus/test/built"
)

var release = flag.Bool("release", false, "run TestRelease, which compiles the product four times over")

const root = "../.."

func read(t *testing.T, file string) string {
	b, err := os.ReadFile(filepath.Join(root, file))
	require.NoError(t, err)
	return string(b)
}

type tree = map[string]any

// at walks into a document.
func at(t *testing.T, in any, way ...string) any {
	for i, key := range way {
		m, ok := in.(tree)
		require.True(t, ok, "%v", way[:i])
		in = m[key]
		require.NotNil(t, in, "%v", way[:i+1])
	}
	return in
}

func manifests(t *testing.T) map[string]tree {
	byKind := map[string]tree{}
	d := yaml.NewDecoder(strings.NewReader(read(t, "deploy/kubernetes/raftbus.yaml")))
	for {
		var one tree
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return byKind
		}
		require.NoError(t, err)
		byKind[at(t, one, "kind").(string)] = one
	}
}

// One label selects the pods everywhere, the members are the pods, and nothing runs as root, or may write but to its volume.
func TestKubernetesManifests(t *testing.T) {
	all := manifests(t)
	set := all["StatefulSet"]
	labels := at(t, set, "spec", "template", "metadata", "labels")
	require.Equal(t, labels, at(t, set, "spec", "selector", "matchLabels"))
	require.Equal(t, labels, at(t, all["PodDisruptionBudget"], "spec", "selector", "matchLabels"))
	require.Equal(t, labels, at(t, all["Service"], "spec", "selector"))
	require.Equal(t, at(t, all["Service"], "metadata", "name"), at(t, set, "spec", "serviceName"))
	require.Equal(t, "Parallel", at(t, set, "spec", "podManagementPolicy"), "a first boot needs all members")
	require.Equal(t, tree{"whenDeleted": "Retain", "whenScaled": "Retain"}, at(t, set, "spec", "persistentVolumeClaimRetentionPolicy"), "data goes by nobody's mistake")
	require.Equal(t, 1, at(t, all["PodDisruptionBudget"], "spec", "maxUnavailable"), "two of three are a majority")

	pod := at(t, set, "spec", "template", "spec")
	term := at(t, pod, "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution").([]any)[0]
	require.Equal(t, labels, at(t, term, "labelSelector", "matchLabels"))
	members := strings.Split(at(t, all["ConfigMap"], "data", "RAFTBUS_MEMBERS").(string), ",")
	require.Len(t, members, at(t, set, "spec", "replicas").(int))
	for i, m := range members {
		require.Equal(t, "raftbus-"+string(rune('0'+i)), m)
	}
	require.Greater(t, at(t, pod, "terminationGracePeriodSeconds"), stopMax)
	require.Equal(t, true, at(t, pod, "securityContext", "runAsNonRoot"))
	require.Equal(t, false, at(t, pod, "enableServiceLinks"), "the variables of a service, as RAFTBUS_PORT, would be taken for settings")

	container := at(t, pod, "containers").([]any)[0]
	require.Equal(t, true, at(t, container, "securityContext", "readOnlyRootFilesystem"))
	require.Equal(t, []any{"ALL"}, at(t, container, "securityContext", "capabilities", "drop"))
	require.NotContains(t, container, "livenessProbe", "a node without a leader is alive")
	require.GreaterOrEqual(t, at(t, container, "readinessProbe", "timeoutSeconds"), 6, "the health command waits 5 s for an answer")
}

// What a node keeps is on the volume that is claimed for it, which it may write to; its credentials are where it looks for them.
func TestKubernetesVolumes(t *testing.T) {
	all := manifests(t)
	set := all["StatefulSet"]
	pod := at(t, set, "spec", "template", "spec")
	container := at(t, pod, "containers").([]any)[0]
	mounted := tree{}
	for _, m := range at(t, container, "volumeMounts").([]any) {
		mounted[at(t, m, "name").(string)] = at(t, m, "mountPath")
	}
	claim := at(t, set, "spec", "volumeClaimTemplates").([]any)[0]
	require.Equal(t, "data", at(t, claim, "metadata", "name"))
	require.Equal(t, "auth", at(t, at(t, pod, "volumes").([]any)[0], "name"))
	require.Len(t, mounted, 2)
	env := tree{}
	for _, e := range at(t, container, "env").([]any) {
		env[at(t, e, "name").(string)] = e.(tree)["value"]
	}
	require.Equal(t, mounted["data"], path.Dir(at(t, env, "RAFTBUS_DIR").(string)), "a folder of its own there: a volume may come with others, such as lost+found")
	require.Equal(t, mounted["auth"], at(t, all["ConfigMap"], "data", "RAFTBUS_AUTH_DIR"))
	require.Equal(t, at(t, pod, "securityContext", "runAsUser"), at(t, pod, "securityContext", "fsGroup"))
}

// The command that makes the secret takes every file of auth/nodes, those of tenants too, under a name that Kubernetes takes; each is mounted
// by that name, and the comment says how those of tenants are.
func TestKubernetesSecretHasAllFiles(t *testing.T) {
	manifest := read(t, "deploy/kubernetes/raftbus.yaml")
	_, command, _ := strings.Cut(manifest, "secret generic raftbus-auth \\\n#     $(")
	command, _, ok := strings.Cut(command, ")\n#   kubectl -n raftbus apply")
	require.True(t, ok)
	dir := t.TempDir()
	var want []string
	for _, id := range []string{"raftbus-0", "raftbus-1", "raftbus-2"} {
		for _, file := range []string{"peers.nk", "clients.nk", "leaf.nk", "cluster.key", "tenants/team-a/clients.nk"} {
			path := filepath.Join(dir, "auth/nodes", id, file)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
			key := strings.ReplaceAll(id+"/"+file, "/", ".")
			want = append(want, "--from-file="+key+"=auth/nodes/"+id+"/"+file)
			if file == "tenants/team-a/clients.nk" && id != "raftbus-0" {
				continue // named for the first pod, as an example
			}
			require.Contains(t, manifest, "{key: "+key+", path: "+id+"/"+file+"}")
		}
	}
	shell := exec.Command("bash", "-c", command)
	shell.Dir = dir
	said, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.ElementsMatch(t, want, strings.Fields(string(said)))
}

// stopMax is what a clean end takes at most: the node 15 s, then traces, HTTP and the log 7 more.
const stopMax = 22

// Docker publishes NATS's port, and nobody else's, to this host alone, leaves a node the time that a stop takes, and starts it again.
func TestCompose(t *testing.T) {
	services := tree{}
	for file, count := range map[string]int{"docker-compose.yml": 6, "deploy/compose-n4.yml": 1} {
		var all tree
		require.NoError(t, yaml.Unmarshal([]byte(read(t, file)), &all), file)
		require.Len(t, all["services"], count, file)
		maps.Copy(services, all["services"].(tree))
	}
	for name, service := range services {
		if name == "nats" {
			require.Equal(t, []any{"127.0.0.1:${NATS_PORT:-4222}:4222"}, at(t, service, "ports"))
			require.Equal(t, "unless-stopped", at(t, service, "restart"))
			continue
		}
		require.NotContains(t, service, "ports", name)
		if !strings.HasPrefix(name, "n") {
			continue
		}
		require.Equal(t, "unless-stopped", at(t, service, "restart"), name)
		stop, err := time.ParseDuration(at(t, service, "stop_grace_period").(string))
		require.NoError(t, err, name)
		require.Greater(t, stop, stopMax*time.Second, name)
		look, err := time.ParseDuration(at(t, service, "healthcheck", "timeout").(string))
		require.NoError(t, err, name)
		require.GreaterOrEqual(t, look, 6*time.Second, "the health command waits 5 s for an answer")
	}
}

// The unit waits for the node to say that it runs, leaves it the time that a stop takes, and is known to systemd in every word.
func TestUnit(t *testing.T) {
	unit := read(t, "deploy/systemd/raftbus@.service")
	for _, line := range []string{"Type=notify", "TimeoutStopSec=30", "User=raftbus", "ProtectSystem=strict", "NoNewPrivileges=yes", "Restart=on-failure",
		"RestartPreventExitStatus=4 8", "StartLimitBurst=10", // a panic ends with 2, as a wrong command line does
		"ProtectHome=yes", "Environment=XDG_CONFIG_HOME=/etc/raftbus", // a home that may not be seen has no context of the nats CLI to be read
		"StateDirectory=raftbus/%i", "Environment=RAFTBUS_DIR=%S/raftbus/%i", // all else is read-only
		"Environment=RAFTBUS_AUTH_DIR=/etc/raftbus/%i", // where the lines at its head put the credentials
		"ExecReload=/bin/kill -HUP $MAINPID",           // by which the cluster key is read anew
		"LimitNOFILE=65536",                            // a large state has thousands of files
	} {
		require.Contains(t, unit, line+"\n")
	}
	require.Contains(t, unit, " cp -rp auth/nodes/n1 /etc/raftbus/ ")
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("NOT RUN in full: no systemd-analyze here, so no word of the unit was looked up")
	}
	dir := t.TempDir()
	unit = strings.ReplaceAll(unit, "/usr/local/bin/raftbus", "/bin/true")
	unit = strings.NewReplacer("User=raftbus", "User=root", "Group=raftbus", "Group=root").Replace(unit)
	unit = strings.ReplaceAll(unit, "Documentation=man:raftbus-node(1)\n", "")
	file := filepath.Join(dir, "raftbus@.service")
	require.NoError(t, os.WriteFile(file, []byte(unit), 0o644))
	said, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.NotContains(t, string(said), "raftbus@", "%s", said)
}

// The image runs as nobody, from nothing, and is built alike each time.
func TestDockerfile(t *testing.T) {
	file := read(t, "Dockerfile")
	for _, text := range []string{"FROM scratch AS image", "USER 65532:65532", "--platform=$BUILDPLATFORM", "GOARCH=$TARGETARCH", "-trimpath", "-buildid=", "main.release=$VERSION",
		"\nCOPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n", // by which a node knows a NATS server with TLS
		"\nCOPY --from=build --chown=65532:65532 /out/data /data\n",
	} {
		require.Contains(t, file, text)
	}
	require.NotContains(t, file[:strings.Index(file, "FROM scratch")], "\nARG ", "an older BuildKit would not say there what it builds on")
	require.Regexp(t, `docker run .*-p 127\.0\.0\.1:4222:4222 raftbus dev --host 0\.0\.0\.0\n`, file, "by itself NATS listens on the container's loopback, where nobody reaches it")
	require.Contains(t, read(t, "cmd/raftbus/version.go"), "\nvar release string\n", "what the linker sets by -X main.release")
}

// What the image is built from, and only the build says that it is missing, is not kept from Docker.
func TestDockerIsGivenWhatTheImageIsBuiltFrom(t *testing.T) {
	built.Seen(t)
	list := exec.Command("go", "list", "-deps", "-f", `{{if .Module}}{{if .Module.Main}}{{$p := .}}{{range .GoFiles}}{{$p.Dir}}/{{.}}
{{end}}{{range .EmbedFiles}}{{$p.Dir}}/{{.}}
{{end}}{{end}}{{end}}`, "./cmd/raftbus")
	list.Dir = root
	said, err := list.Output()
	require.NoError(t, err)
	here, err := filepath.Abs(root)
	require.NoError(t, err)
	files := strings.Fields(strings.ReplaceAll(string(said), here+"/", ""))
	require.Greater(t, len(files), 100)
	require.Contains(t, files, "cmd/raftbus/main.go")
	require.Contains(t, read(t, "Dockerfile"), "\nCOPY go.mod go.sum ./\n")
	rules := strings.Split(read(t, ".dockerignore"), "\n")
	require.True(t, keptFromDocker(rules, "README.md") && keptFromDocker(rules, "raft/node/node_test.go"))
	for _, file := range append(files, "go.mod", "go.sum") {
		require.False(t, keptFromDocker(rules, file), file)
	}
}

// keptFromDocker is what the last rule of .dockerignore that matches says, of a file or of a folder that it is in.
func keptFromDocker(rules []string, file string) (kept bool) {
	for _, rule := range rules {
		pattern, given := strings.CutPrefix(rule, "!")
		pattern, anywhere := strings.CutPrefix(pattern, "**/")
		for at := file; at != "."; at = path.Dir(at) {
			name := at
			if anywhere {
				name = path.Base(at)
			}
			if matches, _ := path.Match(pattern, name); matches {
				kept = !given
			}
		}
	}
	return kept
}

// A release of one commit is the same bytes twice: archives, bills of materials, sums. Each archive holds a binary for its platform that says
// its version.
func TestRelease(t *testing.T) {
	if !*release {
		t.Skip("compiles for minutes: give -release")
	}
	clone := t.TempDir()
	git := exec.Command("git", "clone", "--quiet", root, clone)
	said, err := git.CombinedOutput()
	require.NoError(t, err, "%s", said)
	var sums [][]byte
	for _, out := range []string{t.TempDir(), t.TempDir()} {
		script := exec.Command("bash", "deploy/release.sh", "v0.0.1-test", out)
		script.Dir = clone
		said, err := script.CombinedOutput()
		require.NoError(t, err, "%s", said)
		sum, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		require.NoError(t, err)
		sums = append(sums, sum)
		checkRelease(t, out)
	}
	require.Equal(t, string(sums[0]), string(sums[1]))
}

// What is released does not say that nothing is: whoever makes the first release is told where. A test of the script itself releases nothing.
func TestAReleaseDoesNotSayThatThereIsNone(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{"deploy/release.sh": read(t, "deploy/release.sh"), "README.md": "# raftbus\n\nNo release is tagged yet.\n",
		"docs/operating.md": "no release is tagged yet\n", "CHANGELOG.md": "no version is tagged\n"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
	}
	for version, refused := range map[string]bool{"v1.2.3": true, "v0.0.1-test": false} { // which the folder is no clone for
		script := exec.Command("bash", "deploy/release.sh", version, t.TempDir())
		script.Dir = dir
		said, err := script.CombinedOutput()
		require.Error(t, err)
		for _, where := range []string{"README.md:3:", "docs/operating.md:1:", "CHANGELOG.md:1:", "error: these pages say that there is no release"} {
			require.Equal(t, refused, strings.Contains(string(said), where), "%s: %s", version, said)
		}
	}
}

// What the pages of a release link to is in it: the lines that gather it are run as they stand.
func TestAReleaseHoldsWhatItsPagesLinkTo(t *testing.T) {
	_, lines, found := strings.Cut(read(t, "deploy/release.sh"), "\ncp LICENSE ")
	lines, _, ends := strings.Cut(lines, "\nfor platform ")
	require.True(t, found && ends, "deploy/release.sh gathers in another way")
	work := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(work, "common"), 0o700))
	built.Seen(t, "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "docs", "deploy", "test")
	gather := exec.Command("bash", "-c", "set -eu\nwork=$1\ncp LICENSE "+lines, "gather", work)
	gather.Dir = root
	said, err := gather.CombinedOutput()
	require.NoError(t, err, "%s", said)
	requireLinks(t, filepath.Join(work, "common"))
}

func checkRelease(t *testing.T, out string) {
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = out
	said, err := check.CombinedOutput()
	require.NoError(t, err, "%s", said)
	for _, platform := range []string{"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"} {
		name := "raftbus-v0.0.1-test-" + platform
		list, err := exec.Command("tar", "-tzf", filepath.Join(out, name+".tar.gz")).Output()
		require.NoError(t, err)
		files := strings.Fields(string(list))
		for _, file := range []string{"raftbus", "LICENSE", "CHANGELOG.md", "man/raftbus-node.1", "completion/raftbus.bash", "deploy/systemd/raftbus@.service", "deploy/monitoring/alerts.yml", "deploy/kubernetes/raftbus.yaml", "docs/operating.md",
			"ARCHITECTURE.md", "kv/ERRORS.md", "cmd/raftbus/admin/ERRORS.md", "cmd/raftbus/backup/FORMAT.md"} {
			require.True(t, slices.Contains(files, name+"/"+file), "%s in %s", file, files)
		}
		sbom, err := os.ReadFile(filepath.Join(out, name+".cdx.json"))
		require.NoError(t, err)
		require.True(t, bytes.Contains(sbom, []byte("github.com/nats-io/nats.go")) && bytes.Contains(sbom, []byte("CycloneDX")))
		checkBinary(t, out, name, platform)
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// requireLinks wants what the pages in a folder link to, beside what is elsewhere, to be there.
func requireLinks(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(file string, _ os.DirEntry, err error) error {
		require.NoError(t, err)
		if filepath.Ext(file) != ".md" {
			return nil
		}
		page, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range link.FindAllSubmatch(page, -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(file), string(found[1])))
			require.NoError(t, err, "%s links to %s", file, found[1])
		}
		return nil
	}))
}

// checkBinary wants an archive's binary to be for its platform, and to need no library of it, and its pages to link to nothing that is not there.
func checkBinary(t *testing.T, out, name, platform string) {
	dir := t.TempDir()
	require.NoError(t, exec.Command("tar", "-xzf", filepath.Join(out, name+".tar.gz"), "-C", dir).Run())
	requireLinks(t, filepath.Join(dir, name))
	info, err := buildinfo.ReadFile(filepath.Join(dir, name, "raftbus"))
	require.NoError(t, err)
	system, processor, _ := strings.Cut(platform, "-")
	for _, setting := range []string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + processor} {
		require.Contains(t, info.String(), setting, name)
	}
}
