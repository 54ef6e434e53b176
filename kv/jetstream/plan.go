package jetstream

// What goes into the protocol, a request, and what comes out, a plan of how it is to be answered.

import (
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// Protocol is what all answers of a cluster have in common.
type Protocol struct {
	Prefix string // of the cluster's subjects
	Domain string // of $JS.<domain>.API
	Node   string // this node, which leads when it answers
	// Account is that of the clients; empty: the first of those that are served. Its consumers are told, and reached, in it only.
	Account string
}

// Request is a message of a client.
type Request struct {
	Subject string              // what follows the API prefix: STREAM.INFO.KV_app, or $KV.app.color
	Header  map[string][]string // names as they were sent: they are compared by case
	Broken  bool                // the headers cannot be read
	Long    bool                // they are too long to be read
	Data    []byte
	Reply   string    // where it wants its answer
	Now     time.Time // when it came
	// Host names the node that is to serve a consumer that is made now. The error is watch.ErrNoHost, as of a nil Host,
	// watch.ErrTooLarge or watch.ErrTooMany.
	Host func(watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error)
	// PayloadMax is how much a message may hold, headers and data.
	PayloadMax int
}

// Reply is a message to a client. One with a Status has no data: it is the first line of its headers, after NATS/1.0, and may have further lines behind it.
type Reply struct {
	Status string
	Header map[string][]string
	Block  []byte // in the place of Header: the headers as on the wire
	Data   []byte
}

// Plan is what a request needs to be answered: replies, a command to log, or a look at the store; nothing is answered if it has none.
// A put has the last two.
type Plan struct {
	Replies []Reply
	Write   *Write
	// Ask has a consumer's host answer; Replies are for when it cannot.
	Ask *Ask
	// Pull has a consumer's host send messages.
	Pull *Pull
	// Look goes on after a ReadIndex, with what the store has then.
	Look func(*store.Store) Plan
	// Search is a Look at what may be all that a bucket has, or a great many names. Once wanted says no it is to end early: what it returns is told to nobody.
	Search func(s *store.Store, wanted func() bool) Plan
	// Stream is a Search that finds many messages, and gives them to send some at a time, until that says no: nobody hears the rest then, nor what it
	// returns, which otherwise is told behind them.
	Stream func(s *store.Store, wanted func() bool, send func([]Reply) bool) Plan
	// Quick says that Look is at one key.
	Quick bool
	// Tell goes on after a ReadIndex too, with what the store has then as Newest.
	Tell   func(store.Entry, error) Plan
	Newest Newest
	// Writes says that something may be logged, now or after Look.
	Writes bool
	// Bucket is that of a put. If it is known to be there, and to take a Rollup if that is one, Write will do without Look: what a client puts
	// one after the other goes in that order.
	Bucket string
	Rollup bool
	// Tells is a bucket of which Replies say whether it is there.
	Tells string
	// Trouble is what is answered when the request certainly was not, and will not be, carried out.
	Trouble func(Trouble) Reply
}

// Newest is the last entry of a key, as the store's Last finds it.
type Newest struct{ Bucket, Key string }

// telling is the plan, of which the replies say whether a bucket is there.
func (p Plan) telling(bucket string) Plan {
	p.Tells = bucket
	return p
}

// Ask is for the state of a consumer; with Made in the form in which it is told to who made it.
type Ask struct {
	Consumer store.Consumer
	Made     bool
}

// Write is a command to log.
type Write struct {
	Command command.Command
	// Rest says that it goes on with what was done in part; as many parts may follow.
	Rest bool
	// Old are the settings that it changes, if it changes a bucket's.
	Old *command.Settings
	// Done goes on with its outcome, and with the store, which has applied it.
	Done func(*store.Store, store.Result) Plan
}

// Trouble is why the service cannot carry out a request.
type Trouble int

const (
	// Unavailable: no quorum, or too much waits. The client may try again.
	Unavailable Trouble = iota
	// Full: the disk has no room for more.
	Full
	// TooLarge: the command does not fit into the log, or the reply into a message.
	TooLarge
	// Taken: another JetStream of the account has the bucket's stream.
	Taken
)

func answer(r Reply) Plan { return Plan{Replies: []Reply{r}} }

// status is a reply without a body.
func status(line string) Reply { return Reply{Status: line} }

// The status lines.
const (
	statusNone       = "503"
	statusEnd        = "204 EOB"
	statusNotFound   = "404 Message Not Found"
	statusNoResults  = "404 No Results"
	statusEmpty      = "408 Empty Request"
	statusMalformed  = "408 Malformed Request"
	statusBadRequest = "408 Bad Request"
	statusPush       = "409 Consumer is push based"
	statusDeposed    = "409 Leadership Change"
	statusHeaders    = "408 Header Size Exceeds 64k Or 1000 Lines"
	statusLevel      = "412 Required Api Level"
	statusTooMany    = "413 Too Many Results"
	statusTooLarge   = "500 Message Too Large"
)
