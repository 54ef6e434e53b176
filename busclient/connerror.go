package busclient

// What the errors of a connection mean: for who waits for another try, and for who can do something about it.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// deniedWaitMax bounds the wait after a server did not let a connection in, which is twice as long each time: somebody has to do something first.
const deniedWaitMax = time.Second

// waitAfter is how long to wait at least, after so many tries, of which the last ended so.
func waitAfter(tries int, err error) time.Duration {
	if !NotLetIn(err) {
		return reconnectWait
	}
	return min(reconnectWait<<min(max(tries, 0), 8), deniedWaitMax)
}

// NotLetIn reports whether a server refuses a connection for whose it is. NATS's client has errors for it, which are not always like what a server says.
func NotLetIn(err error) bool {
	return Says(err, nats.AUTHORIZATION_ERR, nats.AUTHENTICATION_EXPIRED_ERR, nats.AUTHENTICATION_REVOKED_ERR, nats.ACCOUNT_AUTHENTICATION_EXPIRED_ERR)
}

// Says reports whether an error has one of these texts of a server, in small letters.
func Says(err error, texts ...string) bool {
	return err != nil && slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(err.Error()), text) })
}

// withRemedy is an error that goes on until somebody does something about it.
func withRemedy(err error) error {
	switch {
	case errors.Is(err, nats.ErrNkeysNotSupported):
		return fmt.Errorf("%w: this NATS server has no nkey users: start it with auth/nats/server.conf of 'raftbus auth init', or check --nats", err)
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded):
		return fmt.Errorf("%w: raise max_subscriptions of the NATS server, or of its account or user: a leader needs one for each bucket and some dozens more", err)
	}
	return err
}
