// Package notes says which errors of a connection are news. An outage is one line in the log, not one per attempt, and a permission that is
// missing is refused with each message: what repeats is told once a minute. It logs nothing itself.
package notes

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// Interval is how long a kind of error is no news once it was logged.
	Interval = time.Minute
	// KindsMax bounds the kinds that are remembered: the texts of errors are made by others.
	KindsMax = 64
)

// Notes remember when each kind of error was logged. Safe for use by several goroutines.
type Notes struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// KindOf is the text of an error without the ports of the connection, which are others each time.
func KindOf(err error) string {
	var lookup *net.DNSError
	if errors.As(err, &lookup) { // its text has the ports of the way to the name server
		return "lookup " + lookup.Name
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Op + ": " + network.Err.Error()
	}
	return err.Error()
}

// IsNews reports whether an error of that kind is to be logged now.
func (n *Notes) IsNews(kind string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if last, told := n.told[kind]; told && now.Sub(last) < Interval {
		return false
	}
	for k, last := range n.told {
		if now.Sub(last) >= Interval {
			delete(n.told, k)
		}
	}
	if len(n.told) >= KindsMax {
		return false
	}
	if n.told == nil {
		n.told = map[string]time.Time{}
	}
	n.told[kind] = now
	return true
}
