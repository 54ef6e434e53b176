package main

// The auth command: makes the credentials of a cluster, and the configuration of the NATS server that holds everybody to them.

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/raftbus/raftbus/cmd/raftbus/auth"
)

const authHelp = `Make the credentials of a cluster, and the configuration of a NATS server that holds
everybody to them: nodes speak only as themselves, clients reach keys and nothing else,
administration is for administrators.`

const authInitHelp = `Make a folder with the configuration of a NATS server, the credentials of each node and
of users by role (admin, monitor, client, read-only), and the cluster key:

  nats/nats.conf     accounts, users and permissions; holds no secret; written anew each time
  nats/server.conf   yours, made once: it includes nats.conf, and is what NATS is started
                     with; TLS and NATS clusters belong here
  nodes/ID/          what a node is given, with --auth-dir; copy it to its machine, mode 0700
  users/NAME.json    a context for the nats CLI and for raftbus --context; beside it the
                     credential
  issuer/            with --jwt: the seeds that sign; keep them away from servers and nodes
  settings.json      what was said, for the next time; everybody's public keys, and with --jwt those
                     that are revoked

Given again, it keeps what is there, and adds what is new: --nodes, --tenants and --guests add
to those that there are, any other flag counts as it was said last, and what is left out stays
as it is. Nodes, tenants and guests end with --remove, other flags with --anonymous=false and
the like. Have the NATS server read its configuration anew then (nats-server --signal reload).
That ends the connections of whom was removed, but not leaf connections that are named then:
where such a process is not stopped, start the NATS servers again, one after the other, or have
them kick it.

What nodes say to each other is in the account RAFTBUS, keys are in the account APP. With
--one-account only permissions hold them apart. --tenants are further accounts, whose
clients use the same buckets, by NATS KV and natively: nodes serve them with the credentials
in nodes/ID/tenants/, once they are started anew with them.

--guests are accounts that nodes do not serve: NATS brings their native requests about buckets
and keys to APP, and the answers back, so no node needs anything for them. NATS KV, watches and
'raftbus import' are not for them, and what they have in flight counts as one client's of APP.
A guest that is named with --tenants is served from then on, and imports nothing any more.
Without --jwt a NATS server that runs must reload twice when a guest is new: it takes what a new
account imports the second time.`

const authInitExamples = `  raftbus auth init --nodes n1,n2,n3 --dir auth
  nats-server -c auth/nats/server.conf
  raftbus node --id n1 --members n1,n2,n3 --dir data/n1 --auth-dir auth/nodes/n1
  raftbus status --context auth/users/monitor.json
  raftbus auth init --nodes n4 --dir auth                # n4 is to come
  raftbus auth init --remove n4 --dir auth               # and is gone: its credentials end
  raftbus auth init --guests visitors --dir auth         # an account for native requests only
  nats-server --signal reload                            # what was said is in force by now; twice for a new guest
  raftbus kv get app color --context auth/users/visitors.json`

func newAuth() *cobra.Command {
	cmd := group("auth", "Make credentials and permissions", authHelp, "")
	cmd.AddCommand(newAuthInit())
	return cmd
}

func newAuthInit() *cobra.Command {
	cmd := &cobra.Command{Use: "init --nodes ID,ID,ID --dir DIR", Short: "Make the credentials of a cluster", Long: authInitHelp, Example: authInitExamples, Args: noArgs}
	o := &auth.Options{}
	registerAuth(cmd.Flags(), o)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkPrefix(o.Prefix); err != nil {
			return err
		}
		o.Given = cmd.Flags().Changed
		var wrong auth.OptionsError
		switch err := auth.Init(o); {
		case errors.As(err, &wrong):
			return usagef("auth init: %w", err)
		case err != nil:
			return failf(exitError, "auth init: %w", err)
		}
		return tellAuth(cmd, o)
	}
	return cmd
}

func registerAuth(flags *pflag.FlagSet, o *auth.Options) {
	flags.StringSliceVar(&o.Nodes, "nodes", nil, "`NAMES` of the nodes, and of those that may come later; added to those that there are")
	flags.StringSliceVar(&o.Remove, "remove", nil, "`NAMES` of nodes, tenants and guests whose credentials end")
	flags.StringVar(&o.Dir, "dir", "auth", "`FOLDER` to make, or to add to")
	own(flags, "dir", "auth-init-dir")
	prefixVar(flags, &o.Prefix)
	domainVar(flags, &o.Domain)
	flags.BoolVar(&o.DefaultAPI, "serve-default-api", false, "for nodes with --serve-default-api: clients need not name a domain")
	flags.BoolVar(&o.Anonymous, "anonymous", false, "let clients without credentials use keys, and nothing else")
	flags.BoolVar(&o.OneAccount, "one-account", false, "put nodes and clients into one account")
	flags.BoolVar(&o.JWT, "jwt", false, "make an operator, accounts and users as JWTs instead of nkeys in the configuration")
	flags.StringSliceVar(&o.Tenants, "tenants", nil, "`NAMES` of further accounts whose clients are served; added to those that there are")
	flags.StringSliceVar(&o.Guests, "guests", nil, "`NAMES` of accounts that are not served, and import native requests; added to those that there are")
	flags.StringSliceVar(&o.Republish, "republish", nil, "`SUBJECTS` that nodes may publish for buckets with republish, and users may listen to")
	flags.StringVar(&o.Listen, "listen", "0.0.0.0:4222", "`ADDRESS` that NATS listens on for clients")
	flags.StringVar(&o.ListenLeaf, "listen-leaf", "0.0.0.0:7422", "`ADDRESS` that NATS listens on for the nodes' leaf connections")
	flags.StringVar(&o.URL, "url", "nats://127.0.0.1:4222", "`URL` of NATS, for the contexts")
	flags.IntVar(&o.Owner, "owner", -1, "`NUMBER` of the user that is to own the nodes' and the users' files; as root only")
}

// tellAuth says what to do with it.
func tellAuth(cmd *cobra.Command, o *auth.Options) error {
	at := func(parts ...string) string { return filepath.Join(append([]string{o.Dir}, parts...)...) }
	_, err := fmt.Fprintf(cmd.OutOrStdout(), `nodes:   %[6]s
new:     %[7]s
NATS:    nats-server -c %[1]s     (one that runs: nats-server --signal reload)
a node:  raftbus node --id %[2]s --auth-dir %[3]s ...
a user:  raftbus status --context %[4]s
         nats --context %[5]s kv ls
`, at("nats", "server.conf"), o.Nodes[0], at("nodes", o.Nodes[0]), at("users", "monitor.json"), at("users", "client.json"),
		strings.Join(o.Nodes, ", "), cmp.Or(strings.Join(o.Made, ", "), "nothing"))
	if left := o.LeafsLeft(); err == nil && len(left) > 0 {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed: leaf connections of %s that stand outlive a reload of NATS, and what they send is delivered: where such a process is not stopped, start the NATS servers again, one after the other, or have them kick it\n", strings.Join(left, ", "))
	}
	if err != nil {
		return err
	}
	return tellGuests(cmd, o)
}

// tellGuests says what is to be known where guests come, or are guests no more.
func tellGuests(cmd *cobra.Command, o *auth.Options) (err error) {
	isNew := func(name string) bool { return slices.Contains(o.Made, "users/"+name) }
	if !o.JWT && slices.ContainsFunc(o.Guests, isNew) {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "guests:  have a NATS server that runs reload twice: it takes what a new account imports the second time")
	}
	if err == nil && len(o.Served) > 0 {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "served:  %s; guests no more: they import nothing, and find no responders until nodes are started anew with what is in nodes/ID/tenants\n", strings.Join(o.Served, ", "))
	}
	return err
}
