package main

// etcd: three members, and its official client.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/raftbus/raftbus/cmd/raftbus/bench"
)

func newEtcd(dir, _ string) (*system, error) {
	at, err := ports(6)
	if err != nil {
		return nil, err
	}
	clients, peers := at[:3], at[3:]
	var cluster []string
	for i, peer := range peers {
		cluster = append(cluster, fmt.Sprintf("e%d=http://%s", i+1, peer))
	}
	s := &system{name: "etcd", dir: dir, target: etcd{clients}}
	for i := range 3 {
		name := fmt.Sprintf("e%d", i+1)
		data, err := mkdir(dir, name)
		if err != nil {
			return nil, err
		}
		s.add(&server{name: name, command: as(role{Etcd: &etcdRole{name, data, clients[i], peers[i], strings.Join(cluster, ",")}})})
	}
	s.leader = func(ctx context.Context) (string, error) {
		for i, address := range clients {
			if leads, err := etcdLeads(ctx, address); err == nil && leads {
				return fmt.Sprintf("e%d", i+1), nil
			}
		}
		return "", errors.New("etcd has no leader")
	}
	return s, nil
}

// etcdLeads asks one member whether it leads.
func etcdLeads(ctx context.Context, address string) (bool, error) {
	client, err := dialEtcd([]string{address})
	if err != nil {
		return false, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, err := client.Status(ctx, address)
	if err != nil {
		return false, err
	}
	return status.Leader == status.Header.MemberId, nil
}

func dialEtcd(endpoints []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
}

// etcd is a target: the endpoints of a cluster. Keys are in a folder that stands for a bucket.
type etcd struct{ endpoints []string }

func (e etcd) Create(context.Context) error { return nil }

func (e etcd) Remove(ctx context.Context) error {
	client, err := dialEtcd(e.endpoints)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Delete(ctx, bucket+"/", clientv3.WithPrefix())
	return err
}

func (e etcd) Open(context.Context) (bench.Store, error) {
	client, err := dialEtcd(e.endpoints)
	if err != nil {
		return nil, err
	}
	return etcdStore{client}, nil
}

type etcdStore struct{ client *clientv3.Client }

func (s etcdStore) Close() { _ = s.client.Close() }

func (s etcdStore) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	done, err := s.client.Put(ctx, bucket+"/"+key, string(value))
	if err != nil {
		return 0, err
	}
	return uint64(done.Header.Revision), nil
}

// Get is linearizable, as it is if one says nothing else.
func (s etcdStore) Get(ctx context.Context, key string) (uint64, error) {
	got, err := s.client.Get(ctx, bucket+"/"+key)
	if err != nil {
		return 0, err
	}
	if len(got.Kvs) == 0 {
		return 0, bench.ErrNotFound
	}
	return uint64(got.Kvs[0].ModRevision), nil
}

func (s etcdStore) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	key = bucket + "/" + key
	done, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", int64(revision))).Then(clientv3.OpPut(key, string(value))).Commit()
	switch {
	case err != nil:
		return 0, err
	case !done.Succeeded:
		return 0, bench.ErrConflict
	}
	return uint64(done.Header.Revision), nil
}

func (s etcdStore) Watch(ctx context.Context, changed func([]byte)) error {
	changes := s.client.Watch(ctx, bucket+"/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first := <-changes; first.Err() != nil {
		return first.Err()
	}
	go func() {
		for batch := range changes {
			for _, event := range batch.Events {
				changed(event.Kv.Value)
			}
		}
	}()
	return nil
}
