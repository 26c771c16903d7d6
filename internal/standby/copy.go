package standby

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// errNotAlone is returned when another node has written the copy, or the cluster stands by
// no more, or not as it did.
var errNotAlone = errors.New("another node writes the copy, or the cluster stands by no more")

// copied is the copy of the active cluster, as one node writes it.
type copied struct {
	client *clientv3.Client
	keys   etcdkv.Keys
	node   job.NodeID
	now    func() time.Time
	// hold is the mod revision of the hold under which the cluster stands by.
	hold int64
	// cur is the cursor as it was written last, rev its mod revision; 0: there is none.
	cur etcdkv.MirrorCursor
	rev int64
}

// readCursor reads what the copy is of; the revision is 0 where there is none.
func readCursor(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys) (etcdkv.MirrorCursor, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.Get(ctx, keys.MirrorCursor())
	if err != nil {
		return etcdkv.MirrorCursor{}, 0, fmt.Errorf("read etcd: %w: %w", job.ErrUnavailable, err)
	}
	if len(resp.Kvs) == 0 {
		return etcdkv.MirrorCursor{Schema: etcdkv.Schema}, 0, nil
	}
	cur, err := etcdkv.Decode[etcdkv.MirrorCursor](keys.MirrorCursor(), resp.Kvs[0].Value)
	return cur, resp.Kvs[0].ModRevision, err
}

// read reads how far the copy has come.
func (c *copied) read(ctx context.Context) (err error) {
	c.cur, c.rev, err = readCursor(ctx, c.client, c.keys)
	return err
}

// continues reports whether the copy goes on with what a stream tells.
func (c *copied) continues(h *Head) bool {
	return c.cur.Generation != 0 && c.cur.Cluster == h.Cluster && c.cur.Epoch == h.Epoch
}

// write does operations together with the cursor (M1, M2, M4).
func (c *copied) write(ctx context.Context, next etcdkv.MirrorCursor, ops ...clientv3.Op) error {
	next.Schema, next.Node, next.At = etcdkv.Schema, c.node, c.now().UTC()
	value, err := etcdkv.Encode(&next)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.client.Txn(ctx).If(
		clientv3.Compare(clientv3.ModRevision(c.keys.MirrorCursor()), "=", c.rev),
		clientv3.Compare(clientv3.ModRevision(c.keys.Hold()), "=", c.hold),
	).Then(append(ops, clientv3.OpPut(c.keys.MirrorCursor(), value))...).Commit()
	switch {
	case err != nil:
		return fmt.Errorf("write the copy: %w", err)
	case !resp.Succeeded:
		return errNotAlone
	}
	c.cur, c.rev = next, resp.Header.Revision
	return nil
}

// begin makes room for another copy, of an active cluster in an epoch. One that is whole
// stays (M3); what was begun goes.
func (c *copied) begin(ctx context.Context, epoch int64) error {
	next := c.cur
	next.Seen = max(next.Seen, epoch)
	next.Filling = max(c.cur.Filling, c.cur.Generation) + 1
	next.Trouble = ""
	var ops []clientv3.Op
	if c.cur.Filling != 0 {
		ops = append(ops, clientv3.OpDelete(c.keys.Copy(c.cur.Filling), clientv3.WithPrefix()))
	}
	return c.write(ctx, next, ops...)
}

// fill adds records of a snapshot to the copy that was begun.
func (c *copied) fill(ctx context.Context, records []edit) error {
	at := c.keys.Copy(c.cur.Filling)
	for len(records) > 0 {
		n, bytes := 0, 0
		for n < len(records) && n < batchOps && (n == 0 || bytes+records[n].size() <= batchBytes) {
			bytes += records[n].size()
			n++
		}
		if err := c.write(ctx, c.cur, puts(at, records[:n])...); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// puts are the operations that edits come to.
func puts(at string, edits []edit) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(edits)+1)
	for i := range edits {
		e := &edits[i]
		if e.deleted {
			ops = append(ops, clientv3.OpDelete(at+e.Key))
			continue
		}
		// The key is there already: only what it was there belongs to the value.
		kept := backup.Record{Create: e.Create, Mod: e.Mod, Value: e.Value}
		ops = append(ops, clientv3.OpPut(at+e.Key, string(kept.Append(nil))))
	}
	return ops
}

// complete has the copy that was begun take the place of the former one.
func (c *copied) complete(ctx context.Context, h *Head) error {
	next, was := c.cur, c.cur.Generation
	next.Cluster, next.Epoch, next.Shards, next.SealKey = h.Cluster, h.Epoch, h.Shards, h.SealKey
	next.Generation, next.Filling = c.cur.Filling, 0
	next.Revision, next.Torn, next.AsOf = h.Revision, false, time.Time{}
	var ops []clientv3.Op
	if was != 0 {
		ops = append(ops, clientv3.OpDelete(c.keys.Copy(was), clientv3.WithPrefix()))
	}
	return c.write(ctx, next, ops...)
}

// apply has changes of whole revisions, or a part of one, be in the copy. asOf is until when
// nothing is missing then; zero: it is not known.
func (c *copied) apply(ctx context.Context, rev int64, more bool, edits []edit, asOf time.Time) error {
	next := c.cur
	if next.Torn = more; !more {
		next.Revision = max(next.Revision, rev)
	}
	if asOf.After(next.AsOf) {
		next.AsOf = asOf
	}
	next.Trouble = ""
	return c.write(ctx, next, puts(c.keys.Copy(next.Generation), edits)...)
}

// troubled notes why nothing comes.
func (c *copied) troubled(ctx context.Context, why string) error {
	if c.cur.Trouble == why {
		return nil
	}
	next := c.cur
	next.Trouble = why
	return c.write(ctx, next)
}

// source reads a copy as a backup. It must not be written meanwhile.
func source(ctx context.Context, client *clientv3.Client, keys etcdkv.Keys, cur *etcdkv.MirrorCursor, version string) backup.Records {
	h := backup.Header{
		Format: backup.Format, Cluster: cur.Cluster, Epoch: cur.Epoch, Revision: cur.Revision, Prefix: keys.Prefix(), Shards: cur.Shards,
		TakenAt: cur.AsOf, Version: version,
	}
	at := keys.Copy(cur.Generation)
	jobs := strings.TrimPrefix(keys.Jobs(), keys.Root())
	return func(fn func(*backup.Record) error) (backup.Header, backup.Trailer, error) {
		var end backup.Trailer
		err := listPages(ctx, client, at, func(key string, value []byte) error {
			kept, rest, ok := backup.CutRecord(value)
			if !ok || len(rest) > 0 {
				return fmt.Errorf("%s of the copy cannot be read", key)
			}
			kept.Key = strings.TrimPrefix(key, at)
			end.Keys++
			end.Bytes += int64(len(kept.Key) + len(kept.Value))
			if strings.HasPrefix(kept.Key, jobs) {
				end.Jobs++
			}
			if fn == nil {
				return nil
			}
			return fn(&kept)
		})
		return h, end, err
	}
}

// listPages calls fn with each key under a prefix.
func listPages(ctx context.Context, c *clientv3.Client, prefix string, fn func(key string, value []byte) error) error {
	end := clientv3.GetPrefixRangeEnd(prefix)
	for from := prefix; ; {
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		resp, err := c.Get(bounded, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys))
		cancel()
		if err != nil {
			return fmt.Errorf("read etcd: %w: %w", job.ErrUnavailable, err)
		}
		for _, kv := range resp.Kvs {
			if err := fn(string(kv.Key), kv.Value); err != nil {
				return err
			}
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}
