package main

// A short-lived connection to NATS, for commands that ask and end.

import (
	"errors"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/raft/config"
)

const defaultPrefix = config.DefaultPrefix

// connect dials NATS once; it does not wait for servers that are not there.
func connect(target natsopt.Target, name string) (*nats.Conn, error) {
	base := []nats.Option{nats.Name("raftbus-client/" + name), nats.NoReconnect(), nats.Timeout(target.Timeout)}
	conn, err := nats.Connect(strings.Join(target.URLs, ","), append(base, target.Options...)...)
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return nil, failf(exitUnavailable, "no NATS server answers at %s: start one, or name it with --nats", redacted(target.URLs))
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return nil, failf(exitError, "NATS at %s refuses these credentials: check --creds, --user, --token or the context", redacted(target.URLs))
	case err != nil:
		return nil, failf(exitError, "NATS at %s: %w: check the NATS flags", redacted(target.URLs), err)
	}
	return conn, nil
}

// redacted lists the addresses without the credentials that they may carry: they are for messages and logs.
func redacted(urls []string) string {
	shown := make([]string, len(urls))
	for i, text := range urls {
		u, err := url.Parse(text)
		if err != nil {
			shown[i] = "(invalid URL)"
			continue
		}
		u.User = nil
		shown[i] = u.String()
	}
	return strings.Join(shown, ",")
}

// checkPrefix keeps a mistyped prefix from becoming another subject.
func checkPrefix(prefix string) error {
	if !config.ValidToken(prefix) {
		return usagef("prefix %q: use one subject token, 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", prefix)
	}
	return nil
}
