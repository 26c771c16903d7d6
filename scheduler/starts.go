package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/lock"
)

// A job may start on a minion when its host has started. Its owner compares the boot that
// each minion of the target tells with the one that it has started the job for, and puts a
// trigger and the new boot in one transaction: a boot starts the job once, whoever owns it,
// also when nobody did at the time. A minion for which the job was never started counts if
// its host has started since the job has been looked after, so that no host runs it only
// because the job is new.

// hostStarts looks after the jobs of a shard that start with hosts. It belongs to the
// shard's goroutine, but for look and what that calls.
type hostStarts struct {
	own     *lock.Ownership
	client  *clientv3.Client
	keys    etcdkv.Keys
	id      job.ShardID
	minions Minions
	now     func() int64
	log     *zap.Logger

	jobs map[job.UID]*entry
	// looking: a look is under way, which alone uses known; next is when the next one is due.
	looking bool
	next    int64
	known   map[job.UID]*startsOf
}

// startsOf is what is stored of a job: since when it is looked after, and the boots for
// which it was started.
type startsOf struct {
	since time.Time
	rev   int64
	boots map[job.MinionID]startOf
}

type startOf struct {
	etcdkv.HostStart

	rev int64
}

// Bounds of looking after hosts.
const (
	startsEvery = time.Second
	// startsShare is how many times as long as a look the pause after it is, at least: with
	// many jobs and minions looks come more seldom.
	startsShare = 9
	// startsApart is how soon after a start for a minion the next one may follow: what a
	// minion says of its boots is its own word.
	startsApart = 10 * time.Second
)

func newHostStarts(s *shard) hostStarts {
	return hostStarts{
		own: s.own, client: s.deps.Client, keys: s.cfg.Keys, id: s.id, minions: s.deps.Minions, now: s.deps.now, log: s.log,
		jobs: map[job.UID]*entry{}, known: map[job.UID]*startsOf{},
	}
}

// note notes that a job starts with hosts, or does not any more.
func (h *hostStarts) note(e *entry, there bool) {
	if there && e.Optional != nil && e.Optional.OnStart {
		h.jobs[e.uid] = e
		return
	}
	delete(h.jobs, e.uid)
}

// tend looks whether hosts have started, one look at a time. run runs a goroutine, and do
// has something done by the shard's.
func (h *hostStarts) tend(ctx context.Context, now int64, run, do func(func())) {
	if h.looking || now < h.next || len(h.jobs) == 0 {
		return
	}
	all := make([]*entry, 0, len(h.jobs))
	for _, e := range h.jobs {
		all = append(all, e)
	}
	h.looking = true
	run(func() {
		began := h.now()
		for _, e := range all {
			if err := h.look(ctx, e); err != nil {
				delete(h.known, e.uid) // what came of it is read again
				if ctx.Err() == nil {
					h.log.Warn("starts of hosts not looked at, will be tried again", zap.Stringer("job", e.key), zap.Error(err))
				}
			}
		}
		for uid := range h.known {
			if !slices.ContainsFunc(all, func(e *entry) bool { return e.uid == uid }) {
				delete(h.known, uid)
			}
		}
		do(func() {
			now := h.now()
			h.looking, h.next = false, now+max(int64(startsEvery), startsShare*(now-began))
		})
	})
}

// look starts a job for the hosts that have started.
func (h *hostStarts) look(ctx context.Context, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	of := h.known[e.uid]
	if of == nil {
		var err error
		if of, err = h.load(ctx, e); err != nil {
			return err
		}
		h.known[e.uid] = of
	}
	spec, err := etcdkv.Decode[struct {
		Target job.Target `json:"target"`
	}](e.key.String(), []byte(e.raw))
	if err != nil {
		return err
	}
	ready, away := h.minions.Reach(spec.Target)
	var started []job.MinionID
	for _, m := range ready {
		if h.hasStarted(of, m) {
			started = append(started, m)
		}
	}
	for part := range slices.Chunk(started, maxTold) {
		if err := h.start(ctx, e, of, part); err != nil {
			return err
		}
	}
	return h.prune(ctx, e, of, ready, away)
}

// hasStarted reports whether a minion's host has started, and the job was not started for it.
func (h *hostStarts) hasStarted(of *startsOf, m job.MinionID) bool {
	boot := h.minions.Value(m, job.FactBootID)
	last, known := of.boots[m]
	switch {
	case boot == "":
		return false
	case known:
		return last.Boot != boot && h.now() >= last.At.Add(startsApart).UnixNano()
	}
	at, err := time.Parse(time.RFC3339, h.minions.Value(m, job.FactBootTime))
	return err == nil && at.After(of.since)
}

// load reads what is stored of a job. Where there is nothing, it is looked after from now on.
func (h *hostStarts) load(ctx context.Context, e *entry) (*startsOf, error) {
	key := h.keys.HostStarts(e.uid)
	resp, err := h.client.Get(ctx, key, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	of := &startsOf{boots: map[job.MinionID]startOf{}}
	for _, kv := range resp.Kvs {
		v, err := etcdkv.Decode[etcdkv.HostStart](string(kv.Key), kv.Value)
		if err != nil {
			return nil, err
		}
		if m := strings.TrimPrefix(string(kv.Key), key); m != "" {
			of.boots[job.MinionID(m)] = startOf{v, kv.ModRevision}
		} else {
			of.since, of.rev = v.At, kv.ModRevision
		}
	}
	if of.rev == 0 {
		return of, h.write(ctx, of, time.Unix(0, h.now()).UTC(), nil, nil, e)
	}
	return of, nil
}

// start puts a trigger for each of some minions.
func (h *hostStarts) start(ctx context.Context, e *entry, of *startsOf, minions []job.MinionID) error {
	now := h.now()
	puts := make(map[job.MinionID]etcdkv.HostStart, len(minions))
	var triggers []clientv3.Op
	for i, m := range minions {
		boot := h.minions.Value(m, job.FactBootID)
		puts[m] = etcdkv.HostStart{Schema: etcdkv.Schema, Boot: boot, At: time.Unix(0, now).UTC()}
		if e.Optional.Disabled {
			continue // as an instant of its schedule would be
		}
		fire := job.FireID{Job: e.uid, At: now + int64(i), Trigger: job.TriggerWatch}
		value, err := etcdkv.Encode(etcdkv.Trigger{
			Schema: etcdkv.Schema, Fire: fire, Key: e.key, Hosts: etcdkv.Hosts{m}, Cause: fmt.Sprintf("the host of minion %s has started (boot %s)", m, boot),
		})
		if err != nil {
			return err
		}
		triggers = append(triggers, clientv3.OpPut(h.keys.Trigger(h.id, fire), value))
	}
	return h.write(ctx, of, time.Time{}, puts, triggers, e)
}

// prune forgets minions that the cluster does not know any more, or that the target does not
// match. Starts count from the last one that is forgotten: one of them that comes back is not
// started again for the same boot, and one whose host has started in the meantime is, as is
// another new one that has not connected yet.
func (h *hostStarts) prune(ctx context.Context, e *entry, of *startsOf, ready []job.MinionID, away []job.Uncontrollable) error {
	if len(of.boots) <= len(ready)+len(away) {
		return nil
	}
	there := make(map[job.MinionID]bool, len(ready)+len(away))
	for _, m := range ready {
		there[m] = true
	}
	for i := range away {
		there[away[i].Minion] = true
	}
	since := of.since
	drop := map[job.MinionID]etcdkv.HostStart{}
	for m, last := range of.boots {
		if !there[m] && len(drop) < maxTold {
			drop[m] = etcdkv.HostStart{}
			if last.At.After(since) {
				since = last.At
			}
		}
	}
	if len(drop) == 0 {
		return nil
	}
	return h.write(ctx, of, since, drop, nil, e)
}

// write stores boots, the empty ones of which it removes, and with since from when on
// others count, with what else is to be done.
func (h *hostStarts) write(ctx context.Context, of *startsOf, since time.Time, boots map[job.MinionID]etcdkv.HostStart, more []clientv3.Op, e *entry) error {
	root := h.keys.HostStarts(e.uid)
	cmps, ops := []clientv3.Cmp{h.own.Fence(), clientv3.Compare(clientv3.ModRevision(root), "=", of.rev)}, more
	if !since.IsZero() {
		text, err := etcdkv.Encode(etcdkv.HostStart{Schema: etcdkv.Schema, At: since})
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(root, text))
	}
	for m, v := range boots {
		key := root + string(m)
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(key), "=", of.boots[m].rev))
		if v.Boot == "" {
			ops = append(ops, clientv3.OpDelete(key))
			continue
		}
		text, err := etcdkv.Encode(v)
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(key, text))
	}
	resp, err := h.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	switch {
	case err != nil:
		return err
	case !resp.Succeeded:
		return errors.New("somebody else looks after it")
	}
	if !since.IsZero() {
		of.since, of.rev = since, resp.Header.Revision
	}
	for m, v := range boots {
		if v.Boot == "" {
			delete(of.boots, m)
		} else {
			of.boots[m] = startOf{v, resp.Header.Revision}
		}
	}
	return nil
}
