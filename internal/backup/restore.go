package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// ErrInTheWay is wrapped when the prefix is not empty, or nodes live there.
var ErrInTheWay = errors.New("it is in use")

// Options say how a backup is put back.
type Options struct {
	// By is who does it.
	By string
	// Replace: what is there is deleted first.
	Replace bool
	// Alone: no node can live there, as its etcd runs in this process: what is left of one
	// that was killed is not in the way.
	Alone bool
	// Epoch, unless 0, is the one that begins; it must be above the backup's and that of
	// what is there.
	Epoch int64
	// Hold, unless 0, is the mod revision of the hold under which the cluster stands by: it
	// is replaced though its nodes live, for they have no shards (B5).
	Hold int64
	// Held, unless nil, adds to the hold.
	Held func(*etcdkv.Hold)
	// Skip, unless nil, reports the keys that are not put back.
	Skip func(key string) bool
	// Last is put together with the description of the cluster.
	Last []clientv3.Op
}

// Records calls fn, unless it is nil, with each record of a backup, and returns what it is
// of. It is called several times, and has to give the same each time.
type Records func(fn func(*Record) error) (Header, Trailer, error)

// Restored tells what was put back.
type Restored struct {
	Header
	Trailer
	// NewEpoch is the one that has begun.
	NewEpoch int64 `json:"newEpoch"`
}

const (
	// batchOps and batchBytes bound one transaction of puts.
	batchOps   = 100
	batchBytes = 1 << 20
)

// Restore puts a backup into a prefix, and leaves the cluster held. open opens the file; it
// is read several times.
func Restore(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, open func() (io.ReadCloser, error), o Options) (Restored, error) {
	return RestoreFrom(ctx, c, keys, func(fn func(*Record) error) (Header, Trailer, error) {
		f, err := open()
		if err != nil {
			return Header{}, Trailer{}, err
		}
		defer func() { _ = f.Close() }()
		return Read(f, fn)
	}, o)
}

// RestoreFrom is Restore of what is not in a file.
func RestoreFrom(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, read Records, o Options) (Restored, error) {
	var out Restored
	tr, err := newTranslation(keys, Header{}, 0)
	if err != nil {
		return out, err
	}
	if out.Header, out.Trailer, err = read(tr.learn); err != nil { // B3
		return out, err
	}
	tr.head = out.Header
	p := &put{c: c, keys: keys}
	there, err := p.there(ctx)
	if err != nil {
		return out, err
	}
	if err := there.refuse(keys, o); err != nil {
		return out, err
	}
	least := max(out.Epoch, there.epoch) + 1 // B7
	if out.NewEpoch = o.Epoch; out.NewEpoch == 0 {
		out.NewEpoch = least
	}
	if out.NewEpoch < least {
		return out, fmt.Errorf("epoch %d: it must be %d or more: the backup is of epoch %d, and what is there of %d", out.NewEpoch, least, out.Epoch, there.epoch)
	}
	tr.epoch, tr.replaces, tr.skip = out.NewEpoch, there.clusters(), o.Skip
	hold := etcdkv.Hold{
		Schema: etcdkv.Schema, State: etcdkv.HoldRestoring, Since: time.Now().UTC(), By: o.By,
		Epoch: out.NewEpoch, From: out.Epoch, Revision: out.Revision, TakenAt: out.TakenAt,
	}
	if o.Held != nil {
		o.Held(&hold)
	}
	if err := p.begin(ctx, &hold, there, o.Hold != 0 || o.Alone); err != nil {
		return out, err
	}
	if err := p.clear(ctx); err != nil {
		return out, err
	}
	for _, now := range []turn{turnFirst, turnLater, turnLast} {
		if now == turnLater {
			tr.now = p.rev // all jobs that were known have been put
		}
		if now == turnLast {
			if err := p.flush(ctx); err != nil {
				return out, err
			}
			hold.State = etcdkv.HoldRestored
			if hold.Then != nil {
				then := *hold.Then
				then.Last, hold.Then = nil, &then // they are written now
			}
			value, err := etcdkv.Encode(&hold)
			if err != nil {
				return out, err
			}
			p.add(keys.Hold(), value) // in one transaction with the description (B6)
			p.ops = append(p.ops, o.Last...)
		}
		if _, _, err := read(func(r *Record) error {
			if tr.turn(r) != now {
				return nil
			}
			key, value, err := tr.put(r)
			if err != nil {
				return err
			}
			p.add(key, value)
			return p.flushIfFull(ctx)
		}); err != nil {
			return out, err
		}
		if err := p.flush(ctx); err != nil {
			return out, err
		}
	}
	return out, nil
}

// put writes to a prefix under a hold.
type put struct {
	c    *clientv3.Client
	keys etcdkv.Keys
	// rev is the revision of the last transaction, hold that of the hold.
	rev, hold int64
	ops       []clientv3.Op
	bytes     int
}

func (p *put) add(key, value string) {
	p.ops = append(p.ops, clientv3.OpPut(key, value))
	p.bytes += len(key) + len(value)
}

func (p *put) flushIfFull(ctx context.Context) error {
	if len(p.ops) < batchOps && p.bytes < batchBytes {
		return nil
	}
	return p.flush(ctx)
}

func (p *put) flush(ctx context.Context) error {
	if len(p.ops) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	resp, err := p.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(p.keys.Hold()), "=", p.hold)).Then(p.ops...).Commit()
	if err != nil {
		return fmt.Errorf("write to etcd: %w; the restore is not complete: begin it again with --replace", err)
	}
	if !resp.Succeeded {
		return fmt.Errorf("%w: another restore has begun meanwhile", ErrInTheWay)
	}
	p.rev, p.ops, p.bytes = resp.Header.Revision, p.ops[:0], 0
	return nil
}

// inTheWay is what a prefix holds.
type inTheWay struct {
	keys  int64
	nodes []job.NodeID
	meta  *etcdkv.Meta
	hold  *etcdkv.Hold
	// holdRev is the mod revision of the hold; 0: there is none.
	holdRev int64
	epoch   int64
}

func (p *put) there(ctx context.Context) (*inTheWay, error) {
	resp, err := get(ctx, p.c, p.keys.Root(), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return nil, err
	}
	w := &inTheWay{keys: resp.Count}
	members, err := get(ctx, p.c, p.keys.Members(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	for _, kv := range members.Kvs {
		w.nodes = append(w.nodes, job.NodeID(strings.TrimPrefix(string(kv.Key), p.keys.Members())))
	}
	slices.Sort(w.nodes)
	if resp, err = get(ctx, p.c, p.keys.Meta()); err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 1 {
		meta, err := etcdkv.Decode[etcdkv.Meta](p.keys.Meta(), resp.Kvs[0].Value)
		if err != nil {
			return nil, err
		}
		w.meta, w.epoch = &meta, meta.Epoch
	}
	if resp, err = get(ctx, p.c, p.keys.Hold()); err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 1 {
		hold, err := etcdkv.Decode[etcdkv.Hold](p.keys.Hold(), resp.Kvs[0].Value)
		if err != nil {
			return nil, err
		}
		w.hold, w.holdRev, w.epoch = &hold, resp.Kvs[0].ModRevision, max(w.epoch, hold.Epoch)
	}
	return w, nil
}

// refuse says what is in the way of a restore (B5).
func (w *inTheWay) refuse(keys etcdkv.Keys, o Options) error {
	switch {
	case w.keys == 0:
		return nil
	case o.Hold != 0 && w.holdRev != o.Hold:
		return fmt.Errorf("%w: somebody else has promoted or restored the cluster meanwhile", ErrInTheWay)
	case o.Hold != 0:
		return nil
	}
	var what []string
	if w.meta != nil {
		what = append(what, fmt.Sprintf("the cluster %s of epoch %d", w.meta.ClusterID, w.meta.Epoch))
	}
	if w.hold != nil && w.hold.State == etcdkv.HoldRestoring {
		what = append(what, fmt.Sprintf("a restore that was begun at %s", w.hold.Since.UTC().Format(time.RFC3339)))
	}
	what = append(what, fmt.Sprintf("%d keys", w.keys))
	switch {
	case len(w.nodes) > 0 && !o.Alone:
		return fmt.Errorf("%w: under %s there are %s, and live nodes: %v; stop them first, and wait until their leases have ended", ErrInTheWay, keys.Prefix(), strings.Join(what, ", "), w.nodes)
	case !o.Replace:
		return fmt.Errorf("%w: under %s there are %s; to put the backup in their place, deleting them, add --replace", ErrInTheWay, keys.Prefix(), strings.Join(what, ", "))
	}
	return nil
}

// clusters are those whose nodes may be here.
func (w *inTheWay) clusters() []string {
	if w.meta == nil {
		return nil
	}
	return append(slices.Clone(w.meta.Replaces), w.meta.ClusterID)
}

// begin puts the hold, and deletes the description of the cluster. Nobody else may have begun
// meanwhile. Nodes may live there only if they may by the caller.
func (p *put) begin(ctx context.Context, hold *etcdkv.Hold, w *inTheWay, live bool) error {
	value, err := etcdkv.Encode(hold)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	key, members := p.keys.Hold(), p.keys.Members()
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", w.holdRev)}
	if !live {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(members), "=", 0).WithPrefix())
	}
	// Without the description no node opens the cluster, whatever else is still there.
	resp, err := p.c.Txn(ctx).If(cmps...).Then(clientv3.OpPut(key, value), clientv3.OpDelete(p.keys.Meta())).Commit()
	if err != nil {
		return fmt.Errorf("write to etcd: %w", err)
	}
	if !resp.Succeeded {
		return fmt.Errorf("%w: a node has come, or another restore has begun, just now", ErrInTheWay)
	}
	p.hold, p.rev = resp.Header.Revision, resp.Header.Revision
	return nil
}

// clear deletes what was there, but for the hold and for what says which nodes live: some at
// a time, as etcd answers nobody while it deletes.
func (p *put) clear(ctx context.Context) error {
	hold, members := p.keys.Hold(), p.keys.Members()
	for _, part := range [][2]string{
		{p.keys.Root(), hold}, {hold + "\x00", members}, {clientv3.GetPrefixRangeEnd(members), clientv3.GetPrefixRangeEnd(p.keys.Root())},
	} {
		for {
			resp, err := get(ctx, p.c, part[0], clientv3.WithRange(part[1]), clientv3.WithLimit(clearKeys), clientv3.WithKeysOnly())
			if err != nil {
				return err
			}
			if len(resp.Kvs) == 0 {
				break
			}
			last := string(resp.Kvs[len(resp.Kvs)-1].Key)
			p.ops = append(p.ops, clientv3.OpDelete(part[0], clientv3.WithRange(last+"\x00")))
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
