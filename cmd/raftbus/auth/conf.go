package auth

// The configuration of the NATS server.

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/nats-io/nkeys"
)

const confHead = `# Made by 'raftbus auth init', which is to be given again rather than this changed: what is yours goes into server.conf beside it, which
# NATS is started with. A running server takes it with 'nats-server --signal reload'. It holds no secret: public keys only.
server_name: %q
listen: %q
`

const confTail = `
# JetStream is off: raftbus needs none. Monitoring is off too; if you want it, on loopback: http: "127.0.0.1:8222"

# Nodes deliver watches over this port.
leafnodes {
  listen: %q
}
`

const serverConf = `# The configuration that NATS is started with. It is yours: 'raftbus auth init' made it once, and leaves it as it is from then on. What stands
# here takes the place of what has the same name in nats.conf, as a whole.
include "nats.conf"

# TLS: uncomment both, and give nodes and clients --tlsca ca.pem. With verify: true they need --tlscert and --tlskey as well.
# tls { cert_file: "/etc/nats/cert.pem", key_file: "/etc/nats/key.pem", ca_file: "/etc/nats/ca.pem" }
# leafnodes { listen: %q, tls { cert_file: "/etc/nats/cert.pem", key_file: "/etc/nats/key.pem", ca_file: "/etc/nats/ca.pem" } }

# What one connection may subscribe to, and how many there may be: nodes keep in memory what clients listen on, a million subscriptions of an account at
# most (SECURITY.md), and serve it no watches beyond that. Uncomment both, with what your clients need: a watch takes one subscription or two.
# max_subscriptions: 10000
# max_connections: 10000

# Several servers: both files on each, with a server_name of its own here, and a password or TLS between them. Everybody may read this file as it was
# made, since NATS mostly runs as a user of its own: before a password is in it, give it to that user, and no other: chown nats server.conf && chmod 0600 server.conf
# server_name: "nats-1"
# cluster { name: "raftbus", ping_interval: 1s, listen: "0.0.0.0:6222", authorization { user: "route", password: "..." }
#   routes: ["nats://route:...@nats-1:6222", "nats://route:...@nats-2:6222"] }
`

// confName is what Init writes anew each time, serverConfName what it writes once.
const (
	confName       = "nats/nats.conf"
	serverConfName = "nats/server.conf"
)

const sumMark = "\n# SHA-256 of the lines above: "

// accountLine is an account's JWT, which may be signed anew elsewhere.
var accountLine = regexp.MustCompile(`(?m)^  (A[A-Z2-7]{55}): (\S+)$`)

// seal ends a configuration with its sum, by which Init knows later that nobody has changed it.
func seal(text []byte) []byte {
	return fmt.Appendf(slices.Clip(text), "%s%x\n", sumMark, sha256.Sum256(accountLine.ReplaceAll(text, []byte("$1"))))
}

// untouched reads the configuration that is there, if one is. One that was changed by hand is refused, since it would be lost.
func (o *Options) untouched() (err error) {
	file := filepath.Join(o.Dir, filepath.FromSlash(confName))
	o.before, err = os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	text, _, _ := bytes.Cut(o.before, []byte(sumMark))
	if err == nil && !bytes.Equal(seal(text), o.before) {
		err = fmt.Errorf("%s is not as this command wrote it, and what was changed would be lost: move what is yours into server.conf beside it, after include \"nats.conf\", "+
			"have NATS started with that, and delete nats.conf; then give the command again", file)
	}
	return err
}

// serverConf is made once.
func (o *Options) serverConf() error {
	if exists(filepath.Join(o.Dir, filepath.FromSlash(serverConfName))) {
		return nil
	}
	return o.write(serverConfName, fmt.Appendf(nil, serverConf, o.ListenLeaf), 0o644)
}

// writeNKeys writes the users' seeds, and returns a configuration that lists users by their public keys.
func (o *Options) writeNKeys(users []user, keys map[string]nkeys.KeyPair) ([]byte, error) {
	var out bytes.Buffer
	o.head(&out)
	fmt.Fprintln(&out, "\naccounts {")
	var anonymous string
	for _, account := range o.accounts() {
		fmt.Fprintf(&out, "  %q: {\n", account)
		o.cross(&out, account)
		fmt.Fprintln(&out, "    users: [")
		for _, u := range users {
			if u.account != account {
				continue
			}
			public, err := keys[u.file].PublicKey()
			if err != nil {
				return nil, err
			}
			if u.name() == anonymousName {
				anonymous = public
			}
			if err := o.writeSeed(u.file, keys[u.file]); err != nil {
				return nil, err
			}
			permit(&out, u, public)
		}
		fmt.Fprintln(&out, "    ]\n  }")
	}
	fmt.Fprintln(&out, "}")
	if anonymous != "" {
		fmt.Fprintf(&out, "\n# Who says no name.\nno_auth_user: %s\n", anonymous)
	}
	fmt.Fprintf(&out, confTail, o.ListenLeaf)
	return out.Bytes(), nil
}

func (o *Options) head(out *bytes.Buffer) { fmt.Fprintf(out, confHead, o.Prefix+"-nats", o.Listen) }

func permit(out *bytes.Buffer, u user, public string) {
	p := u.permissions
	fmt.Fprintf(out, "      # %s\n      {nkey: %s, permissions: {\n", u.file, public)
	publish := "allow: " + list(p.Publish)
	if len(p.DenyPublish) > 0 {
		publish += ", deny: " + list(p.DenyPublish)
	}
	fmt.Fprintf(out, "        publish: {%s}\n        subscribe: {allow: %s}\n", publish, list(p.Subscribe))
	if p.Responses {
		fmt.Fprintf(out, "        allow_responses: {max: 1, expires: %q}\n", responseTime.String())
	}
	fmt.Fprintln(out, "      }}")
}

// list writes names as NATS reads them.
func list(names []string) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // '>' is a wildcard, and to be read as one
	_ = e.Encode(names)    // strings can be encoded
	return string(bytes.TrimSpace(out.Bytes()))
}

func (o *Options) writeSeed(file string, pair nkeys.KeyPair) error {
	seed, err := pair.Seed()
	if err != nil {
		return err
	}
	return o.write(file+".nk", append(seed, '\n'), 0o600)
}
