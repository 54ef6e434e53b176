package main

// Every flag can be set by a variable, and those that the node command has too by a configuration file. This file sets the flags that were
// not given, from the variables, and then from the file.

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

// sourceAnnotation says where a flag's value comes from, if that is no flag.
const sourceAnnotation = "source"

// fill sets the flags that were not given on the command line.
func fill(cmd *cobra.Command, lookup lookupEnv) error {
	if err := fillFromEnv(cmd.Flags(), lookup); err != nil {
		return err
	}
	path, err := cmd.Flags().GetString("config")
	if err != nil || path == "" {
		return err
	}
	file, errs := readConfig(path)
	if len(errs) == 0 {
		errs = file.fill(cmd.Flags())
	}
	if len(errs) > 0 {
		return usagef("%w: see 'raftbus config check %s'", errors.Join(errs...), path)
	}
	return nil
}

// variableOf is the variable that sets a flag: what a node's data folder is named by is not where dev and auth init write.
func variableOf(flag *pflag.Flag) string {
	if name := flag.Annotations[ownAnnotation]; len(name) > 0 {
		return natsopt.Variable(name[0])
	}
	return natsopt.Variable(flag.Name)
}

// fillFromEnv sets each flag that was not given from its variable. The NATS flags are left out: where they come from
// decides among them, so their package reads the environment itself.
func fillFromEnv(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(flag *pflag.Flag) {
		if _, natsFlag := flag.Annotations[natsopt.Annotation]; natsFlag || flag.Changed || flag.Name == "help" || flag.Name == "version" {
			return
		}
		name := variableOf(flag)
		if value, ok := lookup(name); ok && value != "" {
			if err := flags.Set(flag.Name, value); err != nil {
				errs = append(errs, usagef("variable %s: %w", name, flagError(err)))
			}
			_ = flags.SetAnnotation(flag.Name, sourceAnnotation, []string{name}) // it exists
		}
	})
	return errors.Join(errs...)
}
