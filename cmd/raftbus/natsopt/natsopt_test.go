package natsopt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// env is an environment for one test.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// resolveWith runs the whole way from a command line to the options as nats.go reads them.
func resolveWith(t *testing.T, e env, args ...string) (Target, nats.Options, error) {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := Register(set)
	require.NoError(t, set.Parse(args))
	target, err := flags.Resolve(e.lookup)
	options := nats.GetDefaultOptions()
	for _, option := range target.Options {
		require.NoError(t, option(&options))
	}
	return target, options, err
}

// target is what flags alone say.
func target(t *testing.T, args ...string) Target {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := Register(set)
	require.NoError(t, set.Parse(args))
	target, err := flags.Resolve(env{}.lookup)
	require.NoError(t, err)
	return target
}

// inContext selects a context with the given content, and returns the environment that leads there.
func inContext(t *testing.T, content string) env {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "nats", "context", "prod.json"), content)
	write(t, filepath.Join(root, "nats", "context.txt"), "prod\n")
	return env{"XDG_CONFIG_HOME": root, "HOME": root}
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestTheDefaultIsTheLocalServer(t *testing.T) {
	target, options, err := resolveWith(t, env{})
	require.NoError(t, err)
	require.Equal(t, []string{"nats://127.0.0.1:4222"}, target.URLs)
	require.Equal(t, DefaultTimeout, target.Timeout)
	require.Empty(t, options.User+options.Token)
}

func TestFlagsWinOverEnvironmentOverContext(t *testing.T) {
	e := inContext(t, `{"url":"nats://context:1"}`)
	steps := []struct {
		variable, value string
		args            []string
		want            string
	}{
		{want: "nats://context:1"},
		{variable: "NATS_URL", value: "nats://nats:2", want: "nats://nats:2"},
		{variable: "RAFTBUS_NATS", value: "nats://own:3", want: "nats://own:3"},
		{args: []string{"--server", "nats://alias:4"}, want: "nats://alias:4"},
		{args: []string{"-s", "nats://short:5"}, want: "nats://short:5"},
		{args: []string{"--nats", "nats://flag:6"}, want: "nats://flag:6"},
	}
	for _, step := range steps {
		if step.variable != "" {
			e[step.variable] = step.value
		}
		target, _, err := resolveWith(t, e, step.args...)
		require.NoError(t, err)
		require.Equal(t, []string{step.want}, target.URLs)
	}
}

func TestSeveralServers(t *testing.T) {
	target, _, err := resolveWith(t, env{}, "--nats", "nats://a:1, b:2,tls://c:3")
	require.NoError(t, err)
	require.Equal(t, []string{"nats://a:1", "nats://b:2", "tls://c:3"}, target.URLs)
}

func TestOneMethodOfAuthenticationDecides(t *testing.T) {
	creds := write(t, filepath.Join(t.TempDir(), "x.creds"), "x")
	cases := []struct {
		name            string
		context         string
		env             env
		args            []string
		user, pass, tok string
		creds           bool
	}{
		{name: "user and password", args: []string{"--user", "u", "--password", "p"}, user: "u", pass: "p"},
		{name: "a user without a password is a token", args: []string{"--user", "t"}, tok: "t"},
		{name: "token", args: []string{"--token", "t"}, tok: "t"},
		{name: "the password may come from the environment", args: []string{"--user", "u"}, env: env{"NATS_PASSWORD": "p"}, user: "u", pass: "p"},
		{name: "a flag's credentials beat the environment's user", args: []string{"--creds", creds}, env: env{"NATS_USER": "u", "NATS_PASSWORD": "p"}, creds: true},
		{name: "own variables beat those of nats", env: env{"RAFTBUS_TOKEN": "t", "NATS_USER": "u", "NATS_PASSWORD": "p"}, tok: "t"},
		{name: "context", context: `{"user":"c","password":"cp"}`, user: "c", pass: "cp"},
		{name: "a context's password meets no other user", context: `{"user":"c","password":"cp"}`, args: []string{"--user", "t"}, tok: "t"},
		{name: "a password for the context's user", context: `{"user":"c","password":"old"}`, env: env{"NATS_PASSWORD": "new"}, user: "c", pass: "new"},
		{name: "the environment's token beats the context's user", context: `{"user":"c","password":"cp"}`, env: env{"NATS_TOKEN": "t"}, tok: "t"},
		{name: "no context wanted", context: `{"user":"c","password":"cp"}`, args: []string{"--no-context"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := env{}
			if c.context != "" {
				e = inContext(t, c.context)
			}
			for k, v := range c.env {
				e[k] = v
			}
			_, options, err := resolveWith(t, e, c.args...)
			require.NoError(t, err)
			require.Equal(t, []string{c.user, c.pass, c.tok}, []string{options.User, options.Password, options.Token})
			require.Equal(t, c.creds, options.UserJWT != nil)
		})
	}
}

// What NATS's client finds only when it connects, or never, is said before.
func TestAPrefixOfInboxesIsASubject(t *testing.T) {
	for prefix, is := range map[string]bool{"_INBOX": true, "a.b-c": true, "a b": false, "a.": false, ".a": false, "a..b": false, "a.*": false, ">": false, "a\n": false} {
		_, _, err := resolveWith(t, env{}, "--inbox-prefix", prefix)
		if is {
			require.NoError(t, err, prefix)
		} else {
			require.ErrorContains(t, err, "NATS setting inbox-prefix: ", prefix)
		}
	}
}

func TestContextsAreNamedSelectedOrFiles(t *testing.T) {
	e := inContext(t, `{"url":"nats://selected:1","description":"x","jetstream_domain":"hub"}`)
	write(t, filepath.Join(e["XDG_CONFIG_HOME"], "nats", "context", "other.json"), `{"url":"nats://other:1"}`)
	file := write(t, filepath.Join(t.TempDir(), "mine.json"), `{"url":"nats://file:1","inbox_prefix":"_I","tls_first":true}`)

	for want, args := range map[string][]string{"selected": nil, "other": {"--context", "other"}, "file": {"--context", file}} {
		target, options, err := resolveWith(t, e, args...)
		require.NoError(t, err)
		require.Equal(t, []string{"nats://" + want + ":1"}, target.URLs)
		require.Equal(t, want == "file", options.TLSHandshakeFirst)
		require.Equal(t, want == "file", options.InboxPrefix == "_I")
	}
	e["NATS_CONTEXT"] = "other"
	target, _, err := resolveWith(t, e)
	require.NoError(t, err)
	require.Equal(t, []string{"nats://other:1"}, target.URLs)

	home := env{"HOME": t.TempDir()}
	write(t, filepath.Join(home["HOME"], ".config", "nats", "context", "h.json"), `{"url":"nats://home:1"}`)
	target, _, err = resolveWith(t, home, "--context", "h")
	require.NoError(t, err)
	require.Equal(t, []string{"nats://home:1"}, target.URLs)
}

func TestReferences(t *testing.T) {
	pair, err := nkeys.CreateUser()
	require.NoError(t, err)
	seed, err := pair.Seed()
	require.NoError(t, err)
	public, err := pair.PublicKey()
	require.NoError(t, err)
	home := t.TempDir()
	file := write(t, filepath.Join(home, "secret"), "s3cret\n")
	seedFile := write(t, filepath.Join(home, "seed"), string(seed))
	data := "data:;base64," + base64.StdEncoding.EncodeToString(seed)

	for _, value := range []string{"env://SECRET", "file://" + file, "file://~/secret", "s3cret"} {
		_, options, err := resolveWith(t, env{"SECRET": "s3cret", "HOME": home}, "--user", "u", "--password", value)
		require.NoError(t, err, value)
		require.Equal(t, "s3cret", options.Password, value)
	}
	for _, value := range []string{data, seedFile, "file://" + seedFile, "env://SEED", "$HOME/seed"} {
		_, options, err := resolveWith(t, env{"SEED": string(seed), "HOME": home}, "--nkey", value)
		require.NoError(t, err, value)
		require.Equal(t, public, options.Nkey, value)
	}
	_, options, err := resolveWith(t, env{}, "--password", "env:not-a-reference", "--user", "u")
	require.NoError(t, err)
	require.Equal(t, "env:not-a-reference", options.Password)
	_, options, err = resolveWith(t, env{"J": "jwt", "S": string(seed)}, "--jwt", "env://J", "--seed", "env://S")
	require.NoError(t, err)
	jwt, err := options.UserJWT()
	require.NoError(t, err)
	require.Equal(t, "jwt", jwt)
}

func TestErrorsNameTheCauseAndNoSecret(t *testing.T) {
	const secret = "hunter2"
	folder := t.TempDir()
	cert := write(t, filepath.Join(folder, "cert.pem"), "x")
	cases := map[string]struct {
		context string
		args    []string
		env     env
		want    string
	}{
		"bad URL":                 {args: []string{"--nats", "nats://u:" + secret + "@[::1:4222"}, want: "URL number 1"},
		"no such context":         {args: []string{"--context", "nope"}, want: "nats context ls"},
		"context outside":         {args: []string{"--context", "../nope"}, want: "no slash"},
		"context below":           {args: []string{"--context", "a/b"}, want: "no slash"},
		"context is no JSON":      {context: secret, want: "not a JSON object"},
		"context through nsc":     {context: `{"nsc":"nsc://a/b/c"}`, want: "sets nsc"},
		"context through a proxy": {context: `{"socks_proxy":"socks5://` + secret + `"}`, want: "socks_proxy"},
		"context of Windows":      {context: `{"windows_cert_store":"user"}`, want: "sets windows_cert_store"},
		"1password":               {context: `{"creds":"op://vault/` + secret + `"}`, want: "op://"},
		"1password password":      {context: `{"user":"u","password":"op://vault/` + secret + `"}`, want: "op://"},
		"variable not set":        {args: []string{"--token", "env://NOPE"}, want: "NOPE"},
		"data is not base64":      {args: []string{"--nkey", "data:;base64," + secret + "!"}, want: "not base64"},
		"data has no payload":     {args: []string{"--nkey", "data:" + secret}, want: "form data:;base64"},
		"missing creds":           {args: []string{"--creds", "/nope.creds"}, want: "/nope.creds"},
		"missing CA":              {args: []string{"--tlsca", "/nope.pem"}, want: "/nope.pem"},
		"certificate as data":     {args: []string{"--tlsca", "data:;base64,AA=="}, want: "tlsca"},
		"certificate without key": {args: []string{"--tlscert", cert}, want: "--tlskey"},
		"no seed in the file":     {args: []string{"--nkey", cert}, want: "NKey seed"},
		"password of nobody":      {args: []string{"--password", secret}, want: "--user"},
		"seed of nobody":          {args: []string{"--seed", secret}, want: "--jwt"},
		"bad timeout":             {env: env{"NATS_TIMEOUT": "soon"}, want: "NATS_TIMEOUT"},
		"zero timeout":            {args: []string{"--timeout", "0s"}, want: "--timeout"},
		"bad switch":              {env: env{"RAFTBUS_TLSFIRST": "perhaps"}, want: "tlsfirst"},
		"bad no-context":          {env: env{"RAFTBUS_NO_CONTEXT": "perhaps"}, want: "RAFTBUS_NO_CONTEXT"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := inContext(t, `{}`)
			if c.context != "" {
				e = inContext(t, c.context)
			}
			for k, v := range c.env {
				e[k] = v
			}
			_, _, err := resolveWith(t, e, c.args...)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), secret)
		})
	}
}

// Q13: a secret that is given in the place of its file is neither said nor shown.
func TestASecretIsNoFile(t *testing.T) {
	pair, err := nkeys.CreateUser()
	require.NoError(t, err)
	seed, err := pair.Seed()
	require.NoError(t, err)
	text := string(seed)
	creds := "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.x\n------END NATS USER JWT------\n" + text
	for key, values := range map[string][]string{
		keyNKey:   {text, "x " + text, "file://" + text, text[:50] + "A" + text[51:], "$SEED"},
		keyCreds:  {creds, strings.ReplaceAll(creds, "\n", " "), "eyJ0.eyJq.x"},
		keyTLSKey: {"-----BEGIN PRIVATE KEY-----\nhunter2"},
	} {
		for _, value := range values {
			set := pflag.NewFlagSet("test", pflag.ContinueOnError)
			flags := Register(set)
			require.NoError(t, set.Parse([]string{"--" + key, value, "--tlscert", "/nope"}))
			e := env{"SEED": text}
			_, err := flags.Resolve(e.lookup)
			require.ErrorContains(t, err, "NATS setting "+key+" is given a secret, where it takes a file")
			for _, secret := range []string{text[:40], "eyJ0", "hunter2"} {
				require.NotContains(t, err.Error(), secret)
			}
			list, err := flags.Effective(e.lookup)
			require.NoError(t, err)
			require.Equal(t, value == "$SEED", !slices.Contains(list, Effective{key, masked, "--" + key}), value)
		}
	}
}

func TestTimeout(t *testing.T) {
	target, options, err := resolveWith(t, env{"NATS_TIMEOUT": "7s"})
	require.NoError(t, err)
	require.Equal(t, 7*time.Second, target.Timeout)
	require.Equal(t, 7*time.Second, options.Timeout)
	target, _, err = resolveWith(t, env{"NATS_TIMEOUT": "7s"}, "--timeout", "9s")
	require.NoError(t, err)
	require.Equal(t, 9*time.Second, target.Timeout)
}

func TestACertificateMeetsNoOtherKey(t *testing.T) {
	folder := t.TempDir()
	cert := write(t, filepath.Join(folder, "cert.pem"), "x")
	e := inContext(t, `{"cert":"/context/cert.pem","key":"/context/key.pem"}`)
	_, _, err := resolveWith(t, e, "--tlscert", cert)
	require.ErrorContains(t, err, "go together")
}

func TestAnotherNATSTakesNothingOfTheFirst(t *testing.T) {
	e := inContext(t, `{"url":"nats://context:4222","user":"ann","password":"secret"}`)
	e["NATS_URL"], e["NATS_USER"], e["RAFTBUS_CREDS"], e["NATS_TIMEOUT"] = "nats://env:4222", "bob", "none.creds", "1s"
	require.False(t, Other{}.Given())
	other := Other{URL: "nats://other:4222"}
	require.True(t, other.Given())
	first := target(t, "--nats", "nats://a:1,tls://b:2", "--tlsca", write(t, filepath.Join(t.TempDir(), "ca.pem"), "x"))
	target, err := other.Resolve(e.lookup, first)
	require.NoError(t, err)
	require.Equal(t, []string{"nats://other:4222"}, target.URLs)
	require.Empty(t, target.Options)
	require.Equal(t, DefaultTimeout, target.Timeout)
	target, err = Other{Context: "prod"}.Resolve(e.lookup, first)
	require.NoError(t, err)
	require.Equal(t, []string{"nats://context:4222"}, target.URLs)
	_, err = Other{Creds: "none.creds"}.Resolve(e.lookup, first)
	require.ErrorContains(t, err, "none.creds")
	target, err = Other{Creds: write(t, filepath.Join(t.TempDir(), "js.creds"), "x")}.Resolve(e.lookup, first)
	require.NoError(t, err)
	require.Equal(t, first.URLs, target.URLs, "credentials alone are for the same NATS")
}

// Credentials alone are for the same NATS: what proves its servers is the same. Who one is there they say, and no client certificate.
func TestCredentialsAloneAreForTheSameServers(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return write(t, filepath.Join(dir, name), "x") }
	first := target(t, "--nats", "tls://a:1", "--tlsca", file("ca.pem"), "--tlsfirst", "--tlscert", file("cert.pem"), "--tlskey", file("key.pem"), "--user", "ann")
	creds := file("js.creds")
	for _, c := range []struct {
		other Other
		same  bool
	}{{Other{Creds: creds}, true}, {Other{URL: "tls://a:1", Creds: creds}, false}} {
		target, err := c.other.Resolve(env{}.lookup, first)
		require.NoError(t, err)
		options := nats.GetDefaultOptions()
		var errs error // of the files that are read, which hold nothing
		for _, option := range target.Options {
			errs = errors.Join(errs, option(&options))
		}
		require.Equal(t, []string{"tls://a:1"}, target.URLs)
		require.Equal(t, c.same, options.TLSHandshakeFirst)
		require.Equal(t, c.same, strings.Contains(fmt.Sprint(errs), "ca.pem"), errs)
		require.NotContains(t, fmt.Sprint(errs), "client certificate")
		require.Empty(t, options.User)
		require.NotNil(t, options.UserJWT)
	}
}

func TestNoAddressShowsItsCredentials(t *testing.T) {
	for given, shown := range map[string]string{
		"nats://host:4222":                 "nats://host:4222",
		"nats://u:p@a:1,tls://token@b:2,c": "nats://********@a:1,tls://********@b:2,c",
		"u:p@host":                         "********@host",
		"nats://u:p%zz@host":               "nats://********@host",
		"nats://u:p@ss/word@[::1:4222":     "nats://********@[::1:4222",
	} {
		require.Equal(t, shown, WithoutUser(given))
	}
}

// Each setting is told with the source that it has, as it counts, and no secret is.
func TestEffectiveSettings(t *testing.T) {
	e := inContext(t, `{"url":"nats://context:1","inbox_prefix":"_IN","user":"gone","password":"hunter2"}`)
	e["NATS_CA"], e["RAFTBUS_TIMEOUT"] = "/ca.pem", "9s"
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := Register(set)
	require.NoError(t, set.Parse([]string{"--nats", "nats://a:hunter2@flag:1,tls://flag:2"}))
	for key, value := range map[string]string{"nats": "nats://file:1", "token": "hunter2", "timeout": "1s", "tlsca": "/file.pem"} {
		FromFile(set.Lookup(key), value, "f.yaml:1")
	}
	list, err := flags.Effective(e.lookup)
	require.NoError(t, err)
	require.Equal(t, []Effective{
		{"nats", "nats://********@flag:1,tls://flag:2", "--nats"},
		{"token", "********", "f.yaml:1"}, // it overrules the context's user, as in merge
		{"tlsca", "/ca.pem", "NATS_CA"},
		{"inbox-prefix", "_IN", "context"},
		{"timeout", "9s", "RAFTBUS_TIMEOUT"},
	}, list)
	FromFile(set.Lookup("token"), "env://BUS", "f.yaml:2")
	list, err = flags.Effective(e.lookup)
	require.NoError(t, err)
	require.Contains(t, list, Effective{"token", "env://BUS", "f.yaml:2"}, "a reference is no secret")
}
