package busclient

// The errors of calls and pings. None of them says that a call was not carried out, except where the comment does.

import "errors"

var (
	// ErrConnectionBroken: the peer's link is broken. Returned at once, nothing was sent; given to done, the link broke while
	// the call was open, and its outcome is unknown.
	ErrConnectionBroken = errors.New("connection to the peer is broken")
	// ErrUnknownPeer: no member of the cluster has this id, or it is this node's own.
	ErrUnknownPeer = errors.New("not a peer of this node: check the id against the members of the cluster")
	// ErrReplaced: the member that was asked is another instance now. The outcome of what was open to the old one is unknown.
	ErrReplaced = errors.New("the member was replaced: its id belongs to another data folder now")
	// ErrNoResponders: nobody listens on the peer's subject: NATS said so itself. Nothing was carried out by that peer.
	ErrNoResponders = errors.New("no responders: the peer is not on the bus, or NATS does not know of it yet")
	// ErrTimeout: no answer came in time. The outcome is unknown.
	ErrTimeout = errors.New("no answer in time")
	// ErrTooManyInFlight: as many calls or bytes to this peer are open as may be. Nothing was sent: go on when one has ended.
	ErrTooManyInFlight = errors.New("too much is in flight to the peer: wait until a call has ended")
	// ErrTooLarge: the message exceeds MessageBytesMax. Nothing was sent.
	ErrTooLarge = errors.New("message too large for the bus: split it")
	// ErrBusDown: this node is not connected to NATS. Nothing was sent, or it was sent before the connection was lost.
	ErrBusDown = errors.New("not connected to NATS: it is retried without end, check that NATS runs and is reachable")
	// ErrNotAdmitted: this node, or the peer, has no table of the cluster's members yet. Nothing was sent or carried out.
	ErrNotAdmitted = errors.New("no table of the members yet: the first boot needs all of them")
	// ErrRefused: the peer takes nothing from this node, or is not who it must be. The text says why and what to do.
	ErrRefused = errors.New("refused")
	// ErrDuplicateNode: another process speaks under this node's id.
	ErrDuplicateNode = errors.New("another process runs with this node id: stop one of them, or give it another id")
	// ErrClosed: the service was closed. A call that was open has an unknown outcome.
	ErrClosed = errors.New("bus service closed")
)
