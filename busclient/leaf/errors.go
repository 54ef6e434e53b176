package leaf

// What can go wrong, and what to do about it.

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrDisconnected: there is no connection now. Nothing was sent, or nobody knows what of it arrived.
	ErrDisconnected = errors.New("the leaf connection to NATS is down")
	// ErrFull: the server takes what is sent too slowly. Nothing was sent; OnRoom tells when to try again.
	ErrFull = errors.New("the leaf connection is full: the NATS server does not take what is sent")
	// ErrTooLarge: the message is over the server's max_payload. Nothing was sent.
	ErrTooLarge = errors.New("the message is larger than the NATS server takes: raise its max_payload")
	// ErrHeaders: the server takes no headers. Nothing was sent.
	ErrHeaders = errors.New("the NATS server takes no headers: remove no_header_support from its configuration")
	// ErrPermission: the server would cut the connection for this subject. Nothing was sent.
	ErrPermission = errors.New("NATS does not let the leaf's user use this subject: grant it")
	// ErrSubject: no message can have this subject or reply. Nothing was sent.
	ErrSubject = errors.New("not a subject that can be published to")
)

// Reasons for which a connection is given up.
var (
	errWrongPort = errors.New("this is no leafnode port: give the port of leafnodes{listen} in the NATS server's configuration, by default 7422")
	errSilent    = errors.New("the server said nothing: this is no leafnode port of a NATS server, or one with tls{handshake_first}")
	errSlow      = errors.New("the server did not answer in time to who we are: it is too busy, or far away")
	errForeign   = errors.New("the server answers unlike a NATS server: give the port of leafnodes{listen} in its configuration, by default 7422")
	errPlain     = errors.New("TLS is wanted, and this leafnode port has none: add leafnodes{tls} to the NATS server, or give a URL without TLS")
	errEarly     = errors.New("the server spoke before TLS began: somebody is in between")
	errEnded     = errors.New("the server closed the connection")
	errStale     = errors.New("the server no longer answers pings")
	errStuck     = errors.New("the server reads too little of what it is told")
	errDenied    = errors.New("it lacks a subscription that NATS did not allow, and may allow by now")
	errRaised    = errors.New("max_payload of the NATS server was raised, which a new connection may use")
	errTooMuch   = errors.New("the clients of this account listen on too many subjects: give raftbus an account of its own, and set max_subscriptions of the NATS server")
)

// protocolError is something that a server of NATS would not say.
func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errForeign}, args...)...)
}

// remedies say what to do about what a server says in an -ERR, by a part of it.
var remedies = []struct{ part, remedy string }{
	{"authorization violation", "give the leaf a user that leafnodes{authorization} or the accounts of the NATS server know"},
	{"authentication timeout", "the NATS server is too busy, or leafnodes{authorization{timeout}} too short"},
	{"authentication expired", "renew the credentials"},
	{"permissions violation", "grant the leaf's user this subject"},
	{"loop detected", "another leaf connection of that server leads the same account back to it: remove one"},
	{tooLarge, "raise max_payload of the NATS server"},
	{"subscriptions", "raise the limit of subscriptions of the account"},
	{"connections", "raise the limit of leafnode connections of the account"},
	{"cluster name", "rename the cluster of the NATS server"},
	{"minimum version", "lower leafnodes{min_version} of the NATS server"},
	{"stale connection", "the network is slow, or this process has too little CPU"},
}

// tooLarge is a part of what a server says when a message was.
const tooLarge = "maximum payload"

func isTooLarge(said []byte) bool { return strings.Contains(strings.ToLower(string(said)), tooLarge) }

// refused is what a server said in an -ERR, with the remedy.
func refused(said string) error {
	for _, r := range remedies {
		if strings.Contains(strings.ToLower(said), r.part) {
			return fmt.Errorf("NATS says %q: %s", said, r.remedy)
		}
	}
	return fmt.Errorf("NATS says %q", said)
}
