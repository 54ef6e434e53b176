package native

// Watches that end when they are told to: where the node that serves one dies, or anything may be missing, it is begun again after the
// last event that came.

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/raftbus/raftbus/kv"
)

// Watch is what is to be watched.
type Watch struct {
	Bucket   string
	Keys     []string // patterns; none: all keys
	First    string   // newest, history, nothing
	From     uint64   // a revision, in place of First
	NoValues bool
	Current  bool // end when all that was there has come
	// Event is called with each event, in order. An error ends the watch.
	Event func(e Entry) error
	// Missed is called when events may be missing, because they, or their bucket, are not kept any more: what is there now follows.
	Missed func()
	// Waits is called when nobody serves the watch any more, with why, and then, with nil, when somebody does again. nil: nobody wants to know.
	Waits func(err error)

	closed <-chan nats.Status // told when NATS has closed the connection for good

	waits bool   // nobody serves it
	begun bool   // once: that where it was to begin is gone is the caller's mistake only the first time
	mark  uint64 // all up to this revision has come, though no event after the last that did is of it; 0: nothing says so
	made  uint64 // when the bucket was, as a revision of the cluster; 0: not known
}

// next is the revision that a watch goes on with; 0: First says where.
func (w *Watch) next() uint64 {
	if w.mark > 0 {
		return w.mark + 1
	}
	return w.From
}

const (
	heartbeat = 2 * time.Second
	// silence is how long nothing at all may come until a watch is begun again.
	silence = 3*heartbeat + heartbeat/2
	// eventsMax bounds how many events wait; flow control keeps the server far below.
	eventsMax = 1 << 16
)

// Watch watches until ctx ends, which is an error, or all that was there has come, or the bucket is gone. Once it has begun it waits for
// whoever can serve it, however long that takes, unless it is to end by itself.
func (c *Client) Watch(ctx context.Context, w Watch) error {
	closed := c.conn.StatusChanged(nats.CLOSED)
	defer c.conn.RemoveStatusListener(closed)
	w.closed = closed
	for {
		err := c.watchOnce(ctx, &w)
		var f *Failure
		switch {
		case err == nil:
			return nil // all has come, also if ctx has ended meanwhile
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errAgain):
		case errors.As(err, &f) && f.OfKind(kv.Compacted) && w.mark > 0:
			w.mark = 0 // what follows the last event may be kept still
		case errors.As(err, &f) && f.OfKind(kv.Compacted) && w.begun, errors.Is(err, errAnother):
			w.First, w.From, w.mark = "newest", 0, 0
			w.Missed()
		case w.begun && !w.Current && comesBack(err):
			c.waits(&w, err)
			select {
			case <-ctx.Done():
			case <-time.After(watchAgain):
			}
		default:
			return err
		}
	}
}

// errAway is why nobody serves a watch while NATS is not there.
var errAway = errors.New("NATS cannot be reached")

// waits tells whoever wants to know that nobody serves the watch, and why, or with nil that somebody does again.
func (c *Client) waits(w *Watch, why error) {
	if why != nil && !c.conn.IsConnected() {
		why = errAway
	}
	if now := why != nil; now != w.waits {
		if w.waits = now; w.Waits != nil {
			w.Waits(why)
		}
	}
}

// watchAgain is the pause before somebody is asked again to serve a watch.
const watchAgain = time.Second

// comesBack reports whether a watch that was served may be served again. Whose clients are back may have no leaf connection yet; a watch is logged, for
// which a full disk has no room now; and the one that its host served until it was gone still counts.
func comesBack(err error) bool {
	var f *Failure
	return passing(err) || errors.As(err, &f) && f.OfKind(kv.NoWatches, kv.Full, kv.TooManyWatches)
}

// errAgain: the watch has ended, or something may be missing.
var errAgain = errors.New("watch again")

// errAnother: the bucket was removed, and one made under its name, in which the revisions that have come mean nothing.
var errAnother = errors.New("another bucket")

// watchOnce watches by one watch. It leaves in w where the next one is to begin.
func (c *Client) watchOnce(ctx context.Context, w *Watch) error {
	inbox := c.conn.NewInbox()
	arrived := make(chan *nats.Msg, eventsMax)
	sub, err := c.conn.ChanSubscribe(inbox, arrived)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the watch ends when nobody listens
	b, err := c.begin(ctx, w, inbox)
	if err != nil {
		return err
	}
	w.begun = true
	c.waits(w, nil)
	before := w.made
	if w.made = cmp.Or(b.Made, before); before > 0 && w.made != before && w.next() > 0 {
		return errAnother
	}
	if w.First == "nothing" {
		w.First, w.From = "", b.Revision+1
	}
	if w.Current && b.Pending == 0 {
		return nil
	}
	return c.follow(ctx, w, arrived, b)
}

// errNotBegun: an answer without a watch is to one that went before it could be answered, as with its bucket, or since its host cannot read (L9).
var errNotBegun = &Failure{ErrCode: kv.Unavailable.ErrCode, Description: "the watch ended before it began: ask again"}

// beginning is how a watch begins.
type beginning struct {
	Watch    string `json:"watch"`
	Sequence uint64 `json:"sequence"` // the number that its events follow
	Revision uint64 `json:"revision"`
	Made     uint64 `json:"cluster_revision"` // when the bucket was; 0: an older release does not say
	Pending  uint64 `json:"pending"`          // events of what is there
}

func (c *Client) begin(ctx context.Context, w *Watch, inbox string) (b beginning, err error) {
	request := map[string]any{"deliver": inbox, "no_values": w.NoValues, "flow_control": true, "heartbeat": heartbeat.String()}
	if len(w.Keys) > 0 {
		request["keys"] = w.Keys
	}
	if from := w.next(); from > 0 {
		request["from"] = from
	} else {
		request["first"] = w.First
	}
	body, err := json.Marshal(request)
	if err != nil {
		return b, err
	}
	// A watch that was begun and not heard of in time is a stray, which follow ends.
	err = c.into(ctx, Request{Subject: "kv.watch." + w.Bucket, Read: true, Body: body}, &b)
	if err == nil && b.Watch == "" {
		err = errNotBegun
	}
	return b, err
}

// follow takes the events of a watch as long as none is missing.
func (c *Client) follow(ctx context.Context, w *Watch, arrived chan *nats.Msg, b beginning) error {
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	strays := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-quiet.C:
			return errAgain
		case <-w.closed:
			return nats.ErrConnectionClosed
		case m := <-arrived:
			if m.Header.Get("Rb-Watch") != b.Watch {
				c.endStray(w.Bucket, m, strays)
				continue
			}
			quiet.Reset(silence)
			if m.Reply != "" {
				_ = m.Respond(nil) // a lost one is asked for again
			}
			if whole, err := w.take(m, &b); whole || err != nil {
				return err
			}
		}
	}
}

// endStray ends the watch of a message that is not of the one which is followed: it was begun for the same request, when its answer was late, and would be served for as
// long as this one. The word may be lost, so it is said again at each of the stray's marks, of which there are few.
func (c *Client) endStray(bucket string, m *nats.Msg, told map[string]bool) {
	stray := m.Header.Get("Rb-Watch")
	if isEvent := m.Header.Get("Rb-Key") != ""; stray == "" || isEvent && told[stray] {
		return
	}
	told[stray] = true
	if body, err := json.Marshal(map[string]string{"watch": stray}); err == nil {
		_ = c.conn.Publish(c.prefix+".kv.unwatch."+bucket, body)
	}
}

// take takes a message of the watch: an event, or a mark that says how many there were. It reports whether all that is wanted has come. What was to come may be
// gone before it is sent: then a mark at what there was says that nothing is left (W4), unless the host waits for an answer, when a key's newest may be on its way.
func (w *Watch) take(m *nats.Msg, b *beginning) (whole bool, err error) {
	number, _ := strconv.ParseUint(m.Header.Get("Rb-Sequence"), 10, 64) // the host wrote them
	progress, _ := strconv.ParseUint(m.Header.Get("Rb-Progress"), 10, 64)
	switch isEvent := m.Header.Get("Rb-Key") != ""; {
	case isEvent && number != b.Sequence+1, !isEvent && number > b.Sequence:
		return false, errAgain
	case !isEvent:
		if number == b.Sequence && progress >= w.From {
			w.mark = progress
		}
		return w.Current && number == b.Sequence && m.Reply == "" && progress >= max(b.Revision, 1), nil
	}
	e := w.event(m)
	b.Sequence, w.First, w.From, w.mark = number, "", e.Revision+1, 0
	return w.Current && m.Header.Get("Rb-Pending") == "0", w.Event(e)
}

func (w *Watch) event(m *nats.Msg) Entry {
	e := Entry{Bucket: w.Bucket, Key: m.Header.Get("Rb-Key"), Operation: m.Header.Get("Rb-Operation"), Time: m.Header.Get("Rb-Time")}
	e.Revision, _ = strconv.ParseUint(m.Header.Get("Rb-Revision"), 10, 64) // the host wrote them
	e.ClusterRevision, _ = strconv.ParseUint(m.Header.Get("Rb-Cluster-Revision"), 10, 64)
	if e.Operation == "put" && !w.NoValues { // a value that was not sent is no empty one
		e.SetValue(m.Data)
	}
	return e
}

// SetValue puts a value in, as JSON can hold it.
func (e *Entry) SetValue(value []byte) {
	text := string(value)
	if utf8.ValidString(text) {
		e.Text = &text
		return
	}
	text = base64.StdEncoding.EncodeToString(value)
	e.Base64 = &text
}
