package watches

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/raftbus/raftbus/test/cluster"
)

// session is the one of docs/native.md, carried out: what is asked, and the pattern of what comes, in which ... stands for anything, and
// NAME for what the answer said that the watch is called.
type session struct {
	t      *testing.T
	nc     *nats.Conn
	events *nats.Subscription
	name   string
	answer string
}

func (s *session) named(text string) string {
	if s.name != "" {
		text = strings.ReplaceAll(text, "NAME", s.name)
	}
	return text
}

func (s *session) ask(request string) {
	subject, body, _ := strings.Cut(s.named(request), " ")
	m, err := s.nc.Request(subject, []byte(body), patience)
	require.NoError(s.t, err)
	s.answer = string(m.Data)
}

// like requires that a text is as the page says.
func (s *session) like(want, have string) {
	pattern := strings.NewReplacer(`\.\.\.`, ".*", "NAME", "([A-Za-z0-9]+)").Replace(regexp.QuoteMeta(s.named(want)))
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(have)
	require.NotNil(s.t, found, "the page says\n%s\nand it is\n%s", want, have)
	if len(found) > 1 {
		s.name = found[1]
	}
}

// event requires the next message to be as the page says. Marks come at times of their own: one that the page does not have is passed over.
func (s *session) event(lines []string) {
	isMark := strings.Contains(strings.Join(lines, "\n"), "Rb-Progress")
	m := heard(s.t, s.events)
	for !isMark && m.Header.Get("Rb-Progress") != "" {
		m = heard(s.t, s.events)
	}
	for _, line := range lines {
		line = strings.TrimPrefix(line, "  ")
		if body, is := strings.CutPrefix(line, "|"); is {
			require.Equal(s.t, strings.TrimPrefix(body, " "), string(m.Data))
			continue
		}
		name, _, _ := strings.Cut(line, ": ")
		s.like(line, fmt.Sprintf("%s: %s", name, m.Header.Get(name)))
	}
	require.Len(s.t, m.Header, len(lines)-1, "all headers are on the page: %v", m.Header)
}

func TestTheSessionOfThePage(t *testing.T) {
	t.Parallel() // it mostly waits
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "native.md"))
	require.NoError(t, err)
	_, text, _ := strings.Cut(string(page), "```session\n")
	text, _, is := strings.Cut(text, "\n```")
	require.True(t, is)
	c := cluster.Started(t, 3)
	c.AwaitWatches()
	s := &session{t: t, nc: c.Connect()}
	s.events, err = s.nc.SubscribeSync("my.events")
	require.NoError(t, err)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "> "):
			s.ask(line[2:])
		case strings.HasPrefix(line, "< "):
			s.like(line[2:], s.answer)
		case line == "=":
			end := i + 1
			for end < len(lines) && strings.HasPrefix(lines[end], "  ") {
				end++
			}
			s.event(lines[i+1 : end])
		}
	}
	require.NotEmpty(t, s.name)
}
