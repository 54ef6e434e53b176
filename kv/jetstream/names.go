package jetstream

// Lists of names. All are counted, those of a page are told, and there may be a hundred thousand: where the store tells them in one piece that is a look,
// and else a search, which ends when nobody wants it any more, and has not all readers (Q12).

import (
	"encoding/json"

	"github.com/raftbus/raftbus/kv/store"
)

// namesAt is how many names the store is asked for at a time.
const namesAt = 1_000

// listed is a page of names that is being gathered.
type listed struct {
	paged
	names []string
}

func newListed(offset, limit int) *listed {
	return &listed{paged: paged{Offset: max(offset, 0), Limit: limit}}
}

func (l *listed) take(name string) {
	if l.Total >= l.Offset && len(l.names) < l.Limit {
		l.names = append(l.names, name)
	}
	l.Total++
}

// page is what is told of the page; one beyond the end is at the end.
func (l *listed) page() paged { return paged{l.Total, min(l.Offset, l.Total), l.Limit} }

// replyReserve is what a list leaves free in a message, for what surrounds it.
const replyReserve = 4 << 10

// room is how many bytes of a list fit into a reply.
func (c call) room() int { return c.PayloadMax - replyReserve }

// teller is what a list says of a name.
type teller func(s *store.Store, name string) (json.RawMessage, error)

// fill has the names of a page told, as many as a reply has room for. A page that is cut says so by its limit: clients ask for the rest from
// there, some after as many as they got, some after as many as the limit says (nats.java).
func (c call) fill(s *store.Store, l *listed, tell teller) (paged, []json.RawMessage, error) {
	page, told, room := l.page(), noneOf(c.verb), c.room()
	for _, name := range l.names {
		text, err := tell(s, name)
		if err == store.NoBucket || err == store.NoConsumer {
			continue // it went since the names were read
		}
		if err != nil {
			return page, nil, err
		}
		if room -= len(text) + len(","); room < 0 && len(told) > 0 {
			page.Limit = len(told)
			break
		}
		told = append(told, text)
	}
	return page, told, nil
}

// noneOf is a list of nothing: of streams that have no names to tell, nats-server says null.
func noneOf(verb verb) []json.RawMessage {
	if verb == streamNames {
		return nil
	}
	return []json.RawMessage{}
}

// walking goes through names, and asks whether that is still wanted wherever there are more.
func walking(walk func(s *store.Store, wanted func() bool) Plan) Plan {
	return Plan{Look: func(s *store.Store) Plan {
		more := false
		plan := walk(s, func() bool {
			more = true
			return false
		})
		if more {
			return Plan{Search: walk}
		}
		return plan
	}}
}

// each tells all names, in order. The error is ErrUnwanted, or one of reading.
func each(read func(after string) (store.Page, error), wanted func() bool, tell func(string)) error {
	for after := ""; ; {
		page, err := read(after)
		if err != nil {
			return err
		}
		for _, name := range page.Names {
			tell(name)
		}
		switch after = page.After; {
		case !page.More:
			return nil
		case !wanted():
			return store.ErrUnwanted
		}
	}
}

// eachBucket tells the names of all buckets.
func eachBucket(s *store.Store, wanted func() bool, tell func(string)) error {
	return each(func(after string) (store.Page, error) { return s.Buckets("", after, namesAt) }, wanted, tell)
}
