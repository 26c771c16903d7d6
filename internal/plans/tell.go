package plans

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/egress"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/queue"
)

const (
	// tellMost bounds the pauses between tries of a callback.
	tellMost = time.Hour
	// tellExpires is how long a callback is kept that was not taken.
	tellExpires = 72 * time.Hour
	// tellLook is how often is looked for what is to be told.
	tellLook = time.Second
)

// Caller makes the calls of upstreams; see egress.Caller.
type Caller interface {
	Post(ctx context.Context, to string, header http.Header, body []byte) (*egress.Answer, error)
}

// teller tells the upstream of a plan what becomes of it, one call after the other (C1).
type teller struct {
	k     *Keeper
	uid   job.UID
	key   string
	keys  etcdkv.PlanKeys
	fence queue.Fence
	log   *zap.Logger
	// tries counts those of the present call.
	tries int
}

// tellPlan tells of a plan until all is told, or ctx ends.
func (k *Keeper) tellPlan(ctx context.Context, uid job.UID, key string, fence queue.Fence) {
	t := &teller{k: k, uid: uid, key: key, keys: k.cfg.Keys.PlanData(uid), fence: fence, log: k.log.With(zap.String("plan", key))}
	for ctx.Err() == nil && fence.Held() {
		pause, done, err := t.step(ctx)
		switch {
		case ctx.Err() != nil || done:
			return
		case err != nil:
			t.log.Warn("what is to be told of a plan is not known now", zap.Error(err))
			pause = tellLook
		}
		if pause == 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// step tells of the next changes. It reports after what pause there may be more, and whether all
// is told.
func (t *teller) step(ctx context.Context) (pause time.Duration, done bool, err error) {
	e, ok := t.k.plan(t.key)
	if !ok || e.Value.UID != t.uid {
		return 0, true, nil
	}
	// The end is written with the last changes: what is read after it is all.
	ended := !e.Value.EndedAt.IsZero()
	ask, cancel := context.WithTimeout(ctx, t.k.cfg.Timeout)
	resp, err := t.k.client.Get(ask, t.keys.Events(), clientv3.WithPrefix(), clientv3.WithLimit(1))
	cancel()
	if err != nil {
		return 0, false, etcdkv.Unavailable(err)
	}
	if len(resp.Kvs) == 0 {
		if !ended {
			return tellLook, false, nil
		}
		return tellLook, false, t.close(ctx, e)
	}
	key := string(resp.Kvs[0].Key)
	batch, err := etcdkv.Decode[etcdkv.PlanEvents](key, resp.Kvs[0].Value)
	if err != nil {
		return 0, false, err
	}
	failed := t.call(ctx, &e.Value, &batch)
	switch {
	case failed == nil:
		return 0, false, t.settled(ctx, key)
	case ctx.Err() != nil:
		return 0, false, ctx.Err()
	case t.k.now().Sub(batch.At) > tellExpires:
		t.log.Warn("callback given up: it was not taken for three days", zap.Int64("seq", batch.First), zap.Error(failed.err))
		return 0, false, t.settled(ctx, key)
	}
	t.tries++
	if err := t.note(ctx, failed.err); err != nil {
		return 0, false, err
	}
	pause = min(t.k.cfg.CallAgain<<min(t.tries-1, 20), tellMost)
	return max(failed.wait, pause/2+rand.N(pause/2+1)), false, nil
}

// refusal is a call that was not taken, and how long the upstream wants to be left alone.
type refusal struct {
	err  error
	wait time.Duration
}

// call makes a call; nil: the upstream has taken it.
func (t *teller) call(ctx context.Context, p *etcdkv.StoredPlan, batch *etcdkv.PlanEvents) *refusal {
	secret, err := t.secret(ctx, p)
	if err != nil {
		return &refusal{err: err}
	}
	body, err := Body(p, batch)
	if err != nil {
		return &refusal{err: err}
	}
	select {
	case t.k.calls <- struct{}{}:
		defer func() { <-t.k.calls }()
	case <-ctx.Done():
		return &refusal{err: ctx.Err()}
	}
	signed := secret.Sign(fmt.Sprintf("plan_%s_%d", t.uid, batch.First), time.Now(), body)
	h := http.Header{"Content-Type": {"application/json"}}
	h.Set("webhook-id", signed.ID)
	h.Set("webhook-timestamp", signed.Timestamp)
	h.Set("webhook-signature", signed.Signature)
	answer, err := t.k.caller.Post(ctx, p.Callback, h, body)
	if err != nil {
		return &refusal{err: err}
	}
	if err := answer.Err(); err != nil {
		return &refusal{err: err, wait: min(answer.RetryAfter, tellMost)}
	}
	return nil
}

// Call is the body of a callback.
type Call struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      CallData  `json:"data"`
}

// CallData says which plan a callback is of, and what has become of its tasks.
type CallData struct {
	Namespace string `json:"namespace"`
	Upstream  string `json:"upstream"`
	Plan      string `json:"plan"`
	UID       string `json:"uid"`
	// First is the number of the first change. They are numbered from 1 without a gap.
	First int64              `json:"first"`
	Tasks []etcdkv.PlanEvent `json:"tasks,omitempty"`
	// Counts are the tasks by their states, of a plan that has ended.
	Counts map[string]int `json:"counts,omitempty"`
}

// Body is what a callback says.
func Body(p *etcdkv.StoredPlan, batch *etcdkv.PlanEvents) ([]byte, error) {
	c := Call{Type: "plan.tasks", Timestamp: batch.At, Data: CallData{
		Namespace: p.Namespace, Upstream: p.Upstream, Plan: p.ID, UID: p.UID.String(), First: batch.First, Tasks: batch.Events, Counts: batch.Counts,
	}}
	if batch.Ended {
		c.Type = "plan.ended"
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode a callback: %w", err)
	}
	return text, nil
}

// secret reads what calls of the plan's upstream are signed with.
func (t *teller) secret(ctx context.Context, p *etcdkv.StoredPlan) (webhook.Secret, error) {
	key := t.k.cfg.Keys.PlanSecret(p.Namespace, p.Upstream)
	resp, err := t.k.txn(ctx, nil, clientv3.OpGet(key))
	if err != nil {
		return webhook.Secret{}, err
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return webhook.Secret{}, fmt.Errorf("there is no secret to sign it with; make one with `carillon plan secret %s`", p.Upstream)
	}
	value := kvs[0].Value
	if t.k.open != nil {
		if value, err = t.k.open(key, value); err != nil {
			return webhook.Secret{}, err
		}
	}
	s, err := etcdkv.Decode[etcdkv.HookSecret](key, value)
	if err != nil {
		return webhook.Secret{}, err
	}
	return webhook.ParseSecret(s.Secret)
}

// settled removes what was told.
func (t *teller) settled(ctx context.Context, key string) error {
	resp, err := t.k.txn(ctx, []clientv3.Cmp{t.fence.Fence()}, clientv3.OpDelete(key), clientv3.OpDelete(t.keys.Callback()))
	if err == nil && !resp.Succeeded {
		err = errFenced
	}
	if err == nil {
		t.tries = 0
	}
	return err
}

// note writes down why the upstream is not told now.
func (t *teller) note(ctx context.Context, why error) error {
	text := why.Error()
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	value, err := etcdkv.Encode(etcdkv.PlanCallback{Schema: etcdkv.Schema, Error: text, Tries: t.tries, At: t.k.now().UTC()})
	if err != nil {
		return err
	}
	_, err = t.k.txn(ctx, []clientv3.Cmp{t.fence.Fence()}, clientv3.OpPut(t.keys.Callback(), value))
	return err
}

// close writes down that all is told.
func (t *teller) close(ctx context.Context, e etcdkv.Entry[etcdkv.StoredPlan]) error {
	if !e.Value.Untold {
		return nil
	}
	p := e.Value
	p.Untold = false
	value, err := etcdkv.Encode(p)
	if err != nil {
		return err
	}
	resp, err := t.k.txn(ctx, []clientv3.Cmp{t.fence.Fence(), clientv3.Compare(clientv3.ModRevision(t.key), "=", e.ModRevision)}, clientv3.OpPut(t.key, value))
	if err == nil && !resp.Succeeded {
		err = errors.New("the plan has changed meanwhile")
	}
	return err
}
