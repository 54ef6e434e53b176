package main

// Where a node serves the NATS KV protocol: flags that node and dev share.

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/cmd/raftbus/natsopt"
	"github.com/raftbus/raftbus/raft/config"
)

type apiFlags struct {
	domain       string
	serveDefault bool
	leaf         []string
	accounts     []string // NAME=FOLDER
}

func (f *apiFlags) registerAccounts(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.leaf, "leaf", nil, "`URL` of a leafnode port of NATS, over which watchers of KV clients are served; default: port 7422 of the NATS servers")
	flags.StringSliceVar(&f.accounts, "account", nil, "`NAME=FOLDER` of another NATS account whose clients are served too, with the node's credentials for it: clients and leaf; those in tenants/ of --auth-dir are served as well")
}

// tenants are the accounts that are named, with their credentials.
func (f *apiFlags) tenants() (list []auth.Tenant, err error) {
	for _, text := range f.accounts {
		name, folder, _ := strings.Cut(text, "=")
		if !config.ValidToken(name) || folder == "" {
			return nil, usagef("--account %q: give NAME=FOLDER, the name of one subject token, 1 to 64 of A-Z a-z 0-9 _ -, not starting with _", text)
		}
		t, err := auth.OpenTenant(name, folder)
		if err != nil {
			return nil, usagef("--account %s: %w", name, err)
		}
		list = append(list, t)
	}
	return list, nil
}

func (f *apiFlags) register(flags *pflag.FlagSet, serveDefault bool) {
	domainVar(flags, &f.domain)
	flags.BoolVar(&f.serveDefault, "serve-default-api", serveDefault,
		"serve KV clients that name no domain, as the JetStream of the account; refused where there is one")
}

func (f *apiFlags) check() error {
	if err := auth.CheckDomain(f.domain); err != nil {
		return usagef("%w", err)
	}
	for i, address := range f.leaf {
		f.leaf[i] = strings.TrimSpace(address)
		if !natsopt.ValidURL(f.leaf[i]) {
			return usagef("--leaf %q: give it as nats://host:port", natsopt.WithoutUser(address))
		}
	}
	return nil
}
