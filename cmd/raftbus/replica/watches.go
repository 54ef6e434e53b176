package replica

// The connection over which an account's watchers are served, and what is shown of it.

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/raftbus/raftbus/busclient/leaf"
	"github.com/raftbus/raftbus/cmd/raftbus/observe"
	"github.com/raftbus/raftbus/kv/delivery"
	"github.com/raftbus/raftbus/kv/jetstream"
)

// payloadEvery is how often a leaf connection is told how large a message may be.
const payloadEvery = 2 * time.Second

// interestBytes is what a node may keep in memory, about, of what clients listen on, in all accounts (Q12); but each has room for what some 60,000 listen on.
const (
	interestBytes    = 256 << 20
	interestBytesMin = 16 << 20
)

// interestBytesOf is the part of each of so many accounts.
func interestBytesOf(accounts int) int { return max(interestBytes/accounts, interestBytesMin) }

// dialLeaf connects to an account as a leaf, which only may deliver to its watchers under the keys' subjects.
func (r *Replica) dialLeaf(s *served, calls delivery.Callbacks, logger *slog.Logger) (delivery.Leaf, error) {
	urls, err := r.leafURLs()
	if err != nil {
		return nil, err
	}
	conn, err := leaf.Dial(leaf.Options{
		URLs: urls, Prefix: r.config.Prefix(), Node: s.node, NATS: slices.Concat(r.o.NATS.Options, s.leaf),
		Subject: calls.FlowSubject, OnMessage: func(m leaf.Message) { calls.Processed(m.Subject) },
		OnStatus: calls.Status, OnInterest: calls.Interest, OnRoom: calls.Room,
		InterestBytesMax: interestBytesOf(len(r.served)), WatchTokensMax: jetstream.DeliverTokensMax,
		OnPayloadRefused: s.noteMove, Logger: logger, // what its clients may send it is told as it connects, as a rule
	})
	if err != nil {
		return nil, err
	}
	s.dialled = conn
	s.conn.OnStatus(func(bool) { s.tellPayload() })
	s.tellPayload()
	return conn, nil
}

// tellPayload has the leaf connection know what NATS lets clients send, which its own port does not say.
func (s *served) tellPayload() {
	if s.connected() {
		s.dialled.ClientsMaySend(s.conn.AskMaxPayload())
	}
}

// watchPayload goes on to tell it: a server says it to those who are connected too, as servers come to its cluster or go, and what is acknowledged by then
// watchers are to get (W2).
func (s *served) watchPayload(ctx context.Context) {
	for pause(ctx, payloadEvery) == nil {
		s.tellPayload()
	}
}

func (s *served) connected() bool {
	up, _ := s.conn.Up()
	return up
}

func (s *served) watchStatus() observe.Watches {
	now := s.watches.Status()
	status := observe.Watches{Leaf: now.Leaf, Consumers: now.Consumers, Hosts: now.Hosts, Account: now.Account, LeftOut: now.LeftOut}
	if !now.Leaf {
		status.LeafError = now.LeafError
	}
	return status
}

// leafURLs are where to connect as a leaf: as told, or else at the servers of NATS, on the port that is usual.
func (r *Replica) leafURLs() ([]string, error) {
	if len(r.o.NATS.LeafURLs) > 0 {
		return r.o.NATS.LeafURLs, nil
	}
	var urls []string
	for i, u := range r.o.NATS.URLs {
		derived, err := leaf.DeriveURL(u)
		if err != nil {
			return nil, fmt.Errorf("NATS URL number %d: %w: name the leafnode port with --leaf", i+1, err)
		}
		urls = append(urls, derived)
	}
	return urls, nil
}
