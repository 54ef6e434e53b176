package sim

// Messages that reach somebody whom they are not for, with their subject or with one of his own: a bus may do that, by a wrong
// import or mapping (fault model, section 1). What they hold says who is meant.

import (
	"strings"

	"github.com/raftbus/raftbus/busclient"
)

// stray takes a copy of a message to another node.
func (b *bus) stray(c *conn, d busclient.Delivery) {
	list := b.world.list
	n := list[b.r.IntN(len(list))]
	renamed := b.r.IntN(2) == 0
	b.world.at(b.world.now+b.delay(), func() {
		for i := range n.conns[c.path].subs {
			s := &n.conns[c.path].subs[i]
			if !n.conns[c.path].up || !alike(s.pattern, d.Subject) {
				continue
			}
			if b.strayed++; renamed {
				d.Subject = inPlaceOf(s.pattern, d.Subject)
			}
			b.world.deliver(n, s.handle, d)
			return
		}
	})
}

// alike reports whether a subject is of a pattern's kind, for whomever it is: <prefix>.rpc.<to>.<from>.<method>[.<nonce>.<round>].
func alike(pattern, subject string) bool {
	a, b := strings.Split(pattern, "."), strings.Split(subject, ".")
	return len(a) == len(b) && len(a) > 4 && (a[4] == b[4] || a[4] == "*")
}

// inPlaceOf gives a subject the tokens that a pattern asks for.
func inPlaceOf(pattern, subject string) string {
	a, b := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i := range a {
		if a[i] != "*" {
			b[i] = a[i]
		}
	}
	return strings.Join(b, ".")
}
