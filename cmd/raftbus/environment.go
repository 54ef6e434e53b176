package main

// Every flag can be set by a variable. This file sets the flags that were not given from the variables that are.

import (
	"errors"

	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

// fillFromEnv sets each flag that was not given from RAFTBUS_<FLAG>. The NATS flags are left out: where they come from
// decides among them, so their package reads the environment itself.
func fillFromEnv(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(flag *pflag.Flag) {
		if _, natsFlag := flag.Annotations[natsopt.Annotation]; natsFlag || flag.Changed || flag.Name == "help" {
			return
		}
		name := natsopt.Variable(flag.Name)
		if value, ok := lookup(name); ok && value != "" {
			if err := flags.Set(flag.Name, value); err != nil {
				errs = append(errs, usagef("variable %s: %w", name, err))
			}
		}
	})
	return errors.Join(errs...)
}
