package auth

// What one node is given: its folder of credentials, read.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Folder is a node's folder of credentials, as Init makes it under nodes/<id>.
type Folder struct {
	Peers, Clients, Leaf []nats.Option // who the node is on its connections
	KeyFile              string        // of the cluster key; empty: there is none
	Tenants              []Tenant      // in order of their names
}

// Tenant is an account that a node serves beside the first, and who it is there.
type Tenant struct {
	Name          string
	Clients, Leaf []nats.Option
}

// Open reads a node's folder. Each credential is <name>.nk, the seed of an nkey, or <name>.creds, a JWT and its seed.
func Open(dir string) (*Folder, error) {
	var f Folder
	if err := credentials(dir, into{peersName, &f.Peers}, into{clientsName, &f.Clients}, into{leafName, &f.Leaf}); err != nil {
		return nil, err
	}
	if key := filepath.Join(dir, keyName); exists(key) {
		f.KeyFile = key
	}
	tenants, err := os.ReadDir(filepath.Join(dir, tenantsName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, unreadable(err)
	}
	for _, entry := range tenants {
		if strings.HasPrefix(entry.Name(), ".") {
			continue // no tenant's: Kubernetes keeps what it mounts in such
		}
		t, err := OpenTenant(entry.Name(), tenantFolder(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		f.Tenants = append(f.Tenants, t)
	}
	return &f, nil
}

// OpenTenant reads a folder with the credentials of a node for another account: clients and leaf.
func OpenTenant(name, dir string) (Tenant, error) {
	t := Tenant{Name: name}
	err := credentials(dir, into{clientsName, &t.Clients}, into{leafName, &t.Leaf})
	return t, err
}

// into says where a credential goes.
type into struct {
	name    string
	options *[]nats.Option
}

func credentials(dir string, list ...into) error {
	for _, c := range list {
		option, err := credential(dir, c.name)
		if err != nil {
			return err
		}
		*c.options = []nats.Option{NoCredentials, option}
	}
	return nil
}

func credential(dir, name string) (nats.Option, error) {
	seed, creds := filepath.Join(dir, name+".nk"), filepath.Join(dir, name+".creds")
	switch {
	case exists(seed):
		option, err := nkey(seed)
		switch {
		case errors.Is(err, os.ErrPermission):
			return nil, unreadable(err)
		case err != nil:
			return nil, fmt.Errorf("credentials: %s: %w: give the node its folder that 'raftbus auth init' made", seed, err)
		}
		return option, nil
	case exists(creds):
		content, err := os.Open(creds) // nats.go reads it at each connect, and would try for ever
		if err != nil {
			return nil, unreadable(err)
		}
		return nats.UserCredentials(creds), content.Close()
	}
	return nil, fmt.Errorf("credentials: there is no %s.nk or %[1]s.creds in %s: give the node its folder that 'raftbus auth init' made", name, dir)
}

// errAnotherKey: NATS's client offers the key that was there at the start for as long as it lives, and signs with what is there now. NATS would only say
// that it does not know who that is.
var errAnotherKey = errors.New("it is another key than at this node's start: start the node again")

// nkey is nats.NkeyOptionFromSeed, and says so when the file holds another key by now.
func nkey(seed string) (nats.Option, error) {
	option, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		return nil, err
	}
	return func(o *nats.Options) error {
		if err := option(o); err != nil {
			return err
		}
		key, err := nkeys.FromPublicKey(o.Nkey)
		sign := o.SignatureCB
		o.SignatureCB = func(nonce []byte) ([]byte, error) {
			signature, err := sign(nonce)
			if err == nil && key.Verify(nonce, signature) != nil {
				return nil, fmt.Errorf("%s: %w", seed, errAnotherKey)
			}
			return signature, err
		}
		return err
	}, nil
}

func unreadable(err error) error {
	return fmt.Errorf("credentials: %w: let the node's user read them", err)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, os.ErrNotExist)
}

// NoCredentials takes back what options before it said of who connects.
func NoCredentials(o *nats.Options) error {
	o.User, o.Password, o.Token, o.Nkey = "", "", "", ""
	o.UserJWT, o.SignatureCB, o.TokenHandler, o.UserInfo = nil, nil, nil, nil
	return nil
}

// ClusterKeyBytesMin keeps a key from being guessed: 256 bits, when it is random.
const ClusterKeyBytesMin = 32

// ReadClusterKey reads the key that seals messages, and the one that is accepted as well during a rotation, if there is a second line.
// White space around a key is not part of it, so that an editor's line end does no harm.
func ReadClusterKey(file string) (current, other []byte, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("cluster key: %w: name a file that can be read", err)
	}
	return parseClusterKey(file, content)
}

func parseClusterKey(file string, content []byte) (current, other []byte, err error) {
	var keys [][]byte
	for line := range bytes.Lines(content) {
		if key := bytes.TrimSpace(line); len(key) > 0 {
			keys = append(keys, key)
		}
	}
	switch {
	case len(keys) == 0:
		keys = [][]byte{nil} // too short
	case len(keys) > 2:
		return nil, nil, fmt.Errorf("cluster key file %s has %d keys, one a line: at most two are valid at a time, the one that seals and another that is accepted", file, len(keys))
	}
	for _, key := range keys {
		if len(key) < ClusterKeyBytesMin {
			return nil, nil, fmt.Errorf("cluster key in %s has %d bytes: use at least %d, such as the output of 'openssl rand -base64 32'", file, len(key), ClusterKeyBytesMin)
		}
	}
	return keys[0], append(keys, nil)[1], nil
}
