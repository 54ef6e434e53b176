package main

// The config commands: what a configuration file says, whether it is right, and what counts in the end.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"

	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
)

const configHelp = `Check a configuration file, or print what counts.

A file is YAML (or JSON) with the flags of 'raftbus node --help' as keys, the NATS flags too:

  id: n1
  members: [n1, n2, n3]
  dir: /var/lib/raftbus
  nats: nats://bus:4222
  auth-dir: /etc/raftbus/n1
  account: [team-a=/etc/raftbus/team-a]
  log-level: info

Every command takes it with --config FILE, or RAFTBUS_CONFIG, and of it what it has flags for
(dir is a node's: the folders of dev and auth init are their own, as variables too; auth-dir
is node's and health's: other commands need --context or another credential). Flags win over
variables, variables over the file, and the file over the defaults. Paths are relative to where
the command is run. Secrets may be references: token: env://BUS_TOKEN.`

const configExamples = `  raftbus config check /etc/raftbus/raftbus.yaml
  raftbus config print --config /etc/raftbus/raftbus.yaml --log-level debug
  raftbus node --config /etc/raftbus/raftbus.yaml
  raftbus health --config /etc/raftbus/raftbus.yaml                  # as the node, by its auth-dir
  raftbus status --config /etc/raftbus/raftbus.yaml --context auth/users/monitor.json`

func newConfig(lookup lookupEnv) *cobra.Command {
	cmd := group("config", "Check and print the configuration", configHelp, configExamples)
	cmd.AddCommand(configCheck(lookup), configPrint(lookup))
	return cmd
}

func configCheck(lookup lookupEnv) *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Say all that is wrong with a configuration file",
		Long: "Say all that is wrong with a file, each with its line, and exit with 2 if anything is. Nothing is started, and\nnobody is asked. A file that names a node (id, members, dir or join) must have all that a node needs.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%d arguments: name one file", len(args))
			}
			return nil
		},
		// The file is what is looked at, so it may be wrong.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return fillFromEnv(cmd.Flags(), lookup) },
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := cmd.Flags().GetString("config")
			if err != nil {
				return err
			}
			if path = cmp.Or(strings.Join(args, ""), path); path == "" {
				return usagef("no file is named: give one, or set RAFTBUS_CONFIG")
			}
			errs := checkConfig(path, lookup)
			for _, err := range errs {
				fmt.Fprintln(cmd.OutOrStdout(), err)
			}
			if len(errs) > 0 {
				return usagef("%s: %s", path, counted(len(errs), "error"))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is right\n", path)
			return err
		},
	}
}

// checkConfig is all that is wrong with a file, in the environment that there is.
func checkConfig(path string, lookup lookupEnv) (errs []error) {
	file, errs := readConfig(path)
	node, flags := &nodeFlags{}, pflag.NewFlagSet("", pflag.ContinueOnError)
	node.register(flags)
	ofNATS := natsopt.Register(flags)
	if err := fillFromEnv(flags, lookup); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, file.fill(flags)...)
	target, err := ofNATS.Resolve(lookup)
	if errs = append(errs, file.placed(err)...); len(errs) > 0 || !file.namesNode() {
		return append(errs, file.placed(errors.Join(checkPrefix(node.prefix), node.checkApart()))...) // who it is may stand in a line that is wrong
	}
	_, err = node.secrets(target)
	return file.placed(errors.Join(node.check(), err))
}

// namesNode reports whether the file is a node's.
func (c *configFile) namesNode() bool {
	return slices.ContainsFunc(c.settings, func(s fileSetting) bool {
		return slices.Contains([]string{"id", "members", "dir", "join"}, s.key)
	})
}

// placed parts joined errors, and puts each at the line of the setting that it names.
func (c *configFile) placed(err error) (errs []error) {
	if err == nil {
		return nil
	}
	for text := range strings.SplitSeq(err.Error(), "\n") {
		line := slices.IndexFunc(c.settings, func(s fileSetting) bool { return strings.HasPrefix(text, "--"+s.key+" ") })
		if line < 0 {
			line = slices.IndexFunc(c.settings, func(s fileSetting) bool { return names(text, s) })
		}
		switch {
		case strings.HasPrefix(text, c.path+":"): // it says so itself
			errs = append(errs, errors.New(text))
		case line < 0:
			errs = append(errs, fmt.Errorf("%s: %s", c.path, text))
		default:
			errs = append(errs, c.at(c.settings[line].line, "%s", text))
		}
	}
	return errs
}

// names reports whether an error's text is about a setting.
func names(text string, s fileSetting) bool {
	words := strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(` :;,"'()`, c) })
	return slices.Contains(words, s.key) || slices.Contains(words, "--"+s.key) || strings.Contains(text, s.value) && strings.Contains(s.value, "/")
}

// effective is a setting as it counts.
type effective struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // a secret is masked
	Source string `json:"source"`
}

func configPrint(lookup lookupEnv) *cobra.Command {
	cmd := &cobra.Command{
		Use: "print", Short: "Print the settings of a node as they count, and where each comes from",
		Long: "Print all settings with which 'raftbus node' would start by the same flags, variables and file, as YAML. Where each\ncomes from stands beside it. Secrets are not shown.",
		Args: noArgs,
	}
	node := &nodeFlags{}
	node.register(cmd.Flags())
	natsFlags := natsopt.Register(cmd.Flags())
	asJSON := cmd.Flags().Bool("json", false, `print [{"key":...,"value":...,"source":...}]`)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ofNATS, err := natsFlags.Effective(lookup)
		if err != nil {
			return usagef("%w", err)
		}
		list := effectiveFlags(cmd.Flags())
		for _, s := range ofNATS {
			list = append(list, effective(s))
		}
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(list)
		}
		return printEffective(cmd.OutOrStdout(), list)
	}
	return cmd
}

// effectiveFlags are the settings that are not about NATS.
func effectiveFlags(flags *pflag.FlagSet) (list []effective) {
	keys := settingKeys()
	flags.VisitAll(func(flag *pflag.Flag) {
		if isOfNATS(flag) || !slices.Contains(keys, flag.Name) {
			return
		}
		source := "default"
		if flag.Changed {
			source = "--" + flag.Name
		}
		if said := flag.Annotations[sourceAnnotation]; len(said) > 0 {
			source = said[0]
		}
		value := flag.Value.String()
		if slice, ok := flag.Value.(pflag.SliceValue); ok {
			value = strings.Join(slice.GetSlice(), ",")
		}
		if flag.Name == "leaf" || flag.Name == "traces" { // they have addresses too
			value = natsopt.WithoutUser(value)
		}
		list = append(list, effective{flag.Name, value, source})
	})
	return list
}

// printEffective writes YAML that says the same when it is read as a file, secrets apart.
func printEffective(w io.Writer, list []effective) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range list {
		var value any = s.Value
		if on, err := strconv.ParseBool(s.Value); err == nil && s.Value == strconv.FormatBool(on) {
			value = on // without quotes
		}
		line, err := yaml.Marshal(map[string]any{s.Key: value})
		if err != nil {
			return errors.Join(err, table.Flush())
		}
		fmt.Fprintf(table, "%s\t# %s\n", strings.TrimSpace(string(line)), s.Source)
	}
	return table.Flush()
}
