package auth_test

// TLS is NATS's: with the lines of server.conf that stand there as comments, nodes and clients talk to it over TLS, and only so,
// also after auth init was given again.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient"
	"github.com/raftbus/raftbus/cmd/raftbus/auth"
	"github.com/raftbus/raftbus/raft/logtest"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	o := options(t, layouts[0].change)
	require.NoError(t, auth.Init(&o))
	certificates := t.TempDir()
	certify(t, certificates)
	file := filepath.Join(o.Dir, "nats", "server.conf")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	text := strings.NewReplacer("# tls {", "tls {", "# leafnodes {", "leafnodes {", "/etc/nats/", certificates+"/").Replace(string(content))
	require.Equal(t, 2, strings.Count(text, "\ntls {")+strings.Count(text, "\nleafnodes {"))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	require.NoError(t, auth.Init(&auth.Options{Dir: o.Dir, Nodes: []string{"n4"}, Given: func(name string) bool { return name == "nodes" }}))

	r := &realm{t: t, dir: o.Dir, server: serve(t, o.Dir)}
	ca := nats.RootCAs(filepath.Join(certificates, "ca.pem"))
	r.options = []nats.Option{ca}
	var out logtest.Buffer
	r.start(&out)
	client := r.connect(r.credentials()["users/client"], ca, nats.CustomInboxPrefix(busclient.InboxPrefix("client")))
	useKeys(t, client, "app")
	require.True(t, client.TLSRequired())
	_, err = nats.Connect(r.server.URL())
	require.ErrorContains(t, err, "certificate", "of an authority that the client does not know")
}

// certify makes an authority, and a server's certificate for 127.0.0.1.
func certify(t testing.TB, folder string) {
	caKey, serverKey := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "nats"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	write := func(name, kind string, der []byte, err error) {
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	write("ca.pem", "CERTIFICATE", der, err)
	der, err = x509.CreateCertificate(rand.Reader, server, ca, &serverKey.PublicKey, caKey)
	write("cert.pem", "CERTIFICATE", der, err)
	der, err = x509.MarshalECPrivateKey(serverKey)
	write("key.pem", "EC PRIVATE KEY", der, err)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}
