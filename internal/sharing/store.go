package sharing

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Fence is what a write compares beside the value (H2). It is comparable.
type Fence struct {
	Shard job.ShardID
	Owner job.Token
	// Job, unless it is zero, has to be there.
	Job job.Key
}

// The errors of a Store that say that nothing was written; after any other one it may have
// been.
var (
	// ErrFenced: the shard has another owner, or the job is not there.
	ErrFenced = errors.New("fenced")
	// ErrChanged: the value is not as it was read.
	ErrChanged = errors.New("changed meanwhile")
)

// Store keeps the values of scopes.
type Store interface {
	// Read returns a value, and its revision: 0, there is none.
	Read(ctx context.Context, key string) (value []byte, rev int64, err error)
	// Write replaces the value that has a revision.
	Write(ctx context.Context, f Fence, key string, rev int64, value string) error
	// Remove removes a value.
	Remove(ctx context.Context, f Fence, key string) error
	// Runs returns the keys of all runs' values.
	Runs(ctx context.Context) ([]string, error)
}

// Etcd is the Store of a cluster.
type Etcd struct {
	Client *clientv3.Client
	Keys   etcdkv.Keys
}

// Read implements Store.
func (s *Etcd) Read(ctx context.Context, key string) ([]byte, int64, error) {
	resp, err := s.Client.Get(ctx, key)
	if err != nil {
		return nil, 0, fmt.Errorf("read what tasks share: %w", err)
	}
	if len(resp.Kvs) == 0 {
		return nil, 0, nil
	}
	return resp.Kvs[0].Value, resp.Kvs[0].ModRevision, nil
}

func (s *Etcd) fence(f Fence) []clientv3.Cmp {
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.Keys.Owner(f.Shard)), "=", f.Owner.Revision)}
	if f.Job != (job.Key{}) {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(s.Keys.Job(f.Shard, f.Job)), ">", 0))
	}
	return cmps
}

// Write implements Store.
func (s *Etcd) Write(ctx context.Context, f Fence, key string, rev int64, value string) error {
	resp, err := s.Client.Txn(ctx).
		If(append(s.fence(f), clientv3.Compare(clientv3.ModRevision(key), "=", rev))...).
		Then(clientv3.OpPut(key, value)).
		Else(clientv3.OpGet(key, clientv3.WithKeysOnly())).Commit()
	switch {
	case err != nil:
		return fmt.Errorf("write what tasks share: %w", err)
	case resp.Succeeded:
		return nil
	}
	now := int64(0)
	for _, kv := range resp.Responses[0].GetResponseRange().GetKvs() {
		now = kv.ModRevision
	}
	if now != rev {
		return ErrChanged
	}
	return ErrFenced
}

// Remove implements Store.
func (s *Etcd) Remove(ctx context.Context, f Fence, key string) error {
	resp, err := s.Client.Txn(ctx).If(s.fence(f)...).Then(clientv3.OpDelete(key)).Commit()
	if err != nil {
		return fmt.Errorf("remove what tasks share: %w", err)
	}
	if !resp.Succeeded {
		return ErrFenced
	}
	return nil
}

// page is how many keys are read at once.
const page = 1000

// Runs implements Store.
func (s *Etcd) Runs(ctx context.Context) ([]string, error) {
	var keys []string
	end := clientv3.GetPrefixRangeEnd(s.Keys.SharedRuns())
	for from := s.Keys.SharedRuns(); ; {
		resp, err := s.Client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithKeysOnly(), clientv3.WithLimit(page), clientv3.WithSerializable())
		if err != nil {
			return nil, fmt.Errorf("list what tasks share: %w", err)
		}
		for _, kv := range resp.Kvs {
			keys = append(keys, string(kv.Key))
		}
		if !resp.More {
			return keys, nil
		}
		from = keys[len(keys)-1] + "\x00"
	}
}
