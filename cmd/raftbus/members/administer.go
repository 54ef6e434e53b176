// Package members does what an administrator wants done with the members of a cluster: it asks the leader over NATS, works out what is left to do, and
// follows that to its end. The leader decides. What is printed, and the exit code that a kind of error has, is for who calls it.
package members

// Asking the leader, on <prefix>.admin.<op>.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/admin"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
)

// Administrator is a connection by which the leader is asked.
type Administrator struct {
	Conn    *nats.Conn
	Prefix  string
	Timeout time.Duration // for one answer
	asker   *native.Asker
}

// NewAdministrator makes one of a connection, whose error handler it takes.
func NewAdministrator(conn *nats.Conn, prefix string, timeout time.Duration) *Administrator {
	return &Administrator{conn, prefix, timeout, native.NewAsker(conn)}
}

// Outcomes of a request that brought no answer.
var (
	// errNobodyLeads: 'no responders', or NATS is away and nothing was sent: certainly not done.
	errNobodyLeads = errors.New("no leader answers")
	// errUnanswered: no answer in time, or none that could come, so the outcome is unknown.
	errUnanswered = errors.New("the leader did not answer in time")
)

// lookTime bounds how long one answer to a question that changes nothing is waited for: it may be asked again.
const lookTime = time.Second

// ask asks for an operation once. An error is errNobodyLeads, errUnanswered, an *admin.Failure that the leader answered, what NATS refuses, or ctx's.
func (a *Administrator) ask(ctx context.Context, op string, body, into any, wait time.Duration) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	asking, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answer, err := a.asker.Request(asking, &nats.Msg{Subject: admin.Subject(a.Prefix, op), Data: data})
	switch {
	case errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionClosed):
		return errUnanswered
	case errors.Is(err, native.ErrNoLeader):
		return errNobodyLeads
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return errUnanswered
	case errors.Is(err, native.ErrCaptured) && op != admin.OpMembers:
		return fmt.Errorf("%w, and %w", err, native.ErrUnknown)
	case err != nil:
		return err
	}
	err = decodeAnswer(op, answer.Data, into)
	if errors.Is(err, native.ErrStranger) && op != admin.OpMembers {
		return fmt.Errorf("%w, and %w", err, native.ErrUnknown) // a leader may have it as well
	}
	return err
}

// saidBy names what each answer has: without it somebody else answers.
var saidBy = map[string]string{admin.OpMembers: "members", admin.OpReconfigure: "index", admin.OpTransfer: "leader", admin.OpRaise: "open"}

func decodeAnswer(op string, data []byte, into any) error {
	var failed struct{ Error *admin.Failure }
	var answer map[string]any
	if json.Unmarshal(data, &failed) != nil || json.Unmarshal(data, &answer) != nil {
		return native.ErrStranger
	}
	if failed.Error != nil {
		return failed.Error
	}
	if answer[saidBy[op]] == nil {
		return native.ErrStranger
	}
	return json.Unmarshal(data, into)
}

// look asks once who belongs to the cluster.
func (a *Administrator) look(ctx context.Context) (admin.Members, error) {
	var m admin.Members
	return m, a.ask(ctx, admin.OpMembers, nil, &m, min(lookTime, a.Timeout))
}

// Members asks who belongs to the cluster, again while nobody leads, for so long.
func (a *Administrator) Members(ctx context.Context, patience time.Duration) (admin.Members, error) {
	end := time.After(patience)
	for {
		m, err := a.look(ctx)
		if err == nil || !mayAskAgain(err) {
			return m, err
		}
		select {
		case <-time.After(native.AskAgain):
		case <-end:
			return m, a.noLeader(patience)
		case <-ctx.Done():
			return m, ctx.Err()
		}
	}
}

// mayAskAgain reports whether a question found nobody to answer it now.
func mayAskAgain(err error) bool {
	var f *admin.Failure
	return errors.Is(err, errNobodyLeads) || errors.Is(err, errUnanswered) || errors.As(err, &f) && f.OfKind(admin.Unavailable)
}

func (a *Administrator) noLeader(since time.Duration) error {
	if !a.Conn.IsConnected() {
		return Unavailable.says("the connection to NATS was lost, and cannot be made again: start a NATS server, and give the same command again, which goes on from what is done")
	}
	return NoLeader.says("no leader answers on %s for %v: see what 'raftbus status' says, and check --prefix and what this user may publish",
		admin.Subject(a.Prefix, ">"), since.Round(time.Millisecond))
}
