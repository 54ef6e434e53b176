package kvclients

// The same requests to a JetStream and to us, and the answers side by side. What differs on purpose is told in the table.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/busclient/embedded"
	"github.com/raftbus/raftbus/busclient/embedded/natstest"
)

// step is one request.
type step struct {
	subject string // after $JS.raftbus.API. , or a bare one that begins with $
	body    string
	headers []string
	// eventually has our answer become theirs when it is asked again: what a bucket must drop, it drops soon.
	eventually bool
	// silent says that a JetStream does not answer at all.
	silent bool
	// differs says why our answer is another; ours is then what it is.
	differs, ours string
}

// answered is a reply, as far as it does not change from run to run.
type answered struct {
	Status string   `json:"status,omitempty"`
	Header []string `json:"header,omitempty"`
	JSON   any      `json:"json,omitempty"`
	Data   string   `json:"data,omitempty"`
}

func (a answered) String() string {
	text, _ := json.Marshal(a)
	return string(text)
}

// silence is the status of no answer.
const silence = "silence"

// noHost is what is answered while nodes have not heard of each other for a moment, as on a machine that stalls.
const noHost = `"err_code":10008`

const apiPrefix = "$JS.raftbus.API."

func (s step) send(t testing.TB, nc *nats.Conn) answered {
	subject := s.subject
	if !strings.HasPrefix(subject, "$") {
		subject = apiPrefix + subject
	}
	msg := &nats.Msg{Subject: subject, Data: []byte(s.body), Header: nats.Header{}}
	for i := 0; i < len(s.headers); i += 2 {
		msg.Header.Add(s.headers[i], s.headers[i+1])
	}
	patience := 15 * time.Second
	if s.silent {
		patience = time.Second
	}
	reply, err := nc.RequestMsg(msg, patience)
	for end := time.Now().Add(15 * time.Second); err == nil && strings.Contains(string(reply.Data), noHost) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		reply, err = nc.RequestMsg(msg, patience)
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return answered{Status: "503"}
	}
	if errors.Is(err, nats.ErrTimeout) {
		return answered{Status: silence}
	}
	require.NoError(t, err, subject)
	return normal(reply)
}

func normal(m *nats.Msg) answered {
	a := answered{Status: strings.TrimSpace(m.Header.Get("Status") + " " + m.Header.Get("Description"))}
	for name, values := range m.Header {
		switch name {
		case "Status", "Description", "Rb-Prefix":
		case "Nats-Time-Stamp":
			a.Header = append(a.Header, name)
		default:
			a.Header = append(a.Header, name+": "+strings.Join(values, "|"))
		}
	}
	slices.Sort(a.Header)
	var body any
	if len(m.Data) > 0 && m.Data[0] == '{' && json.Unmarshal(m.Data, &body) == nil && m.Header.Get("Nats-Stream") == "" {
		a.JSON = masked(body)
	} else {
		a.Data = string(m.Data)
	}
	return a
}

// volatile are fields whose values depend on time and place.
var volatile = []string{"created", "ts", "first_ts", "last_ts", "time", "bytes", "storage_used", "api", "reserved_storage", "reserved_memory", "memory", "limits"}

// goTypes are names of Go's types in the texts of encoding/json.
var goTypes = regexp.MustCompile(`(cannot unmarshal .* into Go ).*`)

func masked(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			switch {
			case strings.HasPrefix(name, "_nats."), name == "cluster":
				delete(v, name)
			case slices.Contains(volatile, name):
				v[name] = "*"
			case name == "metadata":
				if m, _ := masked(value).(map[string]any); len(m) == 0 {
					delete(v, name)
				}
			case name == "storage" && fmt.Sprintf("%T", value) == "float64":
				v[name] = "*"
			case name == "description":
				v[name] = goTypes.ReplaceAllString(fmt.Sprint(value), "${1}*")
			default:
				v[name] = masked(value)
			}
		}
	case []any:
		for i := range v {
			v[i] = masked(v[i])
		}
	}
	return v
}

// realJetStream starts a server with JetStream under our domain.
func realJetStream(t testing.TB) *nats.Conn {
	dir := t.TempDir()
	config := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("jetstream { store_dir: %q, domain: raftbus }\n", filepath.Join(dir, "js"))
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	server := natstest.Run(t, embedded.Options{ConfigFile: config, Port: embedded.Random})
	return natstest.Connect(t, server)
}

func TestAnswersAreThoseOfJetStream(t *testing.T) {
	t.Parallel() // it mostly waits
	compare(t, steps())
}

// compare sends the same requests to both, one after the other.
func compare(t *testing.T, list []step) {
	theirs, ours := realJetStream(t), connected(t, 1)
	for i, s := range list {
		want := s.send(t, theirs)
		require.Equal(t, s.silent, want.Status == silence, "%s %s", s.subject, cut(s.body))
		s.silent = false
		got := s.send(t, ours)
		for tries := 0; s.eventually && tries < 100 && want.String() != got.String(); tries++ {
			time.Sleep(20 * time.Millisecond)
			got = s.send(t, ours)
		}
		name := fmt.Sprintf("%d: %s %s %v", i, s.subject, cut(s.body), s.headers)
		if s.differs == "" {
			if want.String() != got.String() {
				t.Errorf("%s\n theirs %s\n   ours %s", name, want, got)
			}
			continue
		}
		if want.String() == got.String() {
			t.Errorf("%s\nis the same as theirs, and said to differ: %s", name, s.differs)
		}
		if got.String() != s.ours {
			t.Errorf("%s\n theirs %s\n   ours %s\n wanted %s", name, want, got, s.ours)
		}
	}
}

func cut(s string) string {
	if len(s) > 120 {
		return s[:120] + "..."
	}
	return s
}
