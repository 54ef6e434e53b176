package main

// A short-lived connection to NATS, for commands that ask and end.

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/raftbus/raftbus/cmd/raftbus/members"
	"github.com/raftbus/raftbus/cmd/raftbus/native"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/kv"
	"github.com/raftbus/raftbus/raft/config"
)

const defaultPrefix = config.DefaultPrefix

// resolved adds to a command the flags that say where NATS is, and gives what they say to what the command does. What check refuses is refused
// before these flags are read.
func resolved(cmd *cobra.Command, lookup lookupEnv, check func() error, do func(cmd *cobra.Command, target natsopt.Target, args []string) error) *cobra.Command {
	natsFlags := natsopt.Register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := check(); err != nil {
			return err
		}
		target, err := natsFlags.Resolve(lookup)
		if err != nil {
			return usagef("%w", err)
		}
		return do(cmd, target, args)
	}
	return cmd
}

// targeted adds to a command the flags of all that speak with a cluster, and gives what they say to what the command does.
func targeted(cmd *cobra.Command, lookup lookupEnv, do func(cmd *cobra.Command, target natsopt.Target, prefix string, args []string) error) *cobra.Command {
	prefix := prefixFlag(cmd.Flags())
	check := func() error {
		err := checkPrefix(*prefix)
		if err != nil && cmd.HasParent() && cmd.Parent().Name() == "kv" { // what keys begin with is mostly no token
			return usagef("%w: check %s", err, prefixHint(*prefix))
		}
		return err
	}
	return resolved(cmd, lookup, check, func(cmd *cobra.Command, target natsopt.Target, args []string) error {
		return do(cmd, target, *prefix, args)
	})
}

// administered adds to a command what all have that speak with the leader, and gives it to what the command does.
func administered(cmd *cobra.Command, lookup lookupEnv, do func(cmd *cobra.Command, a *members.Administrator, args []string) error) *cobra.Command {
	return targeted(cmd, lookup, func(cmd *cobra.Command, target natsopt.Target, prefix string, args []string) error {
		return connected(cmd, target, func(conn *nats.Conn) error {
			return unsent(do(cmd, members.NewAdministrator(conn, prefix, target.Timeout), args))
		})
	})
}

// connected gives a command a connection for what it does.
func connected(cmd *cobra.Command, target natsopt.Target, do func(conn *nats.Conn) error) error {
	conn, err := connect(target, cmd.Name(), native.Options)
	if err != nil {
		return err
	}
	defer conn.Close()
	return endedFor(conn, do(conn))
}

// endedFor is what a command has ended for, with the cause if that is that NATS takes its credentials no more: they were revoked, or have expired, and the
// connection is not made anew. Neither what was answered before nor that an outcome is unknown is changed by that.
func endedFor(conn *nats.Conn, err error) error {
	code := exitCode(err)
	if err != nil && (code == exitUnavailable || code == exitNoLeader) && conn.IsClosed() && refusesUser(conn.LastError()) {
		return credentialsRefused(natsopt.WithoutUser(strings.Join(conn.Opts.Servers, ",")))
	}
	return err
}

// connect dials NATS once; it does not wait for servers that are not there.
func connect(target natsopt.Target, name string, more ...nats.Option) (*nats.Conn, error) {
	base := []nats.Option{nats.Name("raftbus-client/" + name), nats.NoReconnect(), nats.Timeout(target.Timeout), nats.ErrorHandler(unsaid)}
	conn, err := dial(target.URLs, target.Timeout, slices.Concat(base, target.Options, more))
	at := natsopt.WithoutUser(strings.Join(target.URLs, ","))
	var unbelieved *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return nil, failf(exitUnavailable, "no NATS server answers at %s: start one, or name it with --nats", at)
	case unreachable(err):
		return nil, failf(exitUnavailable, "no NATS server answers at %s: start one, or name it with --nats: %w", at, err)
	case refusesUser(err):
		return nil, credentialsRefused(at)
	case errors.As(err, &unbelieved):
		return nil, failf(exitError, "NATS at %s: %w: %s", at, err, natsopt.CertificateRemedy)
	case err != nil:
		return nil, failf(exitError, "NATS at %s: %w: check the NATS flags", at, err)
	}
	return conn, nil
}

// dial connects to one of the servers. NATS's client tries all, and those that one has named before it refused, and tells what came of the last. So if nobody
// is there, each that was given is asked for alone: one that refuses is. All of them have half the time that one had: those that say nothing say nothing again.
func dial(urls []string, timeout time.Duration, options []nats.Option) (*nats.Conn, error) {
	conn, err := nats.Connect(strings.Join(urls, ","), options...)
	options = append(options, nats.IgnoreDiscoveredServers(), nats.Timeout(timeout/time.Duration(2*len(urls))))
	for i := 0; i < len(urls) && nobodyThere(err); i++ {
		if one, own := nats.Connect(urls[i], options...); !nobodyThere(own) {
			return one, own
		}
	}
	return conn, err
}

func nobodyThere(err error) bool { return errors.Is(err, nats.ErrNoServers) || unreachable(err) }

// refusesUser reports whether NATS lets this user not in, or not any more.
func refusesUser(err error) bool {
	return slices.ContainsFunc([]error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired}, func(why error) bool {
		return errors.Is(err, why)
	})
}

func credentialsRefused(at string) error {
	return failf(exitError, "NATS at %s refuses these credentials, or lets nobody in without: give --context (auth/users/NAME.json of 'raftbus auth init'), --nkey, --creds, --user or --token", at)
}

// unsaid takes what NATS says beside the answers: commands look for what they must know of it, and nats.go would print it.
func unsaid(*nats.Conn, *nats.Subscription, error) {}

// unreachable reports whether the network says that nobody is there. nats.go has its own word for a refused connection only.
func unreachable(err error) bool {
	var unresolved *net.DNSError
	var network net.Error
	var way *net.OpError
	switch {
	case errors.Is(err, nats.ErrTimeout), errors.As(err, &unresolved), errors.As(err, &network) && network.Timeout():
		return true
	case errors.As(err, &way): // TLS tells of a refused certificate in the same form: then somebody is there
		return way.Op == "dial" || way.Op == "read" || way.Op == "write"
	}
	return false
}

// checkBucket keeps a mistyped bucket from becoming another subject.
func checkBucket(name string) error {
	if !kv.ValidBucket(name) {
		return usagef("bucket %q: use 1 to %d of A-Z a-z 0-9 _ -", name, kv.BucketMax)
	}
	return nil
}

// checkPrefix keeps a mistyped prefix from becoming another subject.
func checkPrefix(prefix string) error {
	if !config.ValidToken(prefix) {
		return usagef("prefix %q: use one subject token, 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", prefix)
	}
	return nil
}
