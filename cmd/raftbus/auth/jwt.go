package auth

// The same users as JWTs, under an operator: what is changed later is signed with the seeds in the folder issuer, and a server needs to
// know the operator and the accounts only.

import (
	"bytes"
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// operatorLine is where the configuration has the operator's JWT.
var operatorLine = regexp.MustCompile(`(?m)^operator: (\S+)$`)

// responseTime is how long a node may take to answer a request that names no user's inbox: longer than any takes. Until then NATS remembers each that
// was not answered, and looks through all of them again and again.
const responseTime = 15 * time.Second

// writeJWTs writes the users' credentials, and returns a configuration that trusts the operator.
func (o *Options) writeJWTs(users []user, keys map[string]nkeys.KeyPair) ([]byte, error) {
	operator, operatorJWT, err := o.operator()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	o.head(&out)
	fmt.Fprintf(&out, "\noperator: %s\nresolver: MEMORY\nresolver_preload {\n", operatorJWT)
	accounts := map[string]nkeys.KeyPair{}
	o.remembered()
	for _, name := range o.accounts() {
		if accounts[name], err = o.issuer(name, nkeys.PrefixByteAccount); err != nil {
			return nil, err
		}
	}
	for _, name := range o.accounts() {
		claims, err := o.accountClaims(name, accounts[name])
		if err != nil {
			return nil, err
		}
		if err := o.crossClaims(claims, name, accounts); err != nil {
			return nil, err
		}
		text, err := claims.Encode(operator)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "  # %s\n  %s: %s\n", name, public(accounts[name]), text)
	}
	fmt.Fprintln(&out, "}")
	fmt.Fprintf(&out, confTail, o.ListenLeaf)
	for _, u := range users {
		if err := o.writeCredentials(u, keys[u.file], accounts[u.account]); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// issuer is a key that signs, kept apart from what nodes and servers are given.
func (o *Options) issuer(name string, kind nkeys.PrefixByte) (nkeys.KeyPair, error) {
	pair, err := o.key("issuer/"+name, kind)
	if err != nil {
		return nil, err
	}
	return pair, o.writeSeed("issuer/"+name, pair)
}

func (o *Options) operator() (nkeys.KeyPair, string, error) {
	pair, err := o.issuer(operatorName, nkeys.PrefixByteOperator)
	if err != nil {
		return nil, "", err
	}
	if text := o.operatorBefore(public(pair)); text != "" {
		return pair, text, nil
	}
	claims := jwt.NewOperatorClaims(public(pair))
	claims.Name = o.Prefix
	text, err := claims.Encode(pair)
	return pair, text, err
}

// operatorBefore is the JWT that the configuration has. It stays as it is: a NATS server that runs takes no other, nor what is new beside it.
func (o *Options) operatorBefore(subject string) string {
	found := operatorLine.FindSubmatch(o.before)
	if found == nil {
		return ""
	}
	claims, err := jwt.DecodeOperatorClaims(string(found[1]))
	if err != nil || claims.Subject != subject || claims.Name != o.Prefix {
		return ""
	}
	return string(found[1])
}

// accountClaims are those that the configuration has, with what was added to them elsewhere (revocations, limits), or new ones.
func (o *Options) accountClaims(name string, pair nkeys.KeyPair) (*jwt.AccountClaims, error) {
	claims := jwt.NewAccountClaims(public(pair))
	for _, line := range accountLine.FindAllSubmatch(o.before, -1) {
		if string(line[1]) != claims.Subject {
			continue
		}
		before, err := jwt.DecodeAccountClaims(string(line[2]))
		if err != nil {
			return nil, fmt.Errorf("the JWT of account %s in %s: %w: put it right, or remove its line to have another made", name, confName, err)
		}
		claims = before
	}
	claims.Name = name
	o.revocations(claims)
	return claims, nil
}

// revocations adds to an account's those that are remembered, and whom is removed, and remembers all of them.
func (o *Options) revocations(claims *jwt.AccountClaims) {
	for key, at := range o.kept.Revoked[claims.Name] {
		claims.RevokeAt(key, time.Unix(at, 0))
	}
	for _, key := range o.goneKeys[claims.Name] {
		claims.Revoke(key)
	}
	if len(claims.Revocations) > 0 {
		o.kept.Revoked[claims.Name] = claims.Revocations
	}
}

func (o *Options) writeCredentials(u user, pair, account nkeys.KeyPair) error {
	claims := jwt.NewUserClaims(public(pair))
	claims.Name = u.file
	claims.Pub.Allow.Add(u.permissions.Publish...)
	claims.Pub.Deny.Add(u.permissions.DenyPublish...)
	claims.Sub.Allow.Add(u.permissions.Subscribe...)
	if u.permissions.Responses {
		claims.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: responseTime}
	}
	text, err := claims.Encode(account)
	if err != nil {
		return err
	}
	seed, err := pair.Seed()
	if err != nil {
		return err
	}
	content, err := jwt.FormatUserConfig(text, seed)
	if err != nil {
		return err
	}
	return o.write(u.file+".creds", content, 0o600)
}

func public(pair nkeys.KeyPair) string {
	key, _ := pair.PublicKey() // a pair that was made or read from a seed has one
	return key
}
