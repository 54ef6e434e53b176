package replica

// Whether the bus is closed (Q6): before a node takes its name it tries what nobody may do, to speak to it as another node and to hear
// what it says to another, as itself and as somebody who shows no credentials. What NATS delivers counts, whatever accounts and
// permissions say. No node takes the method _check, so nothing of it reaches any. What clients of a further account may is tried beside: an
// account that lets nobody in, because it has as many connections as it may have, holds up itself only, and the first no node that has a cluster.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/auth"
)

// ErrOpenBus: NATS lets this node, or anybody, speak as another node or listen to one.
var ErrOpenBus = errors.New("the bus is open")

const (
	// openBusRetry is how often the check is tried again while NATS is away.
	openBusRetry = 100 * time.Millisecond
	// deniedRetry is how often it is where NATS does not let this node in, or a further account nobody.
	deniedRetry = time.Second
	// openBusWait bounds how long NATS may take for one step.
	openBusWait = 2 * time.Second
	// sameServerTries is how often an address is dialled until it leads to the same server once more.
	sameServerTries = 32
	checkToken      = busclient.MethodCheck // no node's id either
)

// checkBus looks at the bus until it is known, or nobody wants to know; the error says that it is open. While NATS is away it waits. It calls on when
// the bus is closed: then, or while what keeps it from looking is excused.
func (r *Replica) checkBus(ctx context.Context, who []somebody, excused func(error) bool, on func()) error {
	for told := false; r.o.RefuseOpenBus; {
		finding, err := r.tryBus(who)
		wait := openBusRetry
		switch {
		case finding != "":
			return openBus(finding)
		case err == nil:
			on()
			return nil
		case excused(err):
			on()
			wait = deniedRetry
		case busclient.NotLetIn(err):
			wait = deniedRetry
		}
		if up, _ := r.conns[busclient.RoleControl].Up(); up && !told { // else it is said already that NATS is away
			r.logger.Warn("whether the bus is closed cannot be looked at, trying again", "err", err)
			told = true
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
	on()
	return nil
}

// isFull reports whether NATS lets nobody else in: the node's own connections may use all that are left.
func isFull(err error) bool {
	return busclient.Says(err, nats.MAX_CONNECTIONS_ERR, nats.MAX_ACCOUNT_CONNECTIONS_ERR)
}

func openBus(finding string) error {
	return fmt.Errorf("%w: NATS lets %s: give NATS accounts and permissions ('raftbus auth init' makes them), or start the node with --insecure", ErrOpenBus, finding)
}

// tryBus tells what somebody may do who may not; empty: nothing.
func (r *Replica) tryBus(all []somebody) (finding string, err error) {
	node, err := r.connectToTry(strings.Join(r.o.NATS.URLs, ","), slices.Concat(r.o.NATS.Options, r.o.NATS.Peers))
	if err != nil {
		return "", err
	}
	defer node.Close()
	var unseen error
	for _, who := range all {
		other := node
		if len(who.options) > 0 {
			other, err = r.connectBeside(node, slices.Concat(r.o.NATS.Options, who.options))
			if busclient.NotLetIn(err) {
				continue
			}
			if err != nil {
				unseen = errors.Join(unseen, err) // of the others it may be known
				continue
			}
			defer other.Close()
		}
		switch what, err := r.try(node, other); {
		case err != nil:
			return "", err
		case what != "":
			return who.text + " " + what, nil
		}
	}
	return "", unseen
}

// somebody is who may not.
type somebody struct {
	text    string
	options []nats.Option // of another connection; none: the node's to its peers
}

func (r *Replica) whoToTry() []somebody {
	return []somebody{
		{"this node", nil},
		{"this node's connection to clients", r.o.NATS.Clients},
		{"anybody without credentials", []nats.Option{auth.NoCredentials}},
	}
}

// connectBeside connects to the server of another connection: no route delays what is tried. Behind its address there may be several.
func (r *Replica) connectBeside(node *nats.Conn, options []nats.Option) (*nats.Conn, error) {
	for range sameServerTries {
		other, err := r.connectToTry(withoutUser(node.ConnectedUrl()), options)
		if err != nil || other.ConnectedServerId() == node.ConnectedServerId() {
			return other, err
		}
		other.Close()
	}
	return nil, fmt.Errorf("%d connections to %s came to other servers than one before: name a server by an address of its own", sameServerTries, withoutUser(node.ConnectedUrl()))
}

func (r *Replica) connectToTry(url string, options []nats.Option) (*nats.Conn, error) {
	return nats.Connect(url, slices.Concat(options, []nats.Option{
		nats.Name("raftbus/" + r.config.Prefix() + "/" + r.o.ID + "/check"), nats.NoReconnect(), nats.Timeout(openBusWait),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // refusals are what is hoped for
	})...)
}

// withoutUser takes user and password out of an address.
func withoutUser(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
}

// try has the other connection speak to this node as its peers, and listen to what this node says to them.
func (r *Replica) try(node, other *nats.Conn) (what string, err error) {
	family, nonce := r.config.Prefix()+"."+busclient.FamilyRPC+".", nuid.Next()
	peers := r.peersToTry()
	said, heard := make(chan *nats.Msg, 16*len(peers)), make(chan *nats.Msg, 16*len(peers))
	toAll := family + busclient.AllNodes + "."
	_, err = node.ChanSubscribe(family+r.o.ID+".*."+checkToken, said)
	for _, peer := range peers {
		if err == nil {
			_, err = node.ChanSubscribe(toAll+peer+"."+checkToken, said)
		}
	}
	for _, peer := range append(peers, "*") {
		if err == nil {
			_, err = other.ChanSubscribe(family+peer+"."+r.o.ID+"."+checkToken, heard)
		}
	}
	if err == nil && other != node { // nodes listen to it
		_, err = other.ChanSubscribe(toAll+r.o.ID+"."+checkToken, heard)
	}
	err = errors.Join(err, node.FlushTimeout(openBusWait), other.FlushTimeout(openBusWait))
	for _, peer := range peers {
		err = errors.Join(err, other.Publish(family+r.o.ID+"."+peer+"."+checkToken, []byte(nonce)), other.Publish(toAll+peer+"."+checkToken, []byte(nonce)))
		err = errors.Join(err, node.Publish(family+peer+"."+r.o.ID+"."+checkToken, []byte(nonce)))
	}
	err = errors.Join(err, node.Publish(toAll+r.o.ID+"."+checkToken, []byte(nonce)))
	if err = errors.Join(err, node.FlushTimeout(openBusWait), other.FlushTimeout(openBusWait), node.FlushTimeout(openBusWait)); err != nil {
		return "", err
	}
	if m := mine(said, nonce); m != nil {
		return "speak as " + inWords(strings.Split(m.Subject, ".")[3]), nil
	}
	if m := mine(heard, nonce); m != nil {
		return "listen to " + inWords(strings.Split(m.Subject, ".")[2]), nil
	}
	return "", nil
}

// inWords is a token of the subjects that are tried: a node, or what is none.
func inWords(token string) string {
	if words := map[string]string{checkToken: "another node", busclient.AllNodes: "all nodes"}[token]; words != "" {
		return words
	}
	return token
}

// peersToTry are the others that this node knows, and somebody that nobody knows.
func (r *Replica) peersToTry() []string {
	list := []string{checkToken}
	for _, m := range r.config.Members() {
		if id := string(m.ID()); id != r.o.ID {
			list = append(list, id)
		}
	}
	return list
}

// mine is the first message of this try: other nodes try at the same time, and this node listens to them.
func mine(arrived chan *nats.Msg, nonce string) *nats.Msg {
	for {
		select {
		case m := <-arrived:
			if string(m.Data) == nonce {
				return m
			}
		default:
			return nil
		}
	}
}
