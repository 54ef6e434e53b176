package main

// What a connection that cannot be made is called.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// onBus is a connection to a NATS server of the test's own.
func onBus(t *testing.T) *nats.Conn {
	t.Helper()
	server := natstest.Run(t, embedded.Options{})
	return natstest.Connect(t, server)
}

// A host that is down, unknown or silent is no wrong flag: scripts are told to try again later.
func TestAHostThatIsNotThereIsUnavailable(t *testing.T) {
	for name, err := range map[string]error{
		"unknown":  &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}},
		"no route": &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH},
		"silent":   &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
		"reset":    &net.OpError{Op: "read", Err: syscall.ECONNRESET},
		"slow":     fmt.Errorf("%w: of the dialogue", nats.ErrTimeout),
	} {
		require.True(t, unreachable(err), name)
	}
	require.False(t, unreachable(&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}))
	require.False(t, unreachable(nats.ErrSecureConnRequired))

	for _, err := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		require.True(t, refusesUser(fmt.Errorf("%w: at bus", err)), "%v: it was not let in", err)
	}

	text, code := said("kv", "get", "app", "color", "--nats", "nats://nats.invalid:4222", "--timeout", "2s")
	require.Equal(t, exitUnavailable, code, text)
	require.Contains(t, text, "no NATS server answers at nats://nats.invalid:4222: start one, or name it with --nats: ")
}

// A server that takes the connection and says nothing is not there either. It is waited for for as long as was said, and then asked for a moment only.
func TestAServerThatSaysNothingIsUnavailable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	waited := make(chan time.Duration, 100)
	go func() {
		for conn, err := silent.Accept(); err == nil; conn, err = silent.Accept() {
			began := time.Now()
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
			waited <- time.Since(began)
		}
	}()
	shorter := func() bool {
		text, code := said("status", "--nats", "nats://"+silent.Addr().String(), "--timeout", "100ms")
		require.Equal(t, exitUnavailable, code, text)
		require.Contains(t, text, "no NATS server answers at ")
		first := <-waited
		return <-waited < first*3/4
	}
	for tries := 1; !shorter(); tries++ { // on a busy machine any wait may be long
		require.Less(t, tries, 5, "it is waited for twice as long as was said")
	}
}

// Exit codes are API: a server that refuses credentials is there, whatever others are not, which were given too or which it has named before it refused (F12).
func TestWhoIsRefusedIsSaidSoWhereOtherServersAreGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(`client_advertise: "127.0.0.1:1"`), 0o600))
	servers, err := embedded.StartCluster(2, embedded.Options{ConfigFile: file, Users: []embedded.User{{Name: "x", Password: "right"}}})
	require.NoError(t, err)
	for _, s := range servers {
		t.Cleanup(s.Shutdown)
	}
	url := servers[0].URL()
	for _, urls := range []string{url, url + ",nats://127.0.0.1:1"} {
		for range 20 { // NATS's client asks them in an order of its own
			text, code := said("status", "--user", "x", "--password", "wrong", "--nats", urls)
			require.Equal(t, exitError, code, text)
			require.Contains(t, text, "refuses these credentials")
		}
	}
}

// Whose certificate has expired is there, and no flag of the connection lets it be believed.
func TestAServerWhoseCertificateHasExpired(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	file := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600))
		return path
	}
	cert := file("cert.pem", "CERTIFICATE", der)
	config := filepath.Join(dir, "nats.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "tls { cert_file: %q, key_file: %q }", cert, file("key.pem", "EC PRIVATE KEY", secret)), 0o600))
	server := natstest.Run(t, embedded.Options{ConfigFile: config})

	remedy := "renew the server's certificate, give its authority with --tlsca, or name the server as its certificate does"
	text, code := said("status", "--nats", server.URL(), "--tlsca", cert)
	require.Equal(t, exitError, code, text)
	require.Contains(t, text, "certificate has expired")
	require.Contains(t, text, remedy)
	text, _ = said("doctor", "--nats", server.URL(), "--tlsca", cert)
	require.Contains(t, text, "remedy:   "+remedy+"\n")
}
