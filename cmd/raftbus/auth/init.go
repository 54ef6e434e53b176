package auth

// Making the folder. What is there is kept, so that it can be made again with another node or tenant, and only the new ones need anything.
// What is the operator's, server.conf and what was added to contexts, is left alone.

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/kv/subject"
	"github.com/raftbus/raftbus/raft/config"
)

// Options say what to make. Their names in JSON are those of the flags, and of what settings.json keeps.
type Options struct {
	Dir        string   `json:"-"`
	Nodes      []string `json:"nodes"`             // added to those that the folder has
	Prefix     string   `json:"prefix"`            // as of the nodes
	Domain     string   `json:"js-domain"`         // as of the nodes; may be empty: the prefix
	DefaultAPI bool     `json:"serve-default-api"` // KV clients need not name the domain
	Anonymous  bool     `json:"anonymous"`         // clients without credentials may use keys, and nothing else
	OneAccount bool     `json:"one-account"`       // peers and clients in one account, held apart by permissions only
	JWT        bool     `json:"jwt"`               // operator, accounts and users as JWTs; else the users are nkeys in the configuration
	Tenants    []string `json:"tenants"`           // added to those that the folder has
	Guests     []string `json:"guests"`            // accounts that import native requests, and are not served; added to those that the folder has
	Republish  []string `json:"republish"`         // subjects that nodes may publish for buckets with republish
	Listen     string   `json:"listen"`            // of NATS, for clients
	ListenLeaf string   `json:"listen-leaf"`       // and for leaf nodes
	URL        string   `json:"url"`               // of NATS, for the contexts
	Owner      int      `json:"owner"`             // user id that owns the nodes' and users' files; -1: who runs this
	Remove     []string `json:"-"`                 // nodes, tenants and guests that end
	Made       []string `json:"-"`                 // set by Init: nodes/<id> and users/<name> whose keys are new
	Served     []string `json:"-"`                 // set by Init: tenants that were guests

	// Given says of each of these names whether it is said now; what is not is as the folder was made. Nil: all are.
	Given func(name string) bool `json:"-"`

	before []byte   // the configuration of NATS that is there
	kept   record   // of the folder, beside what was said
	gone   []user   // users of whom is removed
	late   []string // files of whom an earlier call removed, which was broken off before they were gone

	goneAccounts []string            // those of whom is removed
	goneKeys     map[string][]string // of users that are to be revoked, by account

	syncs func(*os.File) error // nil: its Sync; a test looks what is durable
}

// Init makes the folder, or adds to it what is missing. Afterwards o says what the folder is made for.
func Init(o *Options) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	given := o.Dir
	o.Dir, o.Made, o.kept = dir, nil, record{}
	defer func() { o.Dir = given }()
	for _, step := range []func() error{o.look, o.resume, o.check, o.untouched, o.clusterKeys, o.configure, o.serverConf} {
		if err := step(); err != nil {
			return err
		}
	}
	o.kept.Leaving = o.leaving()
	if err := o.keepSettings(); err != nil {
		return err
	}
	return errors.Join(o.leave(), o.own(), o.sync())
}

// configure writes the users' credentials, their contexts, and the configuration of NATS.
func (o *Options) configure() error {
	users := o.plan()
	keys, err := o.keys(users)
	if err != nil {
		return err
	}
	write := o.writeNKeys
	if o.JWT {
		write = o.writeJWTs
	}
	configuration, err := write(users, keys)
	if err != nil {
		return err
	}
	if err := o.contexts(users); err != nil {
		return err
	}
	return o.write(confName, seal(configuration), 0o644)
}

// keys are those of the users, and are remembered.
func (o *Options) keys(users []user) (map[string]nkeys.KeyPair, error) {
	keys := map[string]nkeys.KeyPair{}
	o.kept.Keys = map[string]string{}
	for _, u := range users {
		pair, err := o.key(u.file, nkeys.PrefixByteUser)
		if err != nil {
			return nil, err
		}
		keys[u.file], o.kept.Keys[u.file] = pair, public(pair)
		o.tellNew(u)
	}
	return keys, nil
}

func (o *Options) check() error {
	var errs []error
	if len(o.Nodes) == 0 {
		errs = append(errs, errors.New("no nodes: name those of the cluster, and those that may come later, with --nodes"))
	}
	for _, name := range slices.Concat(o.Nodes, o.Tenants, o.Guests, []string{o.Prefix}) {
		if !config.ValidToken(name) {
			errs = append(errs, fmt.Errorf("name %q: use 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", name))
		}
	}
	for _, name := range o.Nodes {
		if slices.Contains([]string{peersAccount, appAccount, operatorName}, name) && !slices.Contains(o.nodesThere(), name) {
			errs = append(errs, fmt.Errorf("node %q: that name is taken, choose another", name))
		}
	}
	errs = slices.Concat(errs, o.unusable(), o.taken("tenant", o.Tenants), o.taken("guest", o.Guests), o.servedGuests())
	if o.JWT && o.Anonymous {
		errs = append(errs, errors.New("--jwt and --anonymous do not go together, since with JWTs NATS lets nobody in without credentials: leave --jwt out, or give --anonymous=false"))
	}
	if len(errs) > 0 {
		return OptionsError{errors.Join(errs...)}
	}
	return nil
}

// unusable refuses what no node can serve, and NATS not read.
func (o *Options) unusable() (errs []error) {
	if err := CheckDomain(o.Domain); err != nil {
		errs = append(errs, err)
	}
	for _, pattern := range o.Republish {
		if _, err := subject.Parse(pattern); err != nil {
			errs = append(errs, fmt.Errorf("--republish %q: use subjects as NATS has them, such as updates.>, separated by commas alone", pattern))
		}
	}
	for _, listen := range []struct{ flag, address string }{{"listen", o.Listen}, {"listen-leaf", o.ListenLeaf}} {
		if !listenable(listen.address) {
			errs = append(errs, fmt.Errorf("--%s %q: give host and port, such as 0.0.0.0:4222", listen.flag, listen.address))
		}
	}
	for i, part := range strings.Split(o.URL, ",") {
		if o.URL != "" && !natsopt.ValidURL(strings.TrimSpace(part)) { // it may carry a password, so it is not repeated
			errs = append(errs, fmt.Errorf("--url: number %d is not valid: write nats://host:port, several separated by commas", i+1))
		}
	}
	return errs
}

// listenable reports whether NATS can read an address to listen on. Port -1 is any that is free.
func listenable(address string) bool {
	_, text, err := net.SplitHostPort(address)
	port, notNumber := strconv.Atoi(text)
	return err == nil && notNumber == nil && port >= -1 && port <= 65535
}

// CheckDomain refuses a --js-domain that nodes cannot serve; with an empty one they serve their prefix.
func CheckDomain(name string) error {
	if name == "" || name != "API" && config.ValidToken(name) {
		return nil
	}
	return fmt.Errorf("--js-domain %q: use one subject token, 1 to 64 of A-Z a-z 0-9 _ -, not starting with _, and not API", name)
}

// taken refuses names of accounts that others have.
func (o *Options) taken(what string, names []string) (errs []error) {
	for _, name := range names {
		if slices.Contains([]string{peersAccount, appAccount, operatorName, "admin", "monitor", "client", "read-only", anonymousName}, name) || slices.Contains(o.Nodes, name) {
			errs = append(errs, fmt.Errorf("%s %q: that name is taken, choose another", what, name))
		}
	}
	return errs
}

// OptionsError is what is wrong with Options: nothing was made.
type OptionsError struct{ error }

// key reads the key pair of a user, an account or the operator, or makes one.
func (o *Options) key(file string, kind nkeys.PrefixByte) (nkeys.KeyPair, error) {
	if pair, err := o.stored(file); pair != nil || err != nil {
		return pair, err
	}
	return nkeys.CreatePair(kind)
}

// stored reads a key pair; nil: there is none.
func (o *Options) stored(file string) (nkeys.KeyPair, error) {
	for _, extension := range []string{".nk", ".creds"} {
		content, err := o.read(file + extension)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		}
		pair, err := nkeys.ParseDecoratedNKey(content)
		if err != nil {
			return nil, fmt.Errorf("%s holds no seed (%w): remove the file to have another made", file+extension, err)
		}
		return pair, nil
	}
	return nil, nil
}

func (o *Options) tellNew(u user) {
	file := filepath.Join(o.Dir, u.file)
	if !exists(file+".nk") && !exists(file+".creds") {
		o.Made = union(o.Made, []string{strings.Join(strings.Split(u.file, "/")[:2], "/")})
	}
}

// clusterKeys gives all nodes one key. A node that has one, or two during a rotation, keeps it.
func (o *Options) clusterKeys() error {
	var key []byte
	for _, id := range o.Nodes {
		name := "nodes/" + id + "/" + keyName
		content, err := o.read(name)
		if err == nil {
			_, _, err = parseClusterKey(filepath.Join(o.Dir, name), content)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w; or remove the file, and the node gets the key of the others", err)
		}
		if err == nil && key != nil && string(content) != string(key) {
			return fmt.Errorf("nodes have different cluster keys, or are in the middle of a rotation: give all files nodes/*/cluster.key in %s the same content first (docs/operating.md, The cluster key)", o.Dir)
		}
		if err == nil {
			key = content
		}
	}
	if key == nil {
		key = newClusterKey()
	}
	for _, id := range o.Nodes {
		if err := o.write("nodes/"+id+"/"+keyName, key, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func newClusterKey() []byte {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return append(base64.StdEncoding.AppendEncode(nil, random), '\n')
}

// contexts are settings for the nats CLI, and for raftbus --context. What else stands in one that is there, such as tls_ca, stays.
func (o *Options) contexts(users []user) error {
	for _, u := range users {
		if u.inbox == "" || u.name() == anonymousName {
			continue
		}
		settings := map[string]any{}
		if err := o.readJSON(u.file+".json", &settings); err != nil {
			return err
		}
		settings["description"], settings["inbox_prefix"] = "raftbus "+o.Prefix+", as "+u.name(), u.inbox
		if settings["url"] == nil || o.given("url") {
			settings["url"] = o.URL
		}
		settings["jetstream_domain"] = cmp.Or(o.Domain, o.Prefix)
		if o.JWT {
			settings["creds"] = filepath.Join(o.Dir, u.file+".creds")
		} else {
			settings["nkey"] = filepath.Join(o.Dir, u.file+".nk")
		}
		content, err := json.MarshalIndent(settings, "", "  ")
		if err != nil {
			return err
		}
		if err := o.write(u.file+".json", append(content, '\n'), 0o600); err != nil {
			return err
		}
	}
	return nil
}
