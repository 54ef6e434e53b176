package leaf

// Who a leaf is, and TLS: on real servers, right and wrong, and what is said when it is wrong.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
)

func with(options ...nats.Option) func(*Options) {
	return func(o *Options) { o.NATS = append(o.NATS, options...) }
}

func asUser(name, password string) func(*Options) { return with(nats.UserInfo(name, password)) }

// requireRefused waits for an error that says all of this, and no connection.
func requireRefused(t testing.TB, c *Conn, says ...string) {
	t.Helper()
	for _, text := range says {
		eventually(t, text, func() bool { return strings.Contains(c.LastError(), text) })
	}
	require.False(t, isUp(c))
	require.Zero(t, disconnectsOf(c), "never let in")
}

// requireServes shows that the leaf is let in, and delivers.
func requireServes(t testing.TB, c *Conn, nc *nats.Conn) {
	t.Helper()
	awaitUp(t, c)
	sub := subscribe(t, nc, "_INBOX.x")
	awaitInterest(t, c, "_INBOX.x", true)
	require.NoError(t, c.Publish("_INBOX.x", ack(1, "$KV.app.k"), nil, []byte("v")))
	requireDelivery(t, sub, 1, "$KV.app.k", "v")
}

func TestUserAndPassword(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startNATS(t, config(t, `
accounts { APP { users [{user: app, password: x}] } }
leafnodes { authorization { user: leaf, password: "y/z", account: APP } }`))
	nc := client(t, s.URL(), nats.UserInfo("app", "x"))
	requireServes(t, begin(t, s.LeafURL(), asUser("leaf", "y/z")), nc)
	requireServes(t, begin(t, strings.Replace(s.LeafURL(), "//", "//leaf:y%2Fz@", 1)), nc)
	requireRefused(t, begin(t, s.LeafURL(), asUser("leaf", "wrong")), `"Authorization Violation"`, "give the leaf a user")
	nobody := begin(t, s.LeafURL())
	requireRefused(t, nobody, `"Authorization Violation"`)
	wrong := begin(t, strings.Replace(s.LeafURL(), "//", "//leaf:hunter2@", 1))
	requireRefused(t, wrong, `"Authorization Violation"`)
	require.NotContains(t, wrong.LastError(), "hunter2")
}

func TestToken(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startNATS(t, config(t, `authorization { token: secret }`))
	nc := client(t, s.URL(), nats.Token("secret"))
	requireServes(t, begin(t, s.LeafURL(), with(nats.Token("secret"))), nc)
	requireServes(t, begin(t, strings.Replace(s.LeafURL(), "//", "//secret@", 1)), nc)
	requireRefused(t, begin(t, s.LeafURL(), with(nats.Token("other"))), `"Authorization Violation"`)
}

func seedFile(t testing.TB, pair nkeys.KeyPair) string {
	t.Helper()
	seed, err := pair.Seed()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "user.nk")
	require.NoError(t, os.WriteFile(file, seed, 0o600))
	return file
}

func public(t testing.TB, pair nkeys.KeyPair) string {
	t.Helper()
	key, err := pair.PublicKey()
	require.NoError(t, err)
	return key
}

func newPair(t testing.TB, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	pair, err := create()
	require.NoError(t, err)
	return pair
}

func byNKey(t testing.TB, pair nkeys.KeyPair) nats.Option {
	t.Helper()
	option, err := nats.NkeyOptionFromSeed(seedFile(t, pair))
	require.NoError(t, err)
	return option
}

// Who is named in a URL is nobody else as well.
func TestWhoAURLNamesHasNoOtherCredentials(t *testing.T) {
	i := introduction{User: "a", Password: "b", Token: "c", NKey: "d"}
	i.identify("user", url.UserPassword("user", "password").Password)
	require.Equal(t, introduction{User: "user", Password: "password"}, i)
	i.identify("token", url.User("token").Password)
	require.Equal(t, introduction{User: "token", Token: "token"}, i)
}

func TestNKey(t *testing.T) {
	user, other := newPair(t, nkeys.CreateUser), newPair(t, nkeys.CreateUser)
	s := startNATS(t, config(t, fmt.Sprintf(`authorization { users [{nkey: %s}] }`, public(t, user))))
	nc := client(t, s.URL(), byNKey(t, user))
	requireServes(t, begin(t, s.LeafURL(), with(byNKey(t, user))), nc)
	requireRefused(t, begin(t, s.LeafURL(), with(byNKey(t, other))), `"Authorization Violation"`)
}

// realm is an operator with one account, whose users have credentials files.
type realm struct {
	operator, account nkeys.KeyPair
	config            string
}

func newRealm(t testing.TB) realm {
	r := realm{operator: newPair(t, nkeys.CreateOperator), account: newPair(t, nkeys.CreateAccount)}
	operator := jwt.NewOperatorClaims(public(t, r.operator))
	account := jwt.NewAccountClaims(public(t, r.account))
	operatorJWT, err := operator.Encode(r.operator)
	require.NoError(t, err)
	accountJWT, err := account.Encode(r.operator)
	require.NoError(t, err)
	r.config = fmt.Sprintf("operator: %s\nresolver: MEMORY\nresolver_preload { %s: %s }\n", operatorJWT, public(t, r.account), accountJWT)
	return r
}

func (r realm) credentials(t testing.TB, file string, expires time.Time) {
	t.Helper()
	user := newPair(t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(public(t, user))
	claims.Expires = expires.Unix()
	text, err := claims.Encode(r.account)
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	content, err := jwt.FormatUserConfig(text, seed)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, content, 0o600))
}

// F12, K76: credentials that have expired are read anew, so that they can be renewed in place.
func TestCredentialsAreReadAnew(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newRealm(t)
	s := startNATS(t, config(t, r.config))
	file := filepath.Join(t.TempDir(), "leaf.creds")
	r.credentials(t, file, time.Now().Add(-time.Minute))
	c := begin(t, s.LeafURL(), with(nats.UserCredentials(file)))
	requireRefused(t, c, `"Authorization Violation"`)
	require.NoError(t, os.WriteFile(file, []byte("nonsense"), 0o600))
	eventually(t, "said", func() bool { return strings.Contains(c.LastError(), "check the file") })
	r.credentials(t, file, time.Now().Add(time.Hour))
	requireServes(t, c, client(t, s.URL(), nats.UserCredentials(file)))
}

func TestCredentialsThatExpireEndTheConnection(t *testing.T) {
	t.Parallel() // it mostly waits
	r := newRealm(t)
	s := startNATS(t, config(t, r.config))
	file := filepath.Join(t.TempDir(), "leaf.creds")
	r.credentials(t, file, time.Now().Add(5*time.Second))
	c := dial(t, s.LeafURL(), with(nats.UserCredentials(file)))
	r.credentials(t, file, time.Now().Add(time.Hour))
	eventually(t, "expired", func() bool { return disconnectsOf(c) == 1 })
	awaitUp(t, c)
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

func newAuthority(t testing.TB) authority {
	a := authority{certificate: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.file, _ = a.sign(t, a.certificate, a.key)
	return a
}

// sign writes a certificate and its key.
func (a authority) sign(t testing.TB, c *x509.Certificate, key *ecdsa.PrivateKey) (certificate, keyFile string) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.certificate, &key.PublicKey, a.key)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	folder := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		file := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600))
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", private)
}

func (a authority) issue(t testing.TB, usage x509.ExtKeyUsage) (certificate, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, key)
}

func TestTLS(t *testing.T) {
	t.Parallel() // it mostly waits
	ca, foreign := newAuthority(t), newAuthority(t)
	certificate, key := ca.issue(t, x509.ExtKeyUsageServerAuth)
	mine, mineKey := ca.issue(t, x509.ExtKeyUsageClientAuth)
	for _, c := range []struct {
		name, more string
		first      []nats.Option
	}{
		{name: "after the greeting"},
		{"before the greeting", "handshake_first: true", []nats.Option{nats.TLSHandshakeFirst()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startNATS(t, config(t, fmt.Sprintf(
				`leafnodes { tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true, %s } }`, certificate, key, ca.file, c.more)))
			options := func(o ...nats.Option) func(*Options) { return with(append(o, c.first...)...) }
			ours := nats.ClientCert(mine, mineKey)
			requireServes(t, begin(t, s.LeafURL(), options(nats.RootCAs(ca.file), ours)), client(t, s.URL()))
			requireServes(t, begin(t, strings.Replace(s.LeafURL(), "nats:", "tls:", 1), options(nats.RootCAs(ca.file), ours)), client(t, s.URL()))
			requireRefused(t, begin(t, s.LeafURL(), options(nats.RootCAs(foreign.file), ours)), "certificate", "check")
			requireRefused(t, begin(t, s.LeafURL(), options(nats.RootCAs(ca.file))), "certificate")
			if c.first != nil {
				requireRefused(t, begin(t, s.LeafURL(), with(nats.RootCAs(ca.file), ours)), "handshake_first")
			}
		})
	}
}

func TestTLSThatIsWantedIsNotGivenUp(t *testing.T) {
	s := startNATS(t)
	requireRefused(t, begin(t, strings.Replace(s.LeafURL(), "nats:", "tls:", 1)), "TLS is wanted", "leafnodes{tls}")
	requireRefused(t, begin(t, s.LeafURL(), with(nats.Secure())), "TLS is wanted")
}

func TestAPortForClientsIsNoLeafnodePort(t *testing.T) {
	s := startNATS(t, func(o *embedded.Options) { o.ClusterPort, o.ClusterName = embedded.Random, "c" })
	requireRefused(t, begin(t, s.URL()), "no leafnode port", "7422")
	requireRefused(t, begin(t, s.RouteURL()), "no leafnode port", "7422")
}

// The settings of TLS are shared: each server is checked by its own name.
func TestEachServerHasItsOwnName(t *testing.T) {
	s := settings{nats: nats.Options{TLSConfig: &tls.Config{}}}
	for _, name := range []string{"a", "b"} {
		config, err := s.tls(endpoint{tlsName: name})
		require.NoError(t, err)
		require.Equal(t, name, config.ServerName)
	}
	config, err := (&settings{}).tls(endpoint{secure: true})
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS12, config.MinVersion, "where nothing is said, as with tls:// alone")
}
