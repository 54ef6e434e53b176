package natsopt

// A second NATS, beside that of the flags.

import (
	"strings"

	"github.com/spf13/pflag"
)

// Other says where a second NATS is, or with credentials alone who one is at the first. Nothing else that is set for the first counts for it. Empty fields are
// not set.
type Other struct {
	URL, Context, Creds string
}

// Given reports whether there is a second NATS.
func (o Other) Given() bool { return o != Other{} }

// Resolve reads its sources. It is called if there is one. Credentials alone are for the NATS of the first, but not with its client certificate: that says who
// one is, as they do.
func (o Other) Resolve(lookup lookupFunc, first Target) (Target, error) {
	given := settings{keyURL: o.URL, "context": o.Context, keyCreds: o.Creds}
	if o.URL == "" && o.Context == "" {
		given.fill(first.servers)
	}
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags := Register(set)
	for name, value := range given {
		if value != "" {
			if err := set.Set(name, value); err != nil {
				return Target{}, err
			}
		}
	}
	if o.Context == "" {
		if err := set.Set("no-context", "true"); err != nil {
			return Target{}, err
		}
	}
	return flags.Resolve(func(name string) (string, bool) {
		if strings.HasPrefix(name, "RAFTBUS_") || strings.HasPrefix(name, "NATS_") {
			return "", false
		}
		return lookup(name)
	})
}
