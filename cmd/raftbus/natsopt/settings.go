package natsopt

// What can be set, where it can be set, and which source of a setting wins.

import (
	"cmp"
	"slices"
)

// Names of the settings, which are also the names of their flags.
const (
	keyURL         = "nats"
	keyUser        = "user"
	keyPassword    = "password"
	keyToken       = "token"
	keyCreds       = "creds"
	keyNKey        = "nkey"
	keyJWT         = "jwt"
	keySeed        = "seed"
	keyTLSCert     = "tlscert"
	keyTLSKey      = "tlskey"
	keyTLSCA       = "tlsca"
	keyTLSFirst    = "tlsfirst"
	keyInboxPrefix = "inbox-prefix"
)

// CertificateRemedy is for whoever does not believe a server's certificate: it has expired, its authority is not known, or it is for another name.
const CertificateRemedy = "renew the server's certificate, give its authority with --tlsca, or name the server as its certificate does"

// InboxRemedy is for whoever NATS lets hear no answer.
const InboxRemedy = "give the --" + keyInboxPrefix + " of this user, or a context that has it"

// setting is one thing that can be set: its flag, the variable that the nats CLI reads for it, its name in a context
// file, and what the help text says of it, with the kind of value in backquotes. A switch has no value.
type setting struct {
	key, env, json string
	usage          string
	isSwitch       bool
}

// known lists every setting. Each can also be given as RAFTBUS_<FLAG>, which wins over the nats CLI's variable.
var known = []setting{
	{key: keyURL, env: "NATS_URL", json: "url", usage: "NATS server `URL`, several separated by commas (default nats://127.0.0.1:4222)"},
	{key: keyUser, env: "NATS_USER", json: "user", usage: "`NAME` of the user, or a token when no password is given"},
	{key: keyPassword, env: "NATS_PASSWORD", json: "password", usage: "`PASSWORD` of the user"},
	{key: keyToken, env: "NATS_TOKEN", json: "token", usage: "`TOKEN` to connect with"},
	{key: keyCreds, env: "NATS_CREDS", json: "creds", usage: "credentials `FILE` (JWT and seed)"},
	{key: keyNKey, env: "NATS_NKEY", json: "nkey", usage: "`FILE` with an NKey user seed"},
	{key: keyJWT, env: "NATS_JWT", json: "user_jwt", usage: "user `JWT`; an env:// or file:// reference keeps it off the command line"},
	{key: keySeed, env: "NATS_SEED", json: "user_seed", usage: "user `SEED` that signs for --jwt; references as there"},
	{key: keyTLSCert, env: "NATS_CERT", json: "cert", usage: "`FILE` with the TLS client certificate"},
	{key: keyTLSKey, env: "NATS_KEY", json: "key", usage: "`FILE` with the TLS client key"},
	{key: keyTLSCA, env: "NATS_CA", json: "ca", usage: "`FILE` with the TLS certificate authorities"},
	{key: keyTLSFirst, json: "tls_first", usage: "perform the TLS handshake before the server's greeting", isSwitch: true},
	{key: keyInboxPrefix, json: "inbox_prefix", usage: "`PREFIX` of reply inboxes"},
}

// settings maps the key of a setting to its value. Absent and empty mean the same: not set.
type settings map[string]string

// method is a way to prove who one is: the setting that names it, and all that belong to it.
type method struct {
	key  string
	keys []string
}

// methods stand in the order in which the nats CLI prefers them, should one source name several.
var methods = []method{
	{keyUser, []string{keyUser, keyPassword}},
	{keyCreds, []string{keyCreds}},
	{keyNKey, []string{keyNKey}},
	{keyJWT, []string{keyJWT, keySeed}},
	{keyToken, []string{keyToken}},
}

// method returns the way these settings name; nil when they name none.
func (s settings) method() *method {
	for i := range methods {
		if s[methods[i].key] != "" {
			return &methods[i]
		}
	}
	return nil
}

// merge joins the sources, strongest first, and the context, which is the weakest. A setting is taken from the strongest
// source that has it, except that what belongs together stays together: the strongest source that names a method of
// authentication decides for it (--creds wins over a NATS_USER left in the environment), and neither a context's
// password meets another user nor its certificate another key.
func merge(given []settings, context settings) settings {
	out := settings{}
	var how *method
	for _, source := range given {
		out.fill(source)
		how = cmp.Or(how, source.method())
	}
	if how != nil {
		context = context.without(authKeys())
	}
	if out[keyTLSCert] != "" || out[keyTLSKey] != "" {
		context = context.without([]string{keyTLSCert, keyTLSKey})
	}
	out.fill(context)
	if how = cmp.Or(how, context.method()); how == nil {
		return out
	}
	return out.without(slices.DeleteFunc(authKeys(), func(key string) bool { return slices.Contains(how.keys, key) }))
}

// fill takes over what is not set yet.
func (s settings) fill(from settings) {
	for key, value := range from {
		s[key] = cmp.Or(s[key], value)
	}
}

func (s settings) without(keys []string) settings {
	out := settings{}
	for key, value := range s {
		if !slices.Contains(keys, key) {
			out[key] = value
		}
	}
	return out
}

func authKeys() []string {
	var keys []string
	for _, m := range methods {
		keys = append(keys, m.keys...)
	}
	return keys
}

func keys() []string {
	var out []string
	for _, s := range known {
		out = append(out, s.key)
	}
	return out
}
