package watch

// Several accounts of NATS may be served, each by connections of its own (Q1, Q7). Consumers belong to the account that they were made in: a node
// that serves an account is another host there, and a consumer has another name in its record than its client gave it, so that no account's
// client reaches another's. The first account's names are as they are.

import (
	"errors"
	"strings"

	"github.com/raftbus/raftbus/kv/subject"
)

// Why no host is chosen for a consumer.
var (
	ErrNoHost  = errors.New("no node has a leaf connection")
	ErrTooMany = errors.New("as many consumers are there as the account may have")
	// ErrTooLarge: they may be changed to ask for no more than they do.
	ErrTooLarge = errors.New("what the account's consumers ask for has as many bytes as it may have")
)

const (
	// wildFree is how many patterns with wildcards cost nothing, and wildBytes what each further one counts for: what is put is compared with all of them.
	wildFree, wildBytes = 4, 4 << 10
	// tokensFree is how many tokens of a subject that messages go to cost nothing, and tokenBytes about what each further one takes in memory.
	tokensFree, tokenBytes = 8, 256
)

// Weigh is how many bytes a consumer counts for in what those of its account may ask for: those of its configuration, and what it costs beside. Clients choose
// all of that, and nodes hold it for an hour for nobody (Q12).
func Weigh(configuration int, filter subject.Filter, deliver string) int {
	tokens := strings.Count(deliver, ".") + 1
	return configuration + max(filter.Wild()-wildFree, 0)*wildBytes + max(tokens-tokensFree, 0)*tokenBytes
}

// accountMark parts a name from its account's. No node, no account and no consumer that a client makes has it in its name.
const accountMark = "@"

// In is the name of a consumer or a host in an account, as records have it. The first account has no name.
func In(account, name string) string {
	if account == "" {
		return name
	}
	return name + accountMark + account
}

// Given is In for a name that a client gave: empty, as no consumer's is, if it names another account.
func Given(account, name string) string {
	if name == "" || strings.Contains(name, accountMark) {
		return ""
	}
	return In(account, name)
}

// Parted is In's reverse.
func Parted(recorded string) (name, account string) {
	name, account, _ = strings.Cut(recorded, accountMark)
	return name, account
}

// SameAccount reports whether two recorded names are of one account.
func SameAccount(a, b string) bool {
	_, of := Parted(a)
	_, other := Parted(b)
	return of == other
}

// Client is a consumer's name as its client knows it.
func (r Ref) Client() string {
	name, _ := Parted(r.Name)
	return name
}
