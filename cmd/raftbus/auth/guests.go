package auth

// Guests: accounts that nodes do not serve. NATS brings their native requests to the account of the cluster's clients, which exports them as a
// service to these accounts and to no other, and brings the answers back. So a guest costs no node anything. An account is either served or a guest: one
// that is both would have each of its requests done twice.

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// settle adds the accounts that are said to those that there are. A guest that is said to be a tenant is one from now on, and no guest any more.
func (o *Options) settle(tenants, guests []string) {
	o.Served = slices.DeleteFunc(slices.Clone(guests), func(name string) bool { return !slices.Contains(o.Tenants, name) })
	stay := slices.DeleteFunc(slices.Clone(guests), func(name string) bool { return slices.Contains(o.Tenants, name) })
	o.Tenants, o.Guests = union(tenants, o.Tenants), union(stay, o.Guests)
}

// servedGuests refuses what would be both.
func (o *Options) servedGuests() (errs []error) {
	for _, name := range o.Guests {
		if slices.Contains(o.Tenants, name) {
			errs = append(errs, fmt.Errorf("guest %q: nodes serve the account, since it is a tenant, and would do each of its requests twice: choose another name, or give --remove %[1]s before", name))
		}
	}
	return errs
}

// cross writes what an account exports or imports.
func (o *Options) cross(out *bytes.Buffer, account string) {
	if len(o.Guests) == 0 {
		return
	}
	switch {
	case account == appAccount:
		o.crossing(out, "exports", func(subject string) string {
			return fmt.Sprintf("{service: %q, accounts: %s}", subject, list(o.Guests))
		})
	case slices.Contains(o.Guests, account):
		o.crossing(out, "imports", func(subject string) string {
			return fmt.Sprintf("{service: {account: %q, subject: %q}}", appAccount, subject)
		})
	}
}

func (o *Options) crossing(out *bytes.Buffer, what string, line func(subject string) string) {
	fmt.Fprintf(out, "    %s: [\n", what)
	for _, subject := range o.roles().Requests() {
		fmt.Fprintf(out, "      %s\n", line(subject))
	}
	fmt.Fprintln(out, "    ]")
}

// crossClaims does the same for JWTs. An export asks for a token, which the exporting account signs for one other: else any account of the operator
// could import it.
func (o *Options) crossClaims(claims *jwt.AccountClaims, name string, accounts map[string]nkeys.KeyPair) error {
	o.uncross(claims, name)
	switch {
	case len(o.Guests) == 0:
	case name == appAccount:
		o.export(claims)
	case slices.Contains(o.Guests, name):
		return o.importInto(claims, accounts[appAccount])
	}
	return nil
}

// uncross takes out the exports and imports that this command gave an account and that it is not to have. An earlier release had tenants import: an
// account that is served by itself would have each of its requests done twice.
func (o *Options) uncross(claims *jwt.AccountClaims, name string) {
	stale := func(name string, subject jwt.Subject, stays bool) bool {
		ours := name == string(subject) && strings.HasPrefix(name, o.Prefix+".")
		return ours && !(stays && slices.Contains(o.roles().Requests(), name))
	}
	exports, imports := name == appAccount && len(o.Guests) > 0, slices.Contains(o.Guests, name)
	claims.Exports = slices.DeleteFunc(claims.Exports, func(e *jwt.Export) bool { return stale(e.Name, e.Subject, exports && e.TokenReq) })
	claims.Imports = slices.DeleteFunc(claims.Imports, func(i *jwt.Import) bool { return stale(i.Name, i.Subject, imports) })
}

// export adds what is missing.
func (o *Options) export(claims *jwt.AccountClaims) {
	for _, subject := range o.roles().Requests() {
		if !slices.ContainsFunc(claims.Exports, func(e *jwt.Export) bool { return e.Name == subject }) {
			claims.Exports.Add(&jwt.Export{Name: subject, Subject: jwt.Subject(subject), Type: jwt.Service, TokenReq: true, ResponseType: jwt.ResponseTypeSingleton})
		}
	}
}

// importInto adds what is missing, and has each import signed anew.
func (o *Options) importInto(claims *jwt.AccountClaims, from nkeys.KeyPair) error {
	for _, subject := range o.roles().Requests() {
		at := slices.IndexFunc(claims.Imports, func(i *jwt.Import) bool { return i.Name == subject })
		if at < 0 {
			at = len(claims.Imports)
			claims.Imports.Add(&jwt.Import{Name: subject, Subject: jwt.Subject(subject), Type: jwt.Service})
		}
		token, err := activation(subject, claims.Subject, from)
		if err != nil {
			return err
		}
		claims.Imports[at].Account, claims.Imports[at].Token = public(from), token
	}
	return nil
}

// activation lets an account import a service.
func activation(subject, account string, from nkeys.KeyPair) (string, error) {
	claims := jwt.NewActivationClaims(account)
	claims.Name, claims.ImportSubject, claims.ImportType = subject, jwt.Subject(subject), jwt.Service
	return claims.Encode(from)
}
