package leaf

// What this node listens on. It is few, and said anew at each connection.

import (
	"fmt"
	"slices"
	"sync"
)

// Message is one that arrived. Header and Data hold until the handler returns.
type Message struct {
	Subject, Reply string
	Header, Data   []byte // Header as on the wire, with its first line; empty: none
}

type subscription struct {
	subject, queue string
	handler        func(Message)
}

// line is what is said to the server about the subscription.
func (s *subscription) line(verb string) string {
	switch {
	case s.queue == "":
		return verb + " " + s.subject + "\r\n"
	case verb == "LS-":
		return verb + " " + s.subject + " " + s.queue + "\r\n"
	}
	return verb + " " + s.subject + " " + s.queue + " 1\r\n"
}

// takes reports whether a message is for the subscription: one in a queue group gets those that name the group.
func (s *subscription) takes(op *operation, subject string) bool {
	if s.queue == "" {
		return matches(s.subject, subject)
	}
	named := slices.ContainsFunc(op.queues, func(q []byte) bool { return string(q) == s.queue })
	return named && matches(s.subject, subject)
}

// subscriptions are safe for use by several goroutines.
type subscriptions struct {
	mu   sync.Mutex
	list []*subscription // replaced when it changes, never written to
	say  func(line string) bool
	may  *permissions // once the server has said so
	live bool         // the server knows those in the list
}

// add says the subscription to the server, if there is one. An error says that the server does not allow it.
func (s *subscriptions) add(sub *subscription) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(slices.Clone(s.list), sub)
	if !s.live {
		return nil
	}
	return s.tell(sub)
}

// tell says one subscription. A server cuts the connection for a single subject that is not allowed, so that one is kept back; of a
// pattern it carries what is.
func (s *subscriptions) tell(sub *subscription) (denied error) {
	if !s.may.allows(sub.subject) {
		denied = fmt.Errorf("%w: subscribe %q", ErrPermission, sub.subject)
	}
	if denied == nil || hasWildcard(sub.subject) {
		s.say(sub.line("LS+"))
	}
	return denied
}

// replay says all to a new server, and returns what it does not allow.
func (s *subscriptions) replay(may *permissions) (denied []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.may, s.live = may, true
	for _, sub := range s.list {
		if err := s.tell(sub); err != nil {
			denied = append(denied, err)
		}
	}
	return denied
}

func (s *subscriptions) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = false
}

// remove ends a subscription. The server is told when it was the last of its subject and queue: it knows each once only.
func (s *subscriptions) remove(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := len(s.list)
	s.list = slices.DeleteFunc(slices.Clone(s.list), func(other *subscription) bool { return other == sub })
	shared := slices.ContainsFunc(s.list, func(other *subscription) bool { return other.subject == sub.subject && other.queue == sub.queue })
	if s.live && len(s.list) < was && !shared {
		s.say(sub.line("LS-"))
	}
}

// deliver calls the handlers that a message is for.
func (s *subscriptions) deliver(op *operation) {
	s.mu.Lock()
	list := s.list
	s.mu.Unlock()
	subject := string(op.subject)
	for _, sub := range list {
		if sub.takes(op, subject) {
			sub.handler(Message{Subject: subject, Reply: string(op.reply), Header: op.header, Data: op.data})
		}
	}
}
