package subject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func filter(t *testing.T, patterns ...string) Filter {
	t.Helper()
	f, err := Parse(patterns...)
	require.NoError(t, err)
	return f
}

func TestMatch(t *testing.T) {
	for pattern, keys := range map[string]struct{ yes, no string }{
		"a":       {"a", "b aa a.a"},
		"a.b":     {"a.b", "a a.b.c a.c b"},
		"*":       {"a b", "a.b a.b.c"},
		">":       {"a a.b a.b.c", ""},
		"a.*":     {"a.b a.c", "a b.a a.b.c"},
		"*.b":     {"a.b b.b", "b a.b.c a"},
		"a.>":     {"a.b a.b.c", "a b.a ab.c"},
		"*.>":     {"a.b a.b.c", "a"},
		"a.*.c":   {"a.b.c a.c.c", "a.b a.b.c.d a.c"},
		"a*":      {"a*", "ab a"},
		"a.b>":    {"a.b>", "a.bc a.b"},
		"*.*.>":   {"a.b.c a.b.c.d", "a a.b"},
		"a.*.c.>": {"a.b.c.d a.b.c.d.e", "a.b.c a.b.d.d"},
	} {
		f := filter(t, pattern)
		for _, key := range strings.Fields(keys.yes) {
			require.True(t, f.Match(key), "%s %s", pattern, key)
		}
		for _, key := range strings.Fields(keys.no) {
			require.False(t, f.Match(key), "%s %s", pattern, key)
		}
	}
	several := filter(t, "a.*", "b", "c.>")
	for _, key := range []string{"a.x", "b", "c.d.e"} {
		require.True(t, several.Match(key), key)
	}
	require.False(t, several.Match("a.x.y"))
	require.Equal(t, []string{"a.*", "b", "c.>"}, several.Strings())
}

func TestWhatIsNoPattern(t *testing.T) {
	for _, text := range []string{"", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b", "a.b\tc", " ", "a\r\nb"} {
		_, err := Parse("a", text)
		require.ErrorIs(t, err, ErrBadPattern, text)
		_, err = Under("p", text)
		require.ErrorIs(t, err, ErrBadPattern, text)
		require.False(t, Overlap(text, ">"), text)
		require.False(t, Overlap(">", text), text)
	}
}

func TestAllLiteralAndPrefix(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		all      bool
		literal  string
		prefix   string
	}{
		{nil, true, "", ""},
		{[]string{">"}, true, "", ""},
		{[]string{"a", ">"}, true, "", ""},
		{[]string{"a.b"}, false, "a.b", "a.b"},
		{[]string{"a.b", "a.c"}, false, "", "a."},
		{[]string{"a.b.*", "a.b.c.>"}, false, "", "a.b."},
		{[]string{"a.>"}, false, "", "a."},
		{[]string{"*.a"}, false, "", ""},
		{[]string{"ab.*", "ac"}, false, "", "a"},
	} {
		f := filter(t, c.patterns...)
		require.Equal(t, c.all, f.All(), c.patterns)
		literal, ok := f.Literal()
		require.Equal(t, c.literal, literal, c.patterns)
		require.Equal(t, c.literal != "", ok, c.patterns)
		require.Equal(t, c.prefix, f.Prefix(), c.patterns)
	}
}

func TestLiterals(t *testing.T) {
	require.Equal(t, []string{"a", "b.c"}, filter(t, "b.c", "a", "b.c").Literals(3))
	require.Empty(t, filter(t, "b.c", "a").Literals(1))
	require.Empty(t, filter(t, "a", "b.*").Literals(9))
	require.Empty(t, filter(t).Literals(9))
}

func TestUnder(t *testing.T) {
	for pattern, want := range map[string]string{
		"$KV.app.>": ">", "$KV.app.a": "a", "$KV.*.a.*": "a.*", "*.*.*": "*", "$KV.>": ">", ">": ">", "*.>": ">", "$KV.app.a.>": "a.>",
		"$KV.app": "", "$KV.other.>": "", "$JS.>": "", "$KV": "", "*": "", "*.*": "",
	} {
		f, err := Under("$KV.app", pattern)
		require.NoError(t, err)
		require.Equal(t, want, strings.Join(f.Strings(), " "), pattern)
		if want == "" {
			require.False(t, f.All(), pattern)
			require.False(t, f.Match("a"), pattern)
			require.Empty(t, f.Prefix(), pattern)
		}
	}
	f, err := Under("$KV.app")
	require.NoError(t, err)
	require.True(t, f.All())
	f, err = Under("$KV.app", "$KV.app.a", "$JS.x", "*.app.b")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, f.Strings())
}

func TestMatchAllocatesNothing(t *testing.T) {
	for _, f := range []Filter{filter(t, "a.*.c", "b.>"), filter(t, "a", "b", "c", "d", "a.b.c", "a.b.*")} {
		require.Zero(t, testing.AllocsPerRun(100, func() { f.Match("a.b.c.d.e") }))
	}
}

// Many patterns are looked up, and not tried one by one: they must match what each alone does.
func TestManyPatternsMatchWhatEachDoes(t *testing.T) {
	token := rapid.SampledFrom([]string{"a", "b", "ab", "a*", "*", "-"})
	text := rapid.Custom(func(t *rapid.T) string {
		text := strings.Join(rapid.SliceOfN(token, 1, 4).Draw(t, "tokens"), ".")
		return text + rapid.SampledFrom([]string{"", "", ".>"}).Draw(t, "tail")
	})
	rapid.Check(t, func(t *rapid.T) {
		texts := append(rapid.SliceOfN(text, 0, 12).Draw(t, "patterns"), rapid.SampledFrom([]string{"c", "c", ">"}).Draw(t, "another"))
		many, err := Parse(texts...)
		require.NoError(t, err)
		slices.Reverse(texts)
		other, err := Parse(texts...)
		require.NoError(t, err)
		require.Equal(t, many, other)
		for range 10 {
			key := strings.NewReplacer("*", "x", ">", "y.z").Replace(text.Draw(t, "key"))
			matches := slices.ContainsFunc(texts, func(text string) bool { f, _ := Parse(text); return f.Match(key) })
			require.Equal(t, matches, many.Match(key), key)
		}
		redundant := false
		for i := range texts {
			redundant = redundant || slices.ContainsFunc(texts[:i], func(text string) bool { return coversAll(text, texts[i]) || coversAll(texts[i], text) })
		}
		require.Equal(t, redundant, many.Redundant(), texts)
	})
}

// coversAll reports whether one pattern matches what another does: the keys that have tokens which neither names where the other has wildcards.
func coversAll(one, other string) bool {
	f, _ := Parse(one)
	tokens := strings.Split(other, ".")
	for i, token := range tokens {
		if token == "*" {
			tokens[i] = "neither"
		}
	}
	key := strings.Join(tokens, ".")
	if begin, tail := strings.CutSuffix(key, ">"); tail {
		return f.Match(begin+"neither") && f.Match(begin+"neither.neither")
	}
	return f.Match(key)
}

func TestAPatternMayMatchAllThatAnotherDoes(t *testing.T) {
	for _, texts := range [][]string{{"a.b", "a.b"}, {"a.*", "a.*"}, {"a.>", "a.b"}, {"a.>", "*.>"}, {"a.*.>", "a.>"}, {"*.b", "a.b"}, {"a.*", ">"}, {"x", "a.*", "b.>", "b.c.*"}} {
		require.True(t, filter(t, texts...).Redundant(), texts)
	}
	for _, texts := range [][]string{{"a.*", "*.b"}, {"a.>", "*.b"}, {"a.*", "a.*.>"}, {"a", "a.>"}, {"a.b", "a.bc"}, {"a.*.c", "a.b.*"}, {"*.x.>", "a.>"}, {"a.*", "a.b.c"}, {"a.*", "a.b.c.d", "a.b.c.e"}} {
		require.False(t, filter(t, texts...).Redundant(), texts)
	}
}

// What an entry costs grows with the patterns that begin as its key does, and the check of a consumer's filters not with their square.
func TestThousandsOfPatternsAreQuick(t *testing.T) {
	var texts []string
	for i := range 20_000 {
		texts = append(texts, fmt.Sprintf("some.%d.key", i), fmt.Sprintf("any.%d.>", i))
	}
	f := filter(t, texts...)
	began := time.Now()
	redundant, steps := f.redundant()
	require.False(t, redundant)
	require.LessOrEqual(t, steps, 40_000*3, "each is compared with those that begin as it does")
	for i := range 100_000 {
		require.Equal(t, i < 20_000, f.Match("any."+strconv.Itoa(i)+".key"))
	}
	require.Less(t, time.Since(began), 10*time.Second, "one by one it takes minutes")
}

// Q12: thousands of patterns that are alike until their end are compared with 256 that have wildcards at once, or a request keeps who reads the connection for long.
func TestPatternsThatBeginAlikeAreComparedTogether(t *testing.T) {
	const tokens, wild = 30, blockMax + 1
	var texts []string
	for i := range 4_096 {
		begin := strings.Repeat("a.", tokens-1)
		if i < wild {
			begin = strings.Repeat("*.", tokens-1)
		}
		texts = append(texts, fmt.Sprint(begin, "w", i))
	}
	redundant, steps := filter(t, texts...).redundant()
	require.False(t, redundant)
	require.LessOrEqual(t, steps, 2*4_096*tokens)
	for _, i := range []int{0, 63, 64, 255, 256} {
		require.True(t, filter(t, append(texts, fmt.Sprint(strings.Repeat("b.", tokens-1), "w", i))...).Redundant(), i)
	}
}

// strange reports what a server's own matcher takes for a wildcard though it is none: a token that begins with *.
func strange(text string) bool {
	for token := range strings.SplitSeq(text, ".") {
		if len(token) > 1 && (token[0] == '*' || token[0] == '>') {
			return true
		}
	}
	return false
}

// FuzzMatch compares with nats-server.
func FuzzMatch(f *testing.F) {
	for _, c := range [][2]string{
		{"a.b", "a.*"}, {"a.b.c", "a.>"}, {"a", ">"}, {"a.b", "*.b"}, {"a", "a.>"}, {"x.y", "*.*.>"},
		{"a.*", "*.b"}, {"a.*", "b.*"}, {"*.b.>", "a.*.c.*"}, {"*.b.>", "a.c.d.*"}, {"a.*", "a.*.>"}, {"a.>", "a.*.>"},
	} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, key, pattern string) {
		filter, err := Parse(pattern)
		require.Equal(t, server.IsValidSubject(pattern), err == nil)
		if err != nil || strange(pattern) {
			return
		}
		if server.IsValidPublishSubject(key) && !strange(key) {
			require.Equal(t, server.SubjectMatchesFilter(key, pattern), filter.Match(key))
			if filter.Match(key) {
				require.True(t, strings.HasPrefix(key, filter.Prefix()))
			}
			under, err := Under("p.q", pattern)
			require.NoError(t, err)
			require.Equal(t, filter.Match("p.q."+key), under.Match(key))
		}
		if server.IsValidSubject(key) && !strange(key) {
			require.Equal(t, server.SubjectsCollide(key, pattern), Overlap(key, pattern))
			require.Equal(t, Overlap(key, pattern), Overlap(pattern, key))
		}
	})
}
