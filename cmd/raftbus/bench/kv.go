package bench

// The official client of NATS KV, nats.go's jetstream package.

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// KV is a bucket as the clients of NATS KV see it.
type KV struct {
	Connect func() (*nats.Conn, error) // the stores close what it returns
	Domain  string                     // of the JetStream; empty: none is named
	Config  jetstream.KeyValueConfig
}

// do does something on a connection of its own.
func (k KV) do(does func(jetstream.JetStream) error) error {
	conn, js, err := k.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return does(js)
}

func (k KV) dial() (*nats.Conn, jetstream.JetStream, error) {
	conn, err := k.Connect()
	if err != nil {
		return nil, nil, err
	}
	var js jetstream.JetStream
	if k.Domain == "" {
		js, err = jetstream.New(conn)
	} else {
		js, err = jetstream.NewWithDomain(conn, k.Domain)
	}
	if err != nil {
		conn.Close()
	}
	return conn, js, err
}

// Create makes the bucket.
func (k KV) Create(ctx context.Context) error {
	return k.do(func(js jetstream.JetStream) error {
		// Not left to the server: it takes a bucket of the same settings for the one that is being made, which is removed in the end. So nothing
		// is made either if it cannot be told whether the bucket is there.
		switch _, err := js.KeyValue(ctx, k.Config.Bucket); {
		case err == nil:
			return ErrExists
		case !errors.Is(err, jetstream.ErrBucketNotFound):
			return err
		}
		_, err := js.CreateKeyValue(ctx, k.Config)
		var refused *jetstream.APIError
		if errors.As(err, &refused) && refused.ErrorCode == unavailable {
			return fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return err
	})
}

// unavailable is what a JetStream says also of what it has begun and not seen to its end.
const unavailable = 10008

// Remove removes the bucket.
func (k KV) Remove(ctx context.Context) error {
	return k.do(func(js jetstream.JetStream) error { return js.DeleteKeyValue(ctx, k.Config.Bucket) })
}

// Open connects.
func (k KV) Open(ctx context.Context) (Store, error) {
	conn, js, err := k.dial()
	if err != nil {
		return nil, err
	}
	bucket, err := js.KeyValue(ctx, k.Config.Bucket)
	if err != nil {
		conn.Close()
		return nil, said(err)
	}
	return &kvStore{conn, bucket}, nil
}

type kvStore struct {
	conn   *nats.Conn
	bucket jetstream.KeyValue
}

func (s *kvStore) Close() { s.conn.Close() }

func (s *kvStore) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := s.bucket.Put(ctx, key, value)
	return revision, said(err)
}

func (s *kvStore) Get(ctx context.Context, key string) (uint64, error) {
	entry, err := s.bucket.Get(ctx, key)
	if err != nil {
		return 0, said(err)
	}
	return entry.Revision(), nil
}

func (s *kvStore) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	revision, err := s.bucket.Update(ctx, key, value, revision)
	return revision, said(err)
}

func (s *kvStore) Watch(ctx context.Context, changed func([]byte)) error {
	watcher, err := s.bucket.WatchAll(ctx, jetstream.UpdatesOnly())
	if err != nil {
		return said(err)
	}
	go func() {
		for entry := range watcher.Updates() { // closed with the connection at the latest
			if entry != nil {
				changed(entry.Value())
			}
		}
	}()
	return nil
}

// said puts errors into this package's words.
func said(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch), errors.Is(err, jetstream.ErrKeyExists):
		return ErrConflict
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrBucketNotFound):
		return errors.Join(ErrNotFound, err)
	}
	return err
}
