package natsopt

// From settings to nats.go: the options that say who one is and how the connection is secured.

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// urls splits and checks the addresses. An address may carry a password, so no error repeats one.
func (s settings) urls() ([]string, error) {
	if s[keyURL] == "" {
		return []string{nats.DefaultURL}, nil
	}
	var urls []string
	for part := range strings.SplitSeq(s[keyURL], ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		if !ValidURL(part) {
			return nil, fmt.Errorf("NATS server URL number %d is not valid: write nats://host:port, several separated by commas", len(urls)+1)
		}
		urls = append(urls, part)
	}
	return urls, nil
}

// ValidURL reports whether an address has a host, and a port that is a number, if it has one.
func ValidURL(address string) bool {
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	u, err := url.Parse(address)
	return err == nil && u.Hostname() != "" && (strings.HasPrefix(u.Host, "[") || strings.Count(u.Host, ":") < 2)
}

// options returns the connection options that the settings ask for, and all that is wrong with them at once.
func (s settings) options(r references) ([]nats.Option, error) {
	var out []nats.Option
	auth, authErr := s.auth(r)
	secure, tlsErr := s.tls(r)
	if err := errors.Join(authErr, tlsErr, s.inboxes()); err != nil {
		return nil, err
	}
	out = append(append(out, auth...), secure...)
	if prefix := s[keyInboxPrefix]; prefix != "" {
		out = append(out, nats.CustomInboxPrefix(prefix))
	}
	return out, nil
}

// inboxes looks at the prefix of reply inboxes, which NATS's client does in part, and only when it connects.
func (s settings) inboxes() error {
	prefix := s[keyInboxPrefix]
	if prefix != "" && (strings.ContainsAny(prefix, " \t\r\n*>") || slices.Contains(strings.Split(prefix, "."), "")) {
		return fmt.Errorf("NATS setting %s: %q: use tokens without spaces and wildcards, joined by single dots, such as _INBOX_me", keyInboxPrefix, prefix)
	}
	return nil
}

func (s settings) auth(r references) ([]nats.Option, error) {
	how := s.method()
	if how == nil {
		return nil, s.orphans()
	}
	var option nats.Option
	var err error
	switch how.key {
	case keyUser:
		option, err = s.userAuth(r)
	case keyToken:
		option, err = tokenAuth(r, s[keyToken])
	case keyCreds:
		option, err = s.credsAuth(r)
	case keyNKey:
		option, err = s.nkeyAuth(r)
	case keyJWT:
		option, err = s.jwtAuth(r)
	}
	return []nats.Option{option}, err
}

// orphans reports a secret that nothing goes with: to drop it silently would connect as nobody.
func (s settings) orphans() error {
	switch {
	case s[keyPassword] != "":
		return fmt.Errorf("a NATS password without a user: give --%s too", keyUser)
	case s[keySeed] != "":
		return fmt.Errorf("a NATS user seed without a JWT: give --%s too", keyJWT)
	}
	return nil
}

// userAuth follows the nats CLI: a user without a password is a token.
func (s settings) userAuth(r references) (nats.Option, error) {
	if s[keyPassword] == "" {
		return tokenAuth(r, s[keyUser])
	}
	password, err := r.literal(keyPassword, s[keyPassword])
	return nats.UserInfo(s[keyUser], password), err
}

func tokenAuth(r references, value string) (nats.Option, error) {
	token, err := r.literal(keyToken, value)
	return nats.Token(token), err
}

// credsAuth leaves a file to nats.go, which reads it at each connect, so that credentials can be renewed in place.
func (s settings) credsAuth(r references) (nats.Option, error) {
	if isFile(s[keyCreds]) {
		path, err := r.file(keyCreds, s[keyCreds])
		return nats.UserCredentials(path), err
	}
	content, err := r.content(keyCreds, s[keyCreds])
	if err != nil {
		return nil, err
	}
	return nats.UserCredentialBytes(content), nil
}

func (s settings) nkeyAuth(r references) (nats.Option, error) {
	seed, err := r.content(keyNKey, s[keyNKey])
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		return nil, fmt.Errorf("NATS setting %s holds no NKey seed: name a file with a user seed (SU...)", keyNKey)
	}
	public, err := pair.PublicKey()
	return nats.Nkey(public, pair.Sign), err
}

func (s settings) jwtAuth(r references) (nats.Option, error) {
	jwt, jwtErr := r.literal(keyJWT, s[keyJWT])
	seed, seedErr := r.literal(keySeed, s[keySeed])
	if err := errors.Join(jwtErr, seedErr); err != nil {
		return nil, err
	}
	if seed == "" { // a bearer token needs no signature
		return nats.UserJWT(func() (string, error) { return jwt, nil }, func([]byte) ([]byte, error) { return nil, nil }), nil
	}
	return nats.UserJWTAndSeed(jwt, seed), nil
}

func (s settings) tls(r references) ([]nats.Option, error) {
	var out []nats.Option
	if (s[keyTLSCert] == "") != (s[keyTLSKey] == "") {
		return nil, fmt.Errorf("a TLS client certificate and its key go together: give both --%s and --%s", keyTLSCert, keyTLSKey)
	}
	var errs []error
	file := func(key string) string {
		path, err := r.file(key, s[key])
		errs = append(errs, err)
		return path
	}
	if s[keyTLSCert] != "" {
		out = append(out, nats.ClientCert(file(keyTLSCert), file(keyTLSKey)))
	}
	if s[keyTLSCA] != "" {
		out = append(out, nats.RootCAs(file(keyTLSCA)))
	}
	if first := s[keyTLSFirst]; first != "" {
		on, err := strconv.ParseBool(first)
		if err != nil {
			errs = append(errs, fmt.Errorf("NATS setting %s is %q: give true or false", keyTLSFirst, first))
		}
		if on {
			out = append(out, nats.TLSHandshakeFirst())
		}
	}
	return out, errors.Join(errs...)
}
