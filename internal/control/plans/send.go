package plans

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/payload"
	running "github.com/carillon-cron/carillon/internal/plans"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
	"github.com/carillon-cron/carillon/queue"
)

const (
	// touchEvery is how often is said that a plan is still on its way; see plans.StaleAfter.
	touchEvery = time.Minute
	// discardWithin bounds how long the remains of a refused plan are removed for: else
	// they are swept.
	discardWithin = 30 * time.Second
)

// Sending is a plan that somebody sends.
type Sending struct {
	Namespace string
	Format    plan.Format
	Body      io.Reader
	// May, unless nil, refuses queues into which the sender may not put items.
	May func(ctx context.Context, queue job.Key) error
	// MayAmend, unless nil, refuses a new version of a plan, which cancels tasks as well.
	MayAmend func(ctx context.Context) error
}

// SendPlan takes a plan: all of it, or nothing (P1). One that was accepted before is
// recognised (P2).
func (d *Desk) SendPlan(ctx context.Context, in Sending, o api.Order) (api.PlanReceipt, error) {
	if err := job.CheckName(in.Namespace); err != nil {
		return api.PlanReceipt{}, invalid("namespace", err.Error())
	}
	free, err := d.sending.take(in.Namespace)
	if err != nil {
		return api.PlanReceipt{}, err
	}
	defer free()
	uid, err := job.NewUID()
	if err != nil {
		return api.PlanReceipt{}, err
	}
	in.Body = &paced{from: in.Body}
	s := &sent{d: d, in: in, uid: uid, keys: d.db.Keys.PlanData(uid), types: map[string]*taking{}}
	if err := s.touch(ctx); err != nil {
		return api.PlanReceipt{}, err
	}
	receipt, err := s.take(ctx, o)
	if err != nil || receipt.Recognised {
		s.discard(ctx)
	}
	return receipt, err
}

// sent is a plan that is being read.
type sent struct {
	d    *Desk
	in   Sending
	uid  job.UID
	keys etcdkv.PlanKeys
	// rev is that of the key that says that it is on its way, as of touched.
	rev     int64
	touched time.Time
	types   map[string]*taking
	// first is the number of the first task of chunk, whose texts have bytes.
	first, bytes int
	chunk        []etcdkv.PlanTask
}

// taking is a queue that takes tasks.
type taking struct {
	etcdkv.StoredQueue
	schema *payload.Schema
	// takers are those who may do them.
	takers minions.Takers
	// wrong is why it takes none.
	wrong string
}

func (s *sent) take(ctx context.Context, o api.Order) (api.PlanReceipt, error) {
	sum, err := plan.Read(s.in.Body, s.in.Format, plan.Options{}, func(t plan.Task, _ plan.Place) error { return s.task(ctx, t) })
	if sum.Digest != "" { // what its queues take by now does not count for one that was accepted
		r, known, kerr := s.d.known(ctx, s.in.Namespace, &sum)
		switch {
		case errors.Is(kerr, errOther) && sum.Amend:
		case known || kerr != nil:
			return r, kerr
		case sum.Amend:
			return r, fmt.Errorf("%s, which is to be amended: %w", object(s.in.Namespace, sum.Upstream, sum.ID), job.ErrNotFound)
		}
	}
	if err == nil && sum.Amend {
		if err = s.flush(ctx); err != nil {
			return api.PlanReceipt{}, err
		}
		return s.amend(ctx, &sum, o)
	}
	if err == nil && sum.Callback != "" {
		err = s.d.callable(ctx, s.in.Namespace, &sum)
	}
	if err == nil {
		err = s.flush(ctx)
	}
	if err != nil {
		return api.PlanReceipt{}, err
	}
	return s.accept(ctx, &sum, o)
}

// task takes a task of the plan.
func (s *sent) task(ctx context.Context, t plan.Task) error {
	q, err := s.queue(ctx, t.Type)
	if err != nil {
		return err
	}
	text := t.Payload()
	var problems []job.Problem
	switch {
	case q.wrong != "":
		problems = append(problems, job.Problem{Path: "type", Message: q.wrong})
	case q.schema != nil:
		for _, wrong := range q.schema.Check(text) {
			problems = append(problems, job.Problem{Path: "parameters", Message: "queue " + t.Type + " does not take them: " + wrong})
		}
	}
	if problems == nil {
		for _, wrong := range q.takers.Refuses(string(text)) {
			problems = append(problems, job.Problem{Path: "parameters", Message: "no worker of queue " + t.Type + " takes them: " + wrong})
		}
	}
	if problems != nil {
		return &job.InvalidError{Problems: problems}
	}
	s.chunk = append(s.chunk, etcdkv.PlanTask{Task: t})
	if s.bytes += len(text) + len(t.ID); len(s.chunk) == etcdkv.PlanChunk || s.bytes >= etcdkv.PlanChunkBytes {
		return s.flush(ctx)
	}
	return nil
}

// queue returns the queue of a type, as it was when the type was seen first.
func (s *sent) queue(ctx context.Context, typ string) (*taking, error) {
	if q := s.types[typ]; q != nil {
		return q, nil
	}
	key := job.Key{Namespace: s.in.Namespace, Name: typ}
	if s.in.May != nil {
		if err := s.in.May(ctx, key); err != nil {
			return nil, err
		}
	}
	kv, err := s.d.db.Get(ctx, "read queue "+key.String(), s.d.db.Keys.QueueType(key))
	if err != nil {
		return nil, err
	}
	q := &taking{}
	s.types[typ] = q
	if kv == nil {
		q.wrong = fmt.Sprintf("there is no queue %s; create it with `carillon apply` (kind: Queue)", key)
		return q, nil
	}
	if q.StoredQueue, err = store.Decode[etcdkv.StoredQueue](kv); err != nil {
		return nil, err
	}
	if q.Hold != nil && q.Hold.Draining {
		q.wrong = fmt.Sprintf("queue %s is draining, and takes no items", key)
	}
	if q.Spec.PayloadSchema != "" {
		if q.schema, err = payload.Parse(q.Spec.PayloadSchema); err != nil {
			return nil, fmt.Errorf("payloadSchema of queue %s: %w", key, err)
		}
	}
	if q.takers, err = s.d.takers(ctx, &q.Queue); err != nil {
		return nil, fmt.Errorf("what the workers of queue %s take: %w", key, err)
	}
	return q, nil
}

// flush writes a chunk.
func (s *sent) flush(ctx context.Context) error {
	if len(s.chunk) == 0 {
		return nil
	}
	if err := s.bound(ctx); err != nil {
		return err
	}
	if s.d.db.Now().Sub(s.touched) > touchEvery {
		if err := s.touch(ctx); err != nil {
			return err
		}
	}
	value, err := etcdkv.EncodePlanTasks(s.chunk)
	if err != nil {
		return err
	}
	resp, err := s.d.db.Do(ctx, "store tasks of a plan", s.held(), []clientv3.Op{clientv3.OpPut(s.keys.Chunk(s.first), value)})
	switch {
	case err != nil:
		return err
	case !resp.Succeeded:
		return errGivenUp
	}
	s.first += len(s.chunk)
	s.chunk, s.bytes = s.chunk[:0], 0
	return nil
}

// errGivenUp is what a sender is told that was so slow that its plan was swept.
var errGivenUp = fmt.Errorf("the plan took too long to come, and was given up; send it again: %w", job.ErrUnavailable)

// bound gives the tasks of the chunk what bounds them, or refuses them.
func (s *sent) bound(ctx context.Context) error {
	of := map[string][]int{}
	for i := range s.chunk {
		of[s.chunk[i].Type] = append(of[s.chunk[i].Type], i)
	}
	for typ, at := range of {
		items := make([]queue.Item, len(at))
		for n, i := range at {
			t := &s.chunk[i]
			items[n] = queue.Item{ID: running.ItemID(s.uid, s.first+i), Priority: t.Priority, Payload: t.Payload()}
		}
		bounds, err := s.d.bounds(ctx, &s.types[typ].Queue, items)
		if err != nil {
			return fmt.Errorf("put tasks into queue %s: %w", typ, err)
		}
		for n, i := range at {
			s.chunk[i].Bounds = bounds[n]
		}
	}
	return nil
}

// held is what holds as long as the plan was not given up.
func (s *sent) held() []clientv3.Cmp {
	return []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.d.db.Keys.PlanStaging(s.uid)), "=", s.rev)}
}

// touch says that the plan is on its way.
func (s *sent) touch(ctx context.Context) error {
	now := s.d.db.Now()
	name := s.d.db.Keys.PlanStaging(s.uid)
	value, err := etcdkv.Encode(etcdkv.PlanStaging{Schema: etcdkv.Schema, At: now.UTC()})
	if err != nil {
		return err
	}
	resp, err := s.d.db.Do(ctx, "store a plan", s.held(), []clientv3.Op{clientv3.OpPut(name, value)})
	switch {
	case err != nil:
		return err
	case !resp.Succeeded:
		return errGivenUp
	}
	s.rev, s.touched = resp.Header.Revision, now
	return nil
}

// accept makes a plan of what was stored.
func (s *sent) accept(ctx context.Context, sum *plan.Summary, o api.Order) (api.PlanReceipt, error) {
	keys := s.d.db.Keys
	name := keys.Plan(s.in.Namespace, sum.Upstream, sum.ID)
	rec := s.d.audit.Record(ctx, "plan.send", object(s.in.Namespace, sum.Upstream, sum.ID)+fmt.Sprintf(" (%d tasks)", sum.Tasks), o)
	p := etcdkv.StoredPlan{
		Schema: etcdkv.Schema, UID: s.uid, Namespace: s.in.Namespace, Header: sum.Header, Digest: sum.Digest, Tasks: sum.Tasks, Types: sum.Types,
		AcceptedAt: s.d.db.Now().UTC(), By: rec.By, Subject: caller.Subject(ctx, o.By),
		Untold: sum.Callback != "",
	}
	value, err := etcdkv.Encode(p)
	if err != nil {
		return api.PlanReceipt{}, err
	}
	audited, err := s.d.audit.Op(rec)
	if err != nil {
		return api.PlanReceipt{}, err
	}
	resp, err := s.d.db.Do(ctx, "accept a plan", append(s.held(), clientv3.Compare(clientv3.CreateRevision(name), "=", 0)),
		[]clientv3.Op{clientv3.OpPut(name, value), clientv3.OpDelete(keys.PlanStaging(s.uid)), audited})
	if err == nil && resp.Succeeded {
		return api.PlanReceipt{Plan: view(&p, nil)}, nil
	}
	// The answer may be lost, or somebody else has sent the same: etcd knows.
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.d.db.Timeout)
	defer cancel()
	r, known, kerr := s.d.known(own, s.in.Namespace, sum)
	switch {
	case known && r.UID == s.uid.String():
		r.Recognised = false
		return r, nil
	case known || kerr != nil:
		return r, kerr
	case err != nil:
		return api.PlanReceipt{}, err
	}
	return api.PlanReceipt{}, errGivenUp
}

// discard removes what was stored of a plan that was not accepted. What cannot be removed now is
// swept.
func (s *sent) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discardWithin)
	defer cancel()
	// An accepted plan has no such key: then this removes nothing.
	resp, err := s.d.db.Do(ctx, "look for a plan that was not accepted", s.held(), nil)
	if err == nil && !resp.Succeeded {
		return
	}
	if err == nil {
		err = running.Discard(ctx, s.d.db.Client, s.d.db.Keys, s.d.db.Timeout, s.uid)
	}
	if err != nil {
		s.d.log.Warn("tasks of a plan that was not accepted are left to be swept", zap.Error(err))
	}
}

// errOther is in the error of a plan that has the id of another one.
var errOther = fmt.Errorf("give what is new another id, amend the plan, or cancel tasks: %w", job.ErrConflict)

// known returns the receipt of a plan that was accepted before; an error if it was another one
// of the same id.
func (d *Desk) known(ctx context.Context, ns string, sum *plan.Summary) (api.PlanReceipt, bool, error) {
	p, err := d.stored(ctx, ns, sum.Upstream, sum.ID)
	switch {
	case errors.Is(err, job.ErrNotFound):
		return api.PlanReceipt{}, false, nil
	case err != nil:
		return api.PlanReceipt{}, false, err
	case latest(p) != sum.Digest:
		return api.PlanReceipt{}, true, fmt.Errorf("%s was accepted with another content (%s); %w", object(ns, sum.Upstream, sum.ID), latest(p), errOther)
	}
	status, err := d.status(ctx, p)
	return api.PlanReceipt{Plan: accepted(p, status), Recognised: true}, true, err
}
