package scheduler

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// goneRecords reads the records that jobs leave in their shard that were moved out of it,
// or deleted. Any goroutine may use it.
type goneRecords struct {
	client    *clientv3.Client
	keys      etcdkv.Keys
	shard     job.ShardID
	schedules *schedule.Cache
	log       *zap.Logger
}

// all reads the records of moves and deletions.
func (r *goneRecords) all(ctx context.Context) ([]*movedOut, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	resp, err := r.client.Txn(ctx).Then(
		clientv3.OpGet(r.keys.Moved(r.shard), clientv3.WithPrefix()),
		clientv3.OpGet(r.keys.Deleted(r.shard), clientv3.WithPrefix()),
	).Commit()
	if err != nil {
		return nil, err
	}
	var out []*movedOut
	for i, part := range resp.Responses {
		for _, kv := range part.GetResponseRange().Kvs {
			m, err := r.read(string(kv.Key), kv.Value)
			if err != nil {
				r.log.Error("record of a job that is gone cannot be read", zap.String("key", string(kv.Key)), zap.Error(err))
				continue
			}
			m.deleted = i == 1
			m.e.Gone = m.deleted
			if !m.deleted {
				m.at = 0
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// read reads the record of a move or a deletion: both have the job.
func (r *goneRecords) read(key string, value []byte) (*movedOut, error) {
	stored, err := etcdkv.Decode[etcdkv.DeletedJob](key, value)
	if err != nil {
		return nil, err
	}
	text, err := etcdkv.Encode(etcdkv.StoredJob{Schema: etcdkv.Schema, Job: stored.Job, Earlier: stored.Earlier})
	if err != nil {
		return nil, err
	}
	e, from, err := newEntry(key, []byte(text), r.schedules)
	if err != nil {
		return nil, err
	}
	m := &movedOut{e: e, record: key, created: stored.Created, next: from + 1}
	if !stored.At.IsZero() {
		m.at = stored.At.UnixNano()
	}
	return m, nil
}

// of tells what has become of a job whose key is gone. The record is that of its move, or
// of its deletion since at; empty: there is none, and nothing of it was open. It asks until
// there is an answer, and is false when ctx ends before.
func (r *goneRecords) of(ctx context.Context, uid job.UID) (found goneRecord, ok bool) {
	moved, deleted := r.keys.MovedJob(r.shard, uid), r.keys.DeletedJob(r.shard, uid)
	for try := 0; ; try++ {
		bounded, cancel := context.WithTimeout(ctx, commitTimeout)
		resp, err := r.client.Txn(bounded).Then(
			clientv3.OpGet(moved, clientv3.WithCountOnly()), clientv3.OpGet(deleted),
		).Commit()
		cancel()
		if err == nil {
			switch kvs := resp.Responses[1].GetResponseRange().Kvs; {
			case resp.Responses[0].GetResponseRange().Count > 0:
				found.key = moved
			case len(kvs) > 0:
				found.key, found.deleted = deleted, true
				if d, err := etcdkv.Decode[etcdkv.DeletedJob](deleted, kvs[0].Value); err == nil {
					found.at = d.At
				}
			}
			return found, true
		}
		if !pause(ctx, try) {
			return goneRecord{}, false
		}
	}
}

// goneRecord is the record of a job that is gone. The zero value: it has left none.
type goneRecord struct {
	key string
	// deleted: the job was deleted, at a time that may not be known; else it was moved.
	deleted bool
	at      time.Time
}
