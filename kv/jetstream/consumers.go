package jetstream

// The operations on consumers: section 7 of the specification.

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strings"
	"time"

	"github.com/raftbus/raftbus/kv/command"
	"github.com/raftbus/raftbus/kv/store"
	"github.com/raftbus/raftbus/kv/watch"
	"github.com/raftbus/raftbus/raft/rpc"
)

// consumerCreate has a consumer's record logged. That it was made its host answers, when it is about to deliver.
func (p *Protocol) consumerCreate(c call) Plan {
	body, e := c.consumerOf()
	if e != nil {
		return c.refuse(e)
	}
	if IsOrder(p.Prefix, body.Config.DeliverSubject) {
		return c.refuse(errDeliverCycle.says("%s: raftbus delivers to no subject that begins with $ or with %s.", errDeliverCycle.Description, p.Prefix))
	}
	if body.Config.Name == "" {
		body.Config.Name = c.madeUpName()
	}
	config, err := json.Marshal(&body.Config)
	if err != nil || len(config) > consumerBytesMax {
		return c.refuse(errConsumerBytes)
	}
	return c.placed(&command.AddConsumer{
		Bucket: c.bucket, Name: watch.In(c.account, body.Config.Name), Config: config, Deliver: body.Config.deliver(), Mode: addModes[body.Action], Answer: c.Reply,
	})
}

// placed has a consumer's record logged with the host that is chosen for it; where there are too many, only of one that is there, with the host
// that it has; where they ask for too much, of one that does not ask for more.
func (c call) placed(add *command.AddConsumer) Plan {
	var err error
	weight := weigh(c.bucket, add.Config, add.Deliver)
	add.Host, add.Boot, err = c.host(watch.Wanted{Name: add.Name, Pull: add.Deliver == watch.PullDeliver, Weight: weight})
	if err == nil {
		return c.adding(add)
	}
	return c.look(func(s *store.Store, _ store.BucketInfo) Plan {
		there, missing := s.Consumer(c.bucket, add.Name)
		more := err == watch.ErrTooLarge && weight > weigh(c.bucket, there.Config, there.Deliver)
		if err == watch.ErrNoHost || missing != nil || more {
			return c.refuse(hostErrors[err])
		}
		add.Host, add.Boot = there.Host, there.Boot
		return c.adding(add)
	})
}

// weigh is what a consumer counts for in what those of its account may ask for. Of a native watch no consumer can be made: its filter does not matter.
func weigh(bucket string, config []byte, deliver string) int {
	parsed, _ := ConsumerConfig(bucket, config)
	return watch.Weigh(len(config), parsed.Filter, deliver)
}

// adding has a record logged. What of a consumer that is there may not change only its own configuration can say, so it is compared first: a name
// that is new costs no look for that, since nothing is changed by a command that only adds.
func (c call) adding(add *command.AddConsumer) Plan {
	switch add.Mode {
	case command.UpdateOnly:
		return c.look(func(s *store.Store, _ store.BucketInfo) Plan { return c.changing(s, add) })
	case command.AddOrUpdate:
		only := *add
		only.Mode = command.AddOnly
		return c.logged(&only, func(s *store.Store, r store.Result) Plan {
			if r.Code == store.ConsumerExists {
				return c.changing(s, add)
			}
			return c.added(s, r, &only)
		})
	}
	return c.logged(add, func(s *store.Store, r store.Result) Plan { return c.added(s, r, add) })
}

// changing has a consumer changed that is there: asked for as it is, it stays as it is, or the delivery would begin again (W1).
func (c call) changing(s *store.Store, add *command.AddConsumer) Plan {
	there, err := s.Consumer(c.bucket, add.Name)
	switch {
	case err == store.NoConsumer: // the store says so of an update too
	case err != nil:
		return c.refuse(readError(err))
	case add.Deliver == there.Deliver && bytes.Equal(add.Config, there.Config):
		return Plan{Ask: &Ask{there, true}}
	default:
		if e := checkChange(there.Config, add.Config); e != nil {
			return c.refuse(e)
		}
	}
	return c.logged(add, func(s *store.Store, r store.Result) Plan { return c.added(s, r, add) })
}

func (c call) logged(add *command.AddConsumer, done func(*store.Store, store.Result) Plan) Plan {
	return Plan{Write: &Write{Command: command.Command{AddConsumer: add}, Done: done}}
}

var addModes = map[string]command.AddMode{"": command.AddOrUpdate, "create": command.AddOnly, "update": command.UpdateOnly}

// hostErrors say why there is no host.
var hostErrors = map[error]*apiError{watch.ErrNoHost: errNoHost, watch.ErrTooMany: errTooManyConsumers, watch.ErrTooLarge: errLargeConsumers}

// host names the node that is to serve a consumer.
func (c call) host(w watch.Wanted) (rpc.NodeID, rpc.BootEpoch, error) {
	if c.Host == nil {
		return "", 0, watch.ErrNoHost
	}
	return c.Host(w)
}

// madeUpName is a name as a server picks one, for a client that gives none. Whoever asks again gets another.
func (c call) madeUpName() string {
	sum := sha256.Sum256([]byte(c.Reply + c.Now.Format(time.RFC3339Nano)))
	return base32.StdEncoding.EncodeToString(sum[:])[:8]
}

// added goes on when a consumer's record was applied.
func (c call) added(s *store.Store, r store.Result, add *command.AddConsumer) Plan {
	switch {
	case r.Code == store.Done && r.Again && add.Mode == command.AddOnly: // nothing has changed, so its host does not know of the request
		return c.ask(s, add.Name, true)
	case r.Code == store.Done:
		return Plan{}
	case r.Code == store.ConsumerExists:
		return c.refuse(errConsumerExists)
	case r.Code == store.NoConsumer:
		return c.refuse(errConsumerMissing)
	case r.Code == store.TooManyConsumers:
		return c.refuse(errTooManyConsumers)
	}
	return c.refuse(failure(r))
}

// ask has the host of a consumer answer.
func (c call) ask(s *store.Store, name string, made bool) Plan {
	consumer, err := s.Consumer(c.bucket, name)
	switch err {
	case nil:
		plan := Plan{Ask: &Ask{consumer, made}}
		if !made { // else another copy of the request may have made it
			plan.Replies = c.refuse(errUnavailable).Replies
		}
		return plan
	case store.NoConsumer:
		return c.refuse(errNoConsumer)
	}
	return c.refuse(readError(err))
}

func (p *Protocol) consumerDurable(c call) Plan {
	c.durable = true
	return p.consumerCreate(c)
}

// consumerOf reads the consumer that a request wants.
func (c call) consumerOf() (*createConsumerRequest, *apiError) {
	var body createConsumerRequest
	if e := decode(c.Data, &body); e != nil {
		return nil, e
	}
	if _, known := addModes[body.Action]; !known {
		return nil, errInvalidJSON.says("invalid JSON: unknown consumer action: %q", body.Action)
	}
	config := &body.Config
	if e := config.checkWords(); e != nil {
		return nil, e
	}
	if c.consumer != "" { // else the body's name counts, if it has one
		config.Name = c.consumer
	}
	switch {
	case body.Stream != c.stream:
		return nil, errStreamMismatch
	case strings.ContainsAny(config.Name, `\/`):
		return nil, errConsumerPath
	case !validConsumerName(config.Name):
		return nil, errConsumerName
	case c.durable && config.Durable == "":
		return nil, errDurableNotSet
	case config.Durable != "" && c.consumer == "":
		return nil, errDurableUnnamed
	case config.Durable != "" && config.Durable != c.consumer:
		return nil, errDurableMismatch
	case c.rest != "" && len(config.FilterSubjects) > 0:
		return nil, errFiltersInSubject
	case c.rest != "" && config.FilterSubject != c.rest:
		return nil, errFilterMismatch
	case config.PauseUntil != nil && config.PauseUntil.After(c.Now):
		return nil, notOffered("pause_until in the future")
	}
	return &body, config.complete(c.bucket)
}

func (p *Protocol) consumerInfo(c call) Plan {
	if !isEmpty(c.Data) {
		return c.refuse(errNotEmpty)
	}
	return c.look(func(s *store.Store, _ store.BucketInfo) Plan {
		return c.ask(s, watch.Given(c.account, c.consumer), false)
	})
}

// consumerDelete is answered by the leader: the host may be gone.
func (p *Protocol) consumerDelete(c call) Plan {
	if !isEmpty(c.Data) {
		return c.refuse(errNotEmpty)
	}
	if c.bucket == "" {
		return c.refuse(errNoStream)
	}
	remove := command.RemoveConsumer{Bucket: c.bucket, Name: watch.Given(c.account, c.consumer)}
	return Plan{Write: &Write{Command: command.Command{RemoveConsumer: &remove}, Done: func(_ *store.Store, r store.Result) Plan {
		switch r.Code {
		case store.Done:
			return answer(jsonReply(successReply{headOf(c.verb), true}))
		case store.NoConsumer:
			return c.refuse(errNoConsumer)
		}
		return c.refuse(failure(r))
	}}}
}
