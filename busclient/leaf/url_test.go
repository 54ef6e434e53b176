package leaf

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestTheLeafnodeURLFollowsFromTheURLForClients(t *testing.T) {
	for url, want := range map[string]string{
		"nats://nats:4222":            "nats-leaf://nats:7422",
		"nats:4222":                   "nats-leaf://nats:7422",
		"nats":                        "nats-leaf://nats:7422",
		"tls://u:p%2Fw@host:4443":     "tls://u:p%2Fw@host:7422",
		"nats://token@[2001:db8::1]":  "nats-leaf://token@[2001:db8::1]:7422",
		"nats-leaf://127.0.0.1:12345": "nats-leaf://127.0.0.1:7422",
	} {
		got, err := DeriveURL(url)
		require.NoError(t, err, url)
		require.Equal(t, want, got)
		_, err = parseURL(got)
		require.NoError(t, err)
	}
	_, err := DeriveURL("wss://u:secret@host:443")
	require.ErrorContains(t, err, "no websocket")
	require.NotContains(t, err.Error(), "secret")
}

func TestURLs(t *testing.T) {
	e, err := parseURL("host")
	require.NoError(t, err)
	require.Equal(t, endpoint{address: "host:7422", tlsName: "host"}, e)
	e, err = parseURL("tls://[::1]:1234")
	require.NoError(t, err)
	require.Equal(t, endpoint{address: "[::1]:1234", tlsName: "::1", secure: true}, e)
	for _, wrong := range []string{"", "nats-leaf://", "http://secret@host", "nats://host:0", "nats://host:70000", "nats://secret host", "nats://u:secret@host:x"} {
		_, err := parseURL(wrong)
		require.Error(t, err, wrong)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestOptionsThatCanNeverWorkAreRefused(t *testing.T) {
	good := Options{URLs: []string{"a,b", "c"}, Prefix: "raftbus", Node: "n1", NATS: []nats.Option{nil}}
	s, err := good.settings()
	require.NoError(t, err)
	require.Len(t, s.endpoints.given, 3)
	for _, c := range []struct {
		change func(*Options)
		says   string
	}{
		{func(o *Options) { o.URLs = nil }, "no URL"},
		{func(o *Options) { o.URLs = []string{""} }, "not valid"},
		{func(o *Options) { o.URLs = []string{"ws://a"} }, "no websocket"},
		{func(o *Options) { o.URLs = []string{"a,b", "c:x"} }, "URL number 3"},
		{func(o *Options) { o.Prefix = "" }, "cannot name it"},
		{func(o *Options) { o.Node = "n 1" }, "cannot name it"},
		{func(o *Options) { o.Subject = "a b" }, "cannot subscribe"},
		{func(o *Options) { o.Subject = "a\r\nLS+ b" }, "cannot subscribe"},
		{func(o *Options) { o.NATS = []nats.Option{nats.UserCredentials("nowhere.creds")} }, "check credentials"},
		{func(o *Options) { o.NATS = []nats.Option{nats.RootCAs("nowhere.pem")} }, "TLS files"},
	} {
		o := good
		c.change(&o)
		_, err := Dial(o)
		require.ErrorContains(t, err, c.says)
	}
}

// Servers of the cluster take turns with those that were given: some of what a server says of itself leads nowhere from here.
func TestServersTakeTurns(t *testing.T) {
	e := endpoints{given: []endpoint{{address: "a:1", tlsName: "a", secure: true}}}
	e.learn(e.given[0], []string{"10.0.0.1:7422", "a:1", "b:7422", "ws://c"})
	require.Equal(t, []endpoint{{"10.0.0.1:7422", "a", true, nil}, {"b:7422", "b", true, nil}}, e.learned)
	var tried []string
	for range 5 {
		tried = append(tried, e.next().address)
	}
	require.Equal(t, []string{"a:1", "10.0.0.1:7422", "a:1", "b:7422", "a:1"}, tried)
	e.learn(e.given[0], nil)
	require.Len(t, e.learned, 2, "an INFO that says nothing about them changes nothing")
	var many []string
	for i := range 2 * learnedMax {
		many = append(many, fmt.Sprintf("c%d:7422", i))
	}
	e.learn(e.given[0], many)
	require.Len(t, e.learned, learnedMax)
	from, err := parseURL("tls://leaf:secret@a")
	require.NoError(t, err)
	e.learn(from, []string{"b:7422"})
	require.Equal(t, []endpoint{{"b:7422", "b", true, url.UserPassword("leaf", "secret")}}, e.learned, "with the user that the first one took")
}
