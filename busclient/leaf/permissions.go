package leaf

// What the server says that the leaf's user may do. A server cuts a leaf that goes beyond it, and with it all watchers of the
// node: so it is held to here, message by message, and who asks for more gets an error of his own.

// subjects are lists of patterns, as INFO has them.
type subjects struct {
	Allow []string `json:"allow"`
	Deny  []string `json:"deny"`
}

// permissions are those lists, to be asked often. nil allows everything.
type permissions struct {
	all         bool
	allow, deny tree
}

func newPermissions(s *subjects) *permissions {
	if s == nil || len(s.Allow)+len(s.Deny) == 0 {
		return nil
	}
	p := &permissions{all: len(s.Allow) == 0}
	for _, pattern := range s.Allow {
		p.allow.add(pattern)
	}
	for _, pattern := range s.Deny {
		p.deny.add(pattern)
	}
	return p
}

// allows reports whether the subject, or all of a pattern, is allowed. Answers that allow_responses would let through are not
// known here: a leaf does not get the requests.
func (p *permissions) allows(subject string) bool {
	return p == nil || (p.all || p.allow.match(subject)) && !p.deny.match(subject)
}
