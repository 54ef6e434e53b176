package leaf

// How a connection begins: the server greets, TLS, and who we are. Only a server's leafnode port gets past it.

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/raftbus/raftbus/busclient/internal/unsent"
)

// speaks is the release of nats-server whose leaf protocol this package was written to, for leafnodes{min_version}.
const speaks = "2.15.2"

// greeting is what INFO says, of what matters here.
type greeting struct {
	Name          string    `json:"server_name"`
	Headers       bool      `json:"headers"`
	TLSRequired   bool      `json:"tls_required"`
	MaxPayload    int64     `json:"max_payload"`
	ConnectionID  uint64    `json:"client_id"`
	Nonce         string    `json:"nonce"`
	LameDuck      bool      `json:"ldm"`
	InfoOnConnect bool      `json:"info_on_connect"`
	ConnectInfo   bool      `json:"connect_info"` // it answers CONNECT
	LeafURLs      []string  `json:"leafnode_urls"`
	Import        *subjects `json:"import"` // what a leaf may subscribe
	Export        *subjects `json:"export"` // and publish
}

func parseGreeting(text []byte) (g greeting, err error) {
	if err := json.Unmarshal(text, &g); err != nil {
		return g, protocolError("its INFO is no JSON: %w", err)
	}
	return g, nil
}

// introduction is what CONNECT says. A server takes who names a client library for a client, so none is named.
type introduction struct {
	Version  string `json:"version"`
	JWT      string `json:"jwt,omitempty"`
	NKey     string `json:"nkey,omitempty"`
	Sig      string `json:"sig,omitempty"`
	User     string `json:"user,omitempty"`
	Password string `json:"pass,omitempty"`
	Token    string `json:"auth_token,omitempty"`
	ServerID string `json:"server_id"`
	Name     string `json:"name"`
	Cluster  string `json:"cluster"`
	Headers  bool   `json:"headers"`
}

// link is a connection to a server that has greeted.
type link struct {
	net.Conn          // with TLS, if there is any
	raw      net.Conn // without: closing that one waits for nobody
	parser   *parser
	greeting greeting
	to       endpoint
}

func (l *link) Close() error { return l.raw.Close() }

// patient is a connection whose writes may take as long as the server takes something of them, so that a slow way is not taken for a dead server. It lies
// below TLS, which can write no more after a deadline.
type patient struct{ net.Conn }

func (c patient) Write(b []byte) (written int, err error) {
	for taken := time.Now(); ; {
		if err := c.SetWriteDeadline(time.Now().Add(writeLook)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(b[written:])
		written += n
		if n > 0 {
			taken = time.Now()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(taken) > writeTimeout {
			return written, err
		}
	}
}

// dial connects to a server and hears its greeting. The deadline of the handshake stands until it is moved or lifted.
func (s *settings) dial(ctx context.Context, to endpoint) (*link, error) {
	raw, err := s.open(ctx, to)
	if err != nil {
		return nil, err
	}
	unsent.Bound(raw) // without it slow connections are lost under load, as they were
	raw = patient{raw}
	l := &link{Conn: raw, raw: raw, to: to}
	unblock := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer unblock()
	if err := s.greet(l); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return l, nil
}

func (s *settings) open(ctx context.Context, to endpoint) (net.Conn, error) {
	if s.nats.CustomDialer != nil {
		return s.nats.CustomDialer.Dial("tcp", to.address)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return cmp.Or(s.nats.Dialer, &net.Dialer{}).DialContext(ctx, "tcp", to.address)
}

func (s *settings) greet(l *link) error {
	if err := l.raw.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if s.nats.TLSHandshakeFirst {
		if err := s.secure(l); err != nil {
			return err
		}
	}
	l.parser = newParser(l.Conn)
	if err := l.hear(); err != nil {
		return err
	}
	if l.greeting.ConnectionID == 0 || !l.greeting.InfoOnConnect {
		return errWrongPort
	}
	return s.secureAfter(l)
}

// hear reads the first thing that the server says.
func (l *link) hear() error {
	op, err := l.parser.next()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.EOF):
		return errSilent
	case err != nil:
		return fmt.Errorf("no greeting: %w", err)
	case op.kind == opErr:
		return refused(string(op.text))
	case op.kind != opInfo:
		return errForeign
	}
	l.greeting, err = parseGreeting(op.text)
	return err
}

// secureAfter begins TLS, if the greeting asks for it or we do, and it has not begun before.
func (s *settings) secureAfter(l *link) error {
	_, already := l.Conn.(*tls.Conn)
	switch {
	case already:
		return nil
	case !l.greeting.TLSRequired && (l.to.secure || s.nats.Secure):
		return errPlain
	case !l.greeting.TLSRequired:
		return nil
	case l.parser.r.Buffered() > 0:
		return errEarly
	}
	err := s.secure(l)
	l.parser = newParser(l.Conn)
	return err
}

func (s *settings) secure(l *link) error {
	config, err := s.tls(l.to)
	if err != nil {
		return fmt.Errorf("TLS: %w: check the certificate files", err)
	}
	secured := tls.Client(l.raw, config)
	if err := secured.Handshake(); err != nil {
		return fmt.Errorf("TLS with the leafnode port: %w: check its certificate, and the authorities and certificate given here", err)
	}
	l.Conn = secured
	return nil
}

// tls is made anew for each connection, so that certificates can be renewed.
func (s *settings) tls(to endpoint) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.nats.TLSConfig != nil {
		config = s.nats.TLSConfig.Clone()
	}
	if s.nats.TLSCertCB != nil {
		certificate, err := s.nats.TLSCertCB()
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	if s.nats.RootCAsCB != nil {
		roots, err := s.nats.RootCAsCB()
		if err != nil {
			return nil, err
		}
		config.RootCAs = roots
	}
	config.ServerName = cmp.Or(config.ServerName, to.tlsName)
	return config, nil
}

// introduce returns CONNECT with the credentials, which are read anew for each connection. The names are unique, but that the
// cluster holds no space is all that a server asks.
func (s *settings) introduce(l *link, id string) (string, error) {
	i := introduction{
		Version: speaks, ServerID: id, Name: s.name, Cluster: "raftbus-" + id, Headers: l.greeting.Headers,
		User: s.nats.User, Password: s.nats.Password, Token: s.nats.Token, NKey: s.nats.Nkey,
	}
	if s.nats.UserInfo != nil {
		i.User, i.Password = s.nats.UserInfo()
	}
	if s.nats.TokenHandler != nil {
		i.Token = s.nats.TokenHandler()
	}
	if u := l.to.user; u != nil {
		i.identify(u.Username(), u.Password)
	}
	if err := s.sign(&i, l.greeting.Nonce); err != nil {
		return "", fmt.Errorf("credentials: %w: check the file", err)
	}
	text, err := json.Marshal(i)
	return "CONNECT " + string(text) + "\r\n", err
}

// identify takes what a URL says. As in NATS's own leaf connections, a user without a password may be a token.
func (i *introduction) identify(user string, password func() (string, bool)) {
	given := false
	i.User, i.Token, i.NKey = user, "", ""
	if i.Password, given = password(); !given {
		i.Token = user
	}
}

// sign proves an NKey, or whom a JWT is about, with the server's nonce.
func (s *settings) sign(i *introduction, nonce string) (err error) {
	if s.nats.UserJWT != nil {
		if i.JWT, err = s.nats.UserJWT(); err != nil {
			return err
		}
	}
	if i.JWT == "" && i.NKey == "" || s.nats.SignatureCB == nil {
		return nil
	}
	signature, err := s.nats.SignatureCB([]byte(nonce))
	i.Sig = base64.RawURLEncoding.EncodeToString(signature)
	return err
}
