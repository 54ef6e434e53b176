package natsopt

// References: a secret's value may say where the secret is (env://, file://, data:) instead of being it.

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// references resolves values with the environment it was given.
type references struct{ lookup lookupFunc }

// literal returns the value meant: what a reference leads to, or the text itself when it is none.
func (r references) literal(key, value string) (string, error) {
	switch scheme(value) {
	case "env", "file", "data", "op", "nsc":
		content, err := r.content(key, value)
		return strings.TrimRight(string(content), "\r\n"), err
	}
	return value, nil
}

// content returns what a reference leads to. A plain value is the path of a file.
func (r references) content(key, value string) ([]byte, error) {
	switch scheme(value) {
	case "env":
		name := value[len("env://"):]
		if text, ok := r.lookup(name); ok && text != "" {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("NATS setting %s refers to the variable %s, which is not set: set it", key, name)
	case "data":
		return dataContent(key, value)
	case "", "file":
		content, err := os.ReadFile(r.path(value))
		return content, unreadable(key, r.path(value), err)
	}
	return nil, unsupportedReference(key, value)
}

// file returns the path of a setting that must stay a file, after a look at whether it can be read: nats.go reads some
// files only when it dials, and then tries for ever.
func (r references) file(key, value string) (string, error) {
	if !isFile(value) {
		return "", unsupportedReference(key, value)
	}
	f, err := os.Open(r.path(value))
	if err != nil {
		return "", unreadable(key, r.path(value), err)
	}
	return r.path(value), f.Close()
}

// unreadable is what is wrong with a file, if anything is. A secret that was given in the place of its file is not repeated (Q13).
func unreadable(key, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case isSecret(path):
		return fmt.Errorf("NATS setting %s is given a secret, where it takes a file: put it into a file, and name that", key)
	}
	return fmt.Errorf("NATS setting %s: %w: name a file that can be read", key, err)
}

// secretLike is what a seed looks like, also with letters wrong, and a JWT.
var secretLike = regexp.MustCompile(`\bS[A-Z][A-Z2-7]{48,}|\beyJ[\w-]+\.eyJ`)

// isSecret reports whether a value is what belongs into a file: no path has several lines, or a seed in it.
func isSecret(value string) bool {
	return strings.Contains(value, "\n") || secretLike.MatchString(value)
}

// path expands variables and a leading ~ as the nats CLI does.
func (r references) path(value string) string {
	get := func(name string) string {
		text, _ := r.lookup(name)
		return text
	}
	if scheme(value) == "file" {
		value = value[len("file://"):]
	}
	value = os.Expand(value, get)
	if home := get("HOME"); home != "" && (value == "~" || strings.HasPrefix(value, "~/")) {
		value = home + value[1:]
	}
	return value
}

func isFile(value string) bool { return scheme(value) == "" || scheme(value) == "file" }

// scheme returns the kind of a reference, or nothing when the value is none. The scheme of a URL that merely looks like a
// reference (env:x) is none either.
func scheme(value string) string {
	u, err := url.Parse(value)
	switch {
	case err != nil || len(u.Scheme) < 2: // one letter is a drive
		return ""
	case u.Scheme == "data" || strings.HasPrefix(value[len(u.Scheme):], "://"):
		return u.Scheme
	}
	return ""
}

func dataContent(key, value string) ([]byte, error) {
	head, payload, ok := strings.Cut(value, ",")
	if !ok || !strings.Contains(head, ";base64") {
		return nil, fmt.Errorf("NATS setting %s: a data: reference has the form data:;base64,<payload>", key)
	}
	content, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		return nil, fmt.Errorf("NATS setting %s: the payload of its data: reference is not base64: encode it anew", key)
	}
	return content, nil
}

func unsupportedReference(key, value string) error {
	return fmt.Errorf("NATS setting %s refers to %s://, which raftbus does not support here: give a file", key, scheme(value))
}
