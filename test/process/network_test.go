package process

// A network for a test: hosts, each a network namespace, on one bridge. What passes between two of them is decided by
// rules that can be imposed and lifted at any time. The bridge is in the test's own namespace (namespaces_linux_test.go),
// so it is reached by no one else.

import (
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// network is a bridge and its hosts.
type network struct {
	t      *testing.T
	number int64

	mu    sync.Mutex
	hosts []string // the first is the test itself, with its clients
	rules []*rule
}

// clients is the host of the test itself.
const clients = "clients"

// rule is what happens to packets from one host to another.
type rule struct {
	from, to string
	fate     fate
	share    float64 // of the packets; 0: all
}

type fate int

const (
	vanish fate = iota // nobody is told: connections stay, half-open (F10)
	refuse             // the sender's connections are reset at once, and new ones refused
)

func (f fate) String() string { return [...]string{"vanishing", "refused"}[f] }

var networks atomic.Int64

func newNetwork(t *testing.T) *network {
	n := &network{t: t, number: networks.Add(1), hosts: []string{clients}}
	n.command(fmt.Sprintf("link add %s type bridge\nlink set %[1]s up\naddr add %s/24 dev %[1]s\n", n.bridge(), n.address(clients)), "ip", "-batch", "-")
	t.Cleanup(n.remove)
	return n
}

func (n *network) bridge() string           { return fmt.Sprintf("br%d", n.number) }
func (n *network) space(host string) string { return fmt.Sprintf("net%d-%s", n.number, host) }

// address is that of a host: the bridge's network is 10.77.<number>.0/24.
func (n *network) address(host string) string {
	i := slices.Index(n.hosts, host)
	require.GreaterOrEqual(n.t, i, 0, "no host %q", host)
	return fmt.Sprintf("10.77.%d.%d", n.number, i+1)
}

// add makes a host.
func (n *network) add(host string) {
	n.hosts = append(n.hosts, host)
	wire := fmt.Sprintf("w%d-%d", n.number, len(n.hosts))
	n.command(fmt.Sprintf("netns add %[1]s\nlink add %[2]s type veth peer name eth0 netns %[1]s\nlink set %[2]s master %[3]s up\n",
		n.space(host), wire, n.bridge()), "ip", "-batch", "-")
	n.command(fmt.Sprintf("addr add %s/24 dev eth0\nlink set eth0 up\nlink set lo up\n", n.address(host)), "ip", "-n", n.space(host), "-batch", "-")
}

// on makes a command run on a host.
func (n *network) on(host string, args ...string) []string {
	if host == clients {
		return args
	}
	return append([]string{"nsenter", "--net=/run/netns/" + n.space(host)}, args...)
}

// command runs one to its end.
func (n *network) command(input string, args ...string) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	require.NoError(n.t, err, "%v\n%s\n%s", args, input, out)
}

// impose adds rules, all at once for each host, until they are lifted.
func (n *network) impose(rules ...*rule) (lift func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = append(n.rules, rules...)
	n.load(rules)
	return func() { n.lift(rules) }
}

func (n *network) lift(rules []*rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = slices.DeleteFunc(n.rules, func(r *rule) bool { return slices.Contains(rules, r) })
	n.load(rules)
}

// load gives the hosts that hold some rules the rules they hold now.
func (n *network) load(changed []*rule) {
	var hosts []string
	for _, r := range changed {
		hosts = append(hosts, r.host())
	}
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		n.command(n.script(host), n.on(host, "nft", "-f", "-")...)
	}
}

// script is what nft is told: the table as it is to be, in one transaction.
func (n *network) script(host string) string {
	var in, out string
	for _, r := range n.rules {
		switch {
		case r.host() != host:
		case r.fate == refuse:
			out += fmt.Sprintf("ip daddr %s meta l4proto tcp %s reject with tcp reset; ", n.address(r.to), r.chance())
		default:
			in += fmt.Sprintf("ip saddr %s %s drop; ", n.address(r.from), r.chance())
		}
	}
	return fmt.Sprintf("table ip faults {}\ndelete table ip faults\ntable ip faults {\n"+
		"chain in { type filter hook input priority 0; %s}\nchain out { type filter hook output priority 0; %s}\n}\n", in, out)
}

// host is where a rule is held: refusals where the sender is, losses where the packets arrive.
func (r *rule) host() string {
	if r.fate == refuse {
		return r.from
	}
	return r.to
}

func (r *rule) chance() string {
	if r.share == 0 {
		return ""
	}
	return fmt.Sprintf("meta random < %d", uint32(r.share*math.MaxUint32))
}

// between makes rules for both ways between each two of two groups of hosts.
func between(a, b []string, f fate) (rules []*rule) {
	for _, x := range a {
		for _, y := range b {
			rules = append(rules, &rule{from: x, to: y, fate: f}, &rule{from: y, to: x, fate: f})
		}
	}
	return rules
}

// oneWay makes rules by which nothing of one group of hosts reaches the other.
func oneWay(from, to []string) (rules []*rule) {
	for _, x := range from {
		for _, y := range to {
			rules = append(rules, &rule{from: x, to: y})
		}
	}
	return rules
}

// everybody is all hosts, the test's own among them.
func (n *network) everybody() []string { return slices.Clone(n.hosts) }

// slow bounds what a host can send, with room for a second of it to wait.
func (n *network) slow(host string, kbit int) (lift func()) {
	n.command("", n.on(host, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", fmt.Sprintf("%dkbit", kbit), "burst", "16kb", "latency", "1s")...)
	return func() { n.command("", n.on(host, "tc", "qdisc", "del", "dev", "eth0", "root")...) }
}

func (n *network) remove() {
	for _, host := range n.hosts[1:] {
		n.command("", "ip", "netns", "del", n.space(host))
	}
	n.command("", "ip", "link", "del", n.bridge())
}
