package names

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The rules of NATS KV, as its clients have them.
var (
	bucketRule = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	keyRule    = regexp.MustCompile(`^[a-zA-Z0-9_/=-]+(\.[a-zA-Z0-9_/=-]+)*$`)
)

func TestNamesAreThoseOfNATSKV(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.OneOf(rapid.SampledFrom([]rune("azAZ09_-/=..")), rapid.Rune())).Draw(t, "name")
		require.Equal(t, bucketRule.MatchString(name), ValidBucket(name))
		require.Equal(t, keyRule.MatchString(name), ValidKey(name))
	})
	for c := range 256 { // each byte in each place
		for _, name := range []string{string([]byte{byte(c)}), "a" + string([]byte{byte(c)}), string([]byte{byte(c)}) + "a"} {
			require.Equal(t, bucketRule.MatchString(name), ValidBucket(name), "%q", name)
			require.Equal(t, keyRule.MatchString(name), ValidKey(name), "%q", name)
		}
	}
	require.True(t, ValidBucket(strings.Repeat("a", BucketMax)))
	require.False(t, ValidBucket(strings.Repeat("a", BucketMax+1)))
	require.True(t, ValidKey(strings.Repeat("a", KeyMax)))
	require.False(t, ValidKey(strings.Repeat("a", KeyMax+1)))
}

// What a line of NATS's protocol cannot carry is no subject, wherever it stands: a node that took it would send nothing to it.
func TestLiteral(t *testing.T) {
	for c := range rune(0x100) {
		want := c > ' ' && c != 0x7f && c != '*' && c != '>' && c != '.'
		for text, as := range map[string]bool{string(c): want, "a." + string(c): want, "a" + string(c) + "b": want || c == '*' || c == '>' || c == '.'} {
			require.Equal(t, as, Literal(text), "%q", text)
			require.Equal(t, as, ValidSubject(text), "%q", text)
		}
	}
	require.False(t, Literal(""))
	require.True(t, Literal(strings.Repeat("a", KeyMax+1)))
	require.False(t, ValidSubject(strings.Repeat("a", KeyMax+1)))
	require.False(t, ValidSubject("a\xff"))
}

// A page of names that was cut to what the bus carries is not larger than that, whatever names clients choose.
func TestJSONBytesMax(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.OneOf(rapid.SampledFrom([]rune("az.\"\\<>&\u2027\u2028\u2029\u00e9")), rapid.Rune())).Filter(ValidSubject).Draw(t, "name")
		text, err := json.Marshal(name)
		require.NoError(t, err)
		require.LessOrEqual(t, len(text), JSONBytesMax(name))
	})
	for _, name := range []string{"a.b", `"`, `\`, "<>&", "\u2028"} { // and no more than it must be
		text, err := json.Marshal(name)
		require.NoError(t, err)
		require.Equal(t, len(text), JSONBytesMax(name), name)
	}
}
