package admit

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
	"github.com/carillon-cron/carillon/scheduler/cluster"
)

// readTimeout bounds the reading of all permits, or of a shard's slots; slotPage is how
// many slots are read at a time.
const (
	readTimeout = 30 * time.Second
	slotPage    = 64
)

// MaxCapKeys is how many caps a round is about: a value may have some 75 KB, with
// job.MaxClusterBound holders, and etcd takes requests up to 1.5 MiB.
const MaxCapKeys = 16

// Round gives permits back and asks for some, in one transaction.
type Round struct {
	Shard job.ShardID
	Keys  map[cluster.Cap]struct{}
	Drops map[Holder][]cluster.Cap
	Asks  []*Request

	// Granted are those of the asks that hold permits now; Seen is what became of
	// the caps.
	Granted map[Holder][]cluster.Cap
	Seen    map[cluster.Cap]cluster.CapCount
}

// Request is a task that asks for permits.
type Request struct {
	Holder

	Bounds map[cluster.Cap]int

	task Task
	r    *Run
}

// fits reports whether the round may be about these caps, too, and makes it so.
func (r *Round) fits(keys []cluster.Cap) bool {
	more := 0
	for _, k := range keys {
		if _, there := r.Keys[k]; !there {
			more++
		}
	}
	if len(r.Keys) > 0 && len(r.Keys)+more > MaxCapKeys {
		return false
	}
	for _, k := range keys {
		r.Keys[k] = struct{}{}
	}
	return true
}

// Decide changes what is stored, and returns the caps whose values are to be
// written. A task gets all of its permits or none: nobody waits with a permit in
// hand. What a task is granted is written also where it has it already, so that
// the transaction proves it.
func (r *Round) Decide(stored map[cluster.Cap]*etcdkv.Permits) map[cluster.Cap]struct{} {
	changed := map[cluster.Cap]struct{}{}
	r.Granted = map[Holder][]cluster.Cap{}
	for id, keys := range r.Drops {
		for _, k := range keys {
			if stored[k].Remove(id.Fire, id.Minion) {
				changed[k] = struct{}{}
			}
		}
	}
	for _, a := range r.Asks {
		if !a.fit(stored) {
			continue
		}
		for k := range a.Bounds {
			stored[k].Add(a.Fire, r.Shard, a.Minion)
			changed[k] = struct{}{}
			r.Granted[a.Holder] = append(r.Granted[a.Holder], k)
		}
	}
	return changed
}

// fit reports whether there is room for a task under all its caps.
func (q *Request) fit(stored map[cluster.Cap]*etcdkv.Permits) bool {
	for k, most := range q.Bounds {
		if !stored[k].Holds(q.Fire, q.Minion) && stored[k].Count() >= most {
			return false
		}
	}
	return true
}

// Book is where permits are kept. Its functions are called by goroutines that the
// owner waits for.
type Book interface {
	// Do does a round until its outcome is known or the shard is lost.
	Do(ctx context.Context, r *Round) error
	// Read returns the permits of the shard's tasks.
	Read(ctx context.Context) (map[Holder][]cluster.Cap, error)
	// Collect removes those from a cap whose fires are not open any more.
	Collect(ctx context.Context, k cluster.Cap) error
}

// etcdBook is the book of a shard in etcd, as its owner writes it under one token.
type etcdBook struct {
	shard job.ShardID
	token Token
	d     *Deps
}

// errCapsMoved: somebody else has written a cap since it was read.
var errCapsMoved = errors.New("permits changed since they were read")

// Do does a round until its outcome is known or the shard is lost. After an
// ambiguous answer the values are read again: they have what was asked for, or
// the write that was sent before cannot succeed any more once this one has.
func (b *etcdBook) Do(ctx context.Context, r *Round) error {
	tries := backoff.Backoff{Least: permitLeast, Most: permitMost}
	for {
		if !b.token.Held() {
			return lock.ErrLost
		}
		err := b.try(ctx, r)
		if err == nil || errors.Is(err, lock.ErrFenced) {
			return err
		}
		if !errors.Is(err, errCapsMoved) && ctx.Err() == nil {
			b.d.Logger.Warn("permits not asked for yet, trying again", zap.Error(err))
		}
		if !tries.Pause(ctx) {
			return context.Cause(ctx)
		}
	}
}

// permitLeast and permitMost bound the pauses between tries.
const (
	permitLeast = 5 * time.Millisecond
	permitMost  = 500 * time.Millisecond
)

// storedPermits are values of caps as they were read.
type storedPermits struct {
	values map[cluster.Cap]*etcdkv.Permits
	raw    map[cluster.Cap][]byte
	revs   map[cluster.Cap]int64
}

func (b *etcdBook) try(ctx context.Context, r *Round) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if len(r.Keys) == 0 {
		return nil
	}
	in, err := b.readCaps(ctx, r)
	if err != nil {
		return err
	}
	r.Seen = map[cluster.Cap]cluster.CapCount{}
	for k, v := range in.values {
		if in.revs[k] != 0 {
			r.Seen[k] = cluster.CapCount{Rev: in.revs[k], Count: v.Count()}
		}
	}
	changed := r.Decide(in.values)
	if len(changed) == 0 {
		return nil
	}
	cmps, ops := []clientv3.Cmp{b.token.Fence()}, []clientv3.Op{}
	for k := range changed {
		key := b.d.Keys.Permit(k.Label, k.Value)
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", in.revs[k]))
		op, err := putPermits(key, in.raw[k], in.values[k])
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	resp, err := b.d.Client.Txn(ctx).If(cmps...).Then(ops...).Else(clientv3.OpGet(b.token.Key())).Commit()
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		kvs := resp.Responses[0].GetResponseRange().GetKvs()
		if len(kvs) == 1 && kvs[0].ModRevision == b.token.Token().Revision {
			return errCapsMoved
		}
		return fmt.Errorf("permits of shard %d under token %v: %w", b.shard, b.token.Token(), lock.ErrFenced)
	}
	for k := range changed {
		r.Seen[k] = cluster.CapCount{Rev: resp.Header.Revision, Count: in.values[k].Count()}
	}
	return nil
}

// readCaps reads what the round is about, at one revision.
func (b *etcdBook) readCaps(ctx context.Context, r *Round) (*storedPermits, error) {
	keys, gets := make([]cluster.Cap, 0, len(r.Keys)), make([]clientv3.Op, 0, len(r.Keys))
	for k := range r.Keys {
		keys, gets = append(keys, k), append(gets, clientv3.OpGet(b.d.Keys.Permit(k.Label, k.Value)))
	}
	resp, err := b.d.Client.Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return nil, err
	}
	in := &storedPermits{values: map[cluster.Cap]*etcdkv.Permits{}, raw: map[cluster.Cap][]byte{}, revs: map[cluster.Cap]int64{}}
	for i, k := range keys {
		v := etcdkv.Permits{Schema: etcdkv.Schema, Label: k.Label, Value: k.Value}
		for _, kv := range resp.Responses[i].GetResponseRange().GetKvs() {
			if v, err = etcdkv.Decode[etcdkv.Permits](string(kv.Key), kv.Value); err != nil {
				return nil, err
			}
			in.raw[k], in.revs[k] = kv.Value, kv.ModRevision
		}
		in.values[k] = &v
	}
	return in, nil
}

// putPermits is the write of a cap's new value in the place of raw.
func putPermits(key string, raw []byte, v *etcdkv.Permits) (clientv3.Op, error) {
	if len(v.Holders) == 0 {
		return clientv3.OpDelete(key), nil
	}
	text, err := etcdkv.MergeUnknown(raw, *v)
	return clientv3.OpPut(key, text), err
}

// Read returns the permits of the shard's tasks. Since the grant no
// earlier owner can have written any.
func (b *etcdBook) Read(ctx context.Context) (map[Holder][]cluster.Cap, error) {
	tries := backoff.Backoff{Least: permitLeast, Most: permitMost}
	for {
		out, err := b.tryRead(ctx)
		if err == nil {
			return out, nil
		}
		if ctx.Err() == nil {
			b.d.Logger.Warn("permits not read yet, trying again", zap.Error(err))
		}
		if !tries.Pause(ctx) {
			return nil, context.Cause(ctx)
		}
	}
}

func (b *etcdBook) tryRead(ctx context.Context) (map[Holder][]cluster.Cap, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	resp, err := b.d.Client.Get(ctx, b.d.Keys.Permits(), clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	out := map[Holder][]cluster.Cap{}
	for _, kv := range resp.Kvs {
		v, err := etcdkv.Decode[etcdkv.Permits](string(kv.Key), kv.Value)
		if err != nil {
			return nil, err
		}
		for _, h := range v.Holders {
			for _, m := range h.Minions {
				if h.Shard == b.shard {
					id := Holder{Fire: h.Fire, Minion: m}
					out[id] = append(out[id], cluster.Cap{Label: v.Label, Value: v.Value})
				}
			}
		}
	}
	return out, nil
}

// Collect removes those from a cap whose fires are not open any more,
// wherever they were: nobody else may be left to do it.
func (b *etcdBook) Collect(ctx context.Context, k cluster.Cap) error {
	key := b.d.Keys.Permit(k.Label, k.Value)
	resp, err := b.d.Client.Get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return err
	}
	kv := resp.Kvs[0]
	v, err := etcdkv.Decode[etcdkv.Permits](key, kv.Value)
	if err != nil {
		return err
	}
	open, err := b.openOf(ctx, v.Holders)
	if err != nil {
		return err
	}
	var rest []etcdkv.Holder
	for _, h := range v.Holders {
		if open[h.Fire] {
			rest = append(rest, h)
			continue
		}
		b.d.Logger.Warn("a run that has ended counted under a cap", zap.String("label", k.Label), zap.String("value", k.Value), zap.Stringer("fire", h.Fire))
	}
	if len(rest) == len(v.Holders) {
		return nil
	}
	v.Holders = rest
	op, err := putPermits(key, kv.Value, &v)
	if err != nil {
		return err
	}
	_, err = b.d.Client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)).Then(op).Commit()
	return err // whoever has written it since is looked at the next time
}

// openOf tells which of the holders' fires are open. One was when it got the
// permit, and none is opened twice: what no slot of its shard holds has ended.
// This owner gives back what is its own itself.
func (b *etcdBook) openOf(ctx context.Context, holders []etcdkv.Holder) (map[job.FireID]bool, error) {
	open := map[job.FireID]bool{}
	read := map[job.ShardID]map[job.FireID]bool{}
	for _, h := range holders {
		if h.Shard == b.shard {
			open[h.Fire] = true
			continue
		}
		if read[h.Shard] == nil {
			there, err := b.firesOf(ctx, h.Shard)
			if err != nil {
				return nil, err
			}
			read[h.Shard] = there
		}
		whole := h.Fire
		whole.Share = 0 // shares may be tasks of one fire
		open[h.Fire] = read[h.Shard][h.Fire] || read[h.Shard][whole]
	}
	return open, nil
}

// firesOf returns the fires in a shard's slots.
func (b *etcdBook) firesOf(ctx context.Context, id job.ShardID) (map[job.FireID]bool, error) {
	out := map[job.FireID]bool{}
	prefix := b.d.Keys.Slots(id)
	end := clientv3.GetPrefixRangeEnd(prefix)
	for from := prefix; ; {
		resp, err := b.d.Client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(slotPage))
		if err != nil {
			return nil, err
		}
		for _, kv := range resp.Kvs {
			sl, err := etcdkv.DecodeSlot(kv.Value)
			if err != nil {
				return nil, fmt.Errorf("slot %s: %w", kv.Key, err)
			}
			for i := range sl.Entries {
				out[sl.Entries[i].Fire] = true
			}
		}
		if !resp.More {
			return out, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}
