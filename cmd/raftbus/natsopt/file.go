package natsopt

// A configuration file as a source, and where each setting comes from. The file's settings are left at the flags: who reads the file
// knows the flags, and no more of this package.

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// fileAnnotation holds what a configuration file sets a flag to, and where it says so.
const fileAnnotation = "natsopt-file"

// FromFile leaves at a flag what a configuration file sets it to. It counts less than flags and variables, and more than the context.
func FromFile(flag *pflag.Flag, value, where string) {
	flag.Annotations[fileAnnotation] = []string{value, where}
}

// fileValue is what a file sets a flag to, and where.
func (f *Flags) fileValue(name string) (value, where string) {
	if said := f.set.Lookup(name).Annotations[fileAnnotation]; len(said) == 2 {
		return said[0], said[1]
	}
	return "", ""
}

func (f *Flags) fromFile() settings {
	out := settings{}
	for _, s := range known {
		out[s.key], _ = f.fileValue(s.key)
	}
	return out
}

// Effective is a setting as it counts.
type Effective struct {
	Key, Value string // a secret is masked
	Source     string // the flag, the variable, the place in the file, or the context
}

// masked stands for a secret.
const masked = "********"

// Effective lists the settings that are given, and where each of them comes from.
func (f *Flags) Effective(lookup lookupFunc) ([]Effective, error) {
	context, err := f.context(lookup)
	if err != nil {
		return nil, err
	}
	merged := f.merged(lookup, context)
	var list []Effective
	for _, s := range known {
		if value := merged[s.key]; value != "" {
			list = append(list, Effective{s.key, merged.shown(s.key), f.source(s, lookup)})
		}
	}
	for _, of := range []struct{ flag, variable string }{{"context", "NATS_CONTEXT"}, {"no-context", ""}, {"timeout", "NATS_TIMEOUT"}} {
		if value, source := f.either(of.flag, lookup, of.variable); value != "" {
			list = append(list, Effective{of.flag, value, source})
		}
	}
	return list, nil
}

// source is the strongest that has the setting. That of those that have it none was overruled by another way of authentication is
// merge's doing: then it is not among what counts.
func (f *Flags) source(s setting, lookup lookupFunc) string {
	set := func(name string) string {
		if value, _ := lookup(name); name == "" || value == "" {
			return ""
		}
		return name
	}
	flag := ""
	if f.fromFlags()[s.key] != "" {
		flag = "--" + s.key
	}
	_, where := f.fileValue(s.key)
	return cmp.Or(flag, set(ownVariable(s)), set(natsVariable(s)), where, "context")
}

// shown is a setting as others may see it. A reference to a secret is none; a user without a password is a token.
func (s settings) shown(key string) string {
	value := s[key]
	switch {
	case key == keyURL:
		return WithoutUser(value)
	case key == keyUser && s[keyPassword] != "":
		return value
	case slices.Contains([]string{keyUser, keyPassword, keyToken, keyJWT, keySeed}, key):
		if kind := scheme(value); kind == "env" || kind == "file" {
			return value
		}
		return masked
	case scheme(value) == "data", isSecret(value):
		return masked
	}
	return value
}

// WithoutUser is addresses, with commas between, as others may see them: without the credentials that they may carry. What is no valid
// address may carry some too.
func WithoutUser(urls string) string {
	list := strings.Split(urls, ",")
	for i, part := range list {
		at := strings.LastIndexByte(part, '@')
		if at < 0 {
			continue
		}
		begin := 0
		if scheme := strings.Index(part, "://"); scheme >= 0 {
			begin = scheme + len("://")
		}
		list[i] = part[:begin] + masked + part[at:]
	}
	return strings.Join(list, ",")
}
