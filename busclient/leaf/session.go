package leaf

// One connection, from its greeting to its end: the reader takes what the server says to whom it concerns, the writer writes.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

type session struct {
	*Conn
	link *link

	accepted bool // the server has answered CONNECT
	up       bool
	said     error // by the server in an -ERR, and nothing since

	once  sync.Once
	cause error // why it ended
	ended chan struct{}
}

// session is one connection. It returns why it ended.
func (c *Conn) session(ctx context.Context) error {
	to := c.settings.endpoints.next()
	l, err := c.settings.dial(ctx, to)
	if err != nil {
		return fmt.Errorf("%s: %w", to.address, err)
	}
	defer l.Close()
	hello, err := c.settings.introduce(l, c.id)
	if err != nil {
		return fmt.Errorf("%s: %w", to.address, err)
	}
	s := &session{Conn: c, link: l, ended: make(chan struct{})}
	c.now.Store(s)
	s.limit(&l.greeting)
	s.run(ctx, hello)
	return fmt.Errorf("%s: %w", to.address, s.cause)
}

func (s *session) run(ctx context.Context, hello string) {
	unblock := context.AfterFunc(ctx, func() { s.end(ctx.Err()) })
	defer unblock()
	s.out.begin()
	s.out.control(hello)
	var writer sync.WaitGroup
	writer.Go(s.write)
	s.end(s.read())
	writer.Wait()
	s.lost()
}

// end gives the connection up; the first reason counts.
func (s *session) end(cause error) {
	s.once.Do(func() {
		s.cause = cause
		close(s.ended)
		_ = s.link.Close()
	})
}

// lost tells everybody that there is no connection.
func (s *session) lost() {
	s.out.end()
	s.interest.forget()
	if !s.up {
		return
	}
	s.settings.OnStatus(false)
}

func (s *session) read() error {
	for {
		op, err := s.link.parser.next()
		if err != nil {
			return s.reason(err)
		}
		if err := s.take(&op); err != nil {
			return err
		}
	}
}

// reason is why the server says no more.
func (s *session) reason(err error) error {
	switch {
	case s.said != nil:
		return s.said
	case !s.up && errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	case errors.Is(err, io.EOF):
		return errEnded
	}
	return err
}

func (s *session) take(op *operation) error {
	s.said = nil
	switch op.kind {
	case opInfo:
		return s.informed(op.text)
	case opPing:
		if !s.out.control("PONG\r\n") {
			return errStuck
		}
	case opPong:
		s.out.answered()
		if s.accepted && !s.up {
			return s.settled()
		}
	case opErr:
		s.said = refused(string(op.text))
		s.note("error on the leaf connection", s.said)
		if isTooLarge(op.text) {
			s.payloadRefused()
		}
	case opInterest, opNoInterest:
		return s.heard(op)
	case opMessage:
		s.settings.OnMessage(Message{Subject: string(op.subject), Reply: string(op.reply), Header: op.header, Data: op.data})
	case opTooLarge:
		s.note("message dropped", fmt.Errorf("%q is larger than max_payload of this NATS server: set it alike on all servers", op.subject))
	}
	return nil
}

// informed is told what INFO says: in answer to CONNECT what this user may do, and later what has changed.
func (s *session) informed(text []byte) error {
	g, err := parseGreeting(text)
	if err != nil {
		return err
	}
	s.limit(&g)
	s.settings.endpoints.learn(s.link.to, g.LeafURLs)
	if g.LameDuck {
		s.log.Warn("the NATS server is shutting down (lame duck), the leaf connection lasts until it goes", "server", g.Name)
	}
	if g.ConnectInfo && !s.accepted {
		return s.welcomed(newPermissions(g.Import))
	}
	return nil
}

// limit takes what a server says about messages. What it leaves out is as before.
func (s *session) limit(g *greeting) {
	s.out.limit(func(l *limits) {
		if g.MaxPayload > 0 {
			s.out.payload.hear(int(min(g.MaxPayload, messageBytesMax)))
			l.payloadMax = s.out.payload.max()
			s.link.parser.payloadMax = l.payloadMax
		}
		l.headers = g.Headers
		if g.ConnectInfo || g.Export != nil {
			l.publish = newPermissions(g.Export)
		}
	})
}

// welcomed says what we subscribe to. The answer to the ping after it comes after all that the server has to say at the beginning.
func (s *session) welcomed(may *permissions) error {
	s.accepted = true
	s.regain.Connected()
	s.mu.Lock()
	s.lastError = ""
	s.mu.Unlock()
	if !s.subscribe(may) || !s.out.control("PING\r\n") {
		return errStuck
	}
	return nil
}

// subscribe reports whether what is to be said was taken. A server cuts the connection for a single subject that is not allowed, so that one is
// kept back; of a pattern it carries what is. It says what it allows at the beginning of a connection only, so one that lacks something is made
// anew later.
func (s *session) subscribe(may *permissions) bool {
	subject := s.settings.Subject
	if subject == "" {
		return true
	}
	if !may.allows(subject) {
		s.note("not subscribed", fmt.Errorf("%w: subscribe %q", ErrPermission, subject))
		s.regain.Refused()
		if !hasWildcard(subject) {
			return true
		}
	}
	return s.out.control("LS+ " + subject + "\r\n")
}

func (s *session) settled() error {
	if err := s.link.raw.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	s.up = true
	s.out.admit()
	s.tell(s.interest.complete())
	s.log.Info("leaf connection to NATS is up", "server", s.link.greeting.Name)
	s.settings.OnStatus(true)
	return nil
}

// heard is told that somebody listens on a subject, or nobody does any more. What queue groups listen on would not reach them, and
// the subject by which the server finds loops is nobody's.
func (s *session) heard(op *operation) error {
	if err := s.bear(); err != nil {
		return err
	}
	subject := string(op.subject)
	if op.queue != nil || strings.HasPrefix(subject, loopPrefix) {
		return nil
	}
	if op.kind == opNoInterest {
		s.tell(s.interest.remove(subject))
		return nil
	}
	changes, err := s.interest.add(subject)
	s.tell(changes)
	return err
}

// bear has the handshake go on while the server says who listens, which it does before it answers our ping: over a slow way, or of very many, that
// takes longer than a dead server is waited for.
func (s *session) bear() error {
	if !s.accepted || s.up {
		return nil
	}
	return s.link.raw.SetReadDeadline(time.Now().Add(handshakeTimeout))
}

func (s *session) tell(changes []change) {
	for _, c := range changes {
		s.settings.OnInterest(c.subject, c.interested)
	}
}

// write is the goroutine of the writer. What callers put in while it writes is the next batch.
func (s *session) write() {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	var batch []byte
	for {
		select {
		case <-s.ended:
			return
		case <-s.out.bell:
		case <-ticker.C:
			if !s.out.keepAlive() {
				s.end(errStale)
				return
			}
		}
		began, room := time.Now(), false
		if batch, room = s.out.take(batch); room {
			s.settings.OnRoom()
		}
		if _, err := s.link.Write(batch); err != nil {
			time.AfterFunc(writeLook, func() { s.end(err) }) // why it ended the connection the server may have said
			return
		}
		if time.Since(began) > pingInterval {
			ticker.Reset(pingInterval) // the ping was only now written: its answer has the whole time
		}
	}
}
