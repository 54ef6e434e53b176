package process

// `raftbus doctor` names what was done to a cluster, within 5 s.

import (
	"encoding/json"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// namedWithin is how long a fault may last until the doctor, asked again and again, has named it.
const namedWithin = 5 * time.Second

// finding is what the doctor says, as far as it is looked at here.
type finding struct{ Severity, Code, Node, Cause, Evidence, Remedy string }

// doctor asks once, by a server's address.
func (c *cluster) doctor(server *server) (findings []finding) {
	out, _ := exec.Command(binary, "doctor", "--json", "--nats", server.url(), "--no-context").Output() // its exit code is what it finds
	var said struct{ Findings []finding }
	require.NoError(c.t, json.Unmarshal(out, &said), "%s", out)
	return said.Findings
}

// named asks until the doctor names a fault, and wants it in time, with evidence and remedy.
func (c *cluster) named(server *server, code, node string) {
	c.t.Helper()
	for began := time.Now(); ; {
		said := c.doctor(server)
		for _, f := range said {
			if f.Code == code && (node == "" || f.Node == node) {
				c.t.Logf("%v: %s: %s; %s; %s", rounded(time.Since(began)), f.Code, f.Cause, f.Evidence, f.Remedy)
				require.Less(c.t, time.Since(began), namedWithin)
				require.NotEmpty(c.t, f.Evidence)
				require.NotEmpty(c.t, f.Remedy)
				return
			}
		}
		require.Less(c.t, time.Since(began), namedWithin, "not named %s: %v", code, said)
	}
}

// sound waits until the doctor finds nothing but notes.
func (c *cluster) sound(server *server) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		for _, f := range c.doctor(server) {
			if f.Severity != "note" && f.Code != "bus-open" { // of an open network, which this is
				c.t.Logf("still: %v", f)
				return false
			}
		}
		return true
	}, time.Minute, time.Millisecond)
}

// Kill, pause, partition, fill the disk, stop NATS: each is named for what it is, and nothing is named when it is over.
func TestDoctorNamesTheCause(t *testing.T) {
	needNamespaces(t)
	c := newCluster(t, layout{nodes: 3, servers: 3, hosts: true, paired: true})
	for _, id := range c.members {
		c.smallDisk(id)
	}
	c.startAll()
	leader := c.leader()
	c.addBucket("app")
	followers := c.followers(c.random(), leader)
	seen := c.servers[int(leader[1]-'1')]
	c.sound(seen)

	victim := followers[0]
	c.kill(victim)
	c.named(seen, "node-down", victim)
	c.start(victim)
	c.sound(seen)

	c.signal(victim, syscall.SIGSTOP)
	c.named(seen, "node-silent", victim)
	c.signal(victim, syscall.SIGCONT)
	c.sound(seen)

	lift := c.net.impose(between([]string{serverOf(followers[0])}, []string{serverOf(followers[1])}, refuse)...)
	c.named(seen, "link-broken", "")
	lift()
	c.sound(seen)

	lift = c.net.impose(between([]string{serverOf(victim)}, c.net.everybody(), refuse)...) // with its NATS server, from all others
	c.named(seen, "node-down", victim)
	lift()
	c.sound(seen)

	empty := c.fill(victim)
	c.named(seen, "disk-full", victim)
	empty()
	c.sound(seen)

	for _, s := range c.servers {
		s.kill()
	}
	c.named(seen, "nats-unreachable", "")
	for _, s := range c.servers {
		c.startServer(s)
	}
	c.sound(seen)
}

// A disk that hangs is named while it hangs.
func TestDoctorNamesAHungDisk(t *testing.T) {
	if !*traced {
		t.Skip("hangs a disk by strace: give -strace")
	}
	c := started(t, layout{nodes: 3})
	l := startLoad(c, 4, 20, 5*time.Millisecond)
	l.waitAck(time.Now(), 5*time.Second)
	leader := c.leader()
	release := c.hang(leader)
	c.named(c.servers[0], "disk-slow", leader)
	release()
	l.finish()
	c.sound(c.servers[0])
}
