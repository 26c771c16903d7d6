package starts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/limit"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

const (
	// Who calls webhooks wrongly so many times within a span is kept out for the span,
	// and for longer when it goes on.
	wrongCalls    = 10
	wrongCallSpan = time.Minute
	wrongCallWait = 15 * time.Minute
	// callsKeptFor is for how long a call that started a run is known: for longer than
	// the time of one that is signed may be off, to both sides.
	callsKeptFor = time.Hour
	// maxCallKey bounds what names a call.
	maxCallKey = 255
)

// hooks is what is remembered of calls of webhooks.
type hooks struct {
	wrong limit.Attempts
	rates limit.Rates
}

// Hook starts a job by its webhook. The error is job.ErrNotFound also when the job has
// none, job.ErrForbidden when the call has not what the job's webhook asks for, and a
// caller.BusyError when there are too many: of wrong ones from an address, or of good
// ones for the job. A call that is named, and has started a run within an hour, starts no
// other: the answer is the fire of that.
func (st *Starter) Hook(ctx context.Context, key job.Key, call webhook.Call) (job.FireID, error) {
	now, from := st.db.Now(), limit.Address(call.From)
	if wait := st.hooks.wrong.Wait(from, now); wait > 0 {
		return job.FireID{}, &caller.BusyError{RetryAfter: wait, Why: "too many wrong calls of webhooks came from this address"}
	}
	stored, err := st.verified(ctx, key, &call, now)
	if err != nil {
		if errors.Is(err, job.ErrForbidden) || errors.Is(err, job.ErrNotFound) {
			st.hooks.wrong.Failed(from, now)
		}
		return job.FireID{}, err
	}
	hook := stored.Spec.Webhook
	most := hook.EffectiveMaxPerMinute()
	if wait := st.hooks.rates.Take(stored.UID.String(), limit.Rate{PerSecond: float64(most) / 60, Burst: most}, now); wait > 0 {
		return job.FireID{}, &caller.BusyError{RetryAfter: wait, Why: fmt.Sprintf("the webhook was called more than %d times within a minute (maxPerMinute)", most)}
	}
	params, err := paramsOf(call.Body, hook.Signed)
	if err != nil {
		return job.FireID{}, err
	}
	if err := checkParams(params); err != nil {
		return job.FireID{}, err
	}
	by := asked{}
	if call.Key != "" {
		by.call = st.named(stored.UID, &call, now)
	}
	return st.start(ctx, key, job.TriggerWebhook, etcdkv.Trigger{Params: params, Cause: "webhook called from " + call.From}, by)
}

// verified returns the job, if the call is good. The call then has its name.
func (st *Starter) verified(ctx context.Context, key job.Key, call *webhook.Call, now time.Time) (etcdkv.StoredJob, error) {
	stored, _, err := st.jobs.Stored(ctx, key)
	if err != nil {
		return stored, err
	}
	hook := stored.Spec.Webhook
	if hook == nil {
		return stored, fmt.Errorf("webhook of job %s: %w", key, job.ErrNotFound)
	}
	refuse := func(why string) (etcdkv.StoredJob, error) {
		return stored, fmt.Errorf("webhook of job %s: %s: %w", key, why, job.ErrForbidden)
	}
	if hook.TokenSHA256 != "" {
		want, err := hex.DecodeString(hook.TokenSHA256)
		sum := sha256.Sum256([]byte(call.Token))
		if err != nil || subtle.ConstantTimeCompare(sum[:], want) != 1 {
			return refuse("the token is not the job's")
		}
	}
	if hook.Signed {
		kv, err := st.db.Get(ctx, "look for the secret of a webhook", st.db.Keys.HookSecret(stored.UID))
		if err != nil {
			return stored, err
		}
		if kv == nil {
			return refuse("it has no secret yet; make one with: carillon webhook secret " + key.String())
		}
		s, err := store.Decode[etcdkv.HookSecret](kv)
		if err != nil {
			return stored, err
		}
		secret, err := webhook.ParseSecret(s.Secret)
		if err != nil {
			return stored, fmt.Errorf("webhook of job %s: %w", key, err)
		}
		if err := secret.Verify(call.Signed, call.Body, now); err != nil {
			return refuse(err.Error())
		}
		call.Key = call.Signed.ID // another name would make a call that was overheard a new one
	} else if hook.TokenSHA256 == "" {
		return refuse("it asks for nothing, so that nobody may call it")
	}
	if len(call.Key) > maxCallKey {
		return stored, apiview.Invalid("Idempotency-Key", fmt.Sprintf("has %d bytes; at most %d are allowed", len(call.Key), maxCallKey))
	}
	return stored, nil
}

// paramsOf reads the parameters of a call's body. Who signs calls has a form of its own,
// of which all else is not looked at.
func paramsOf(body []byte, foreign bool) (map[string]string, error) {
	var v struct {
		Params map[string]string `json:"params"`
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if !foreign {
		d.DisallowUnknownFields()
	}
	err := d.Decode(&v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind the object")
		}
	}
	switch {
	case err != nil && foreign:
		return nil, nil
	case err != nil:
		return nil, apiview.Invalid("body", `is not {"params": {"NAME": "VALUE"}}: `+err.Error())
	}
	return v.Params, nil
}

// named is a call that starts a run once, however often it comes.
type named struct {
	key  string
	body string
	at   time.Time
}

func (st *Starter) named(u job.UID, call *webhook.Call, now time.Time) *named {
	body, name := sha256.Sum256(call.Body), sha256.Sum256([]byte(call.Key))
	return &named{key: st.db.Keys.HookCall(u, hex.EncodeToString(name[:])), body: hex.EncodeToString(body[:]), at: now.UTC()}
}

// asked is a start by hand whose request has a name; nil: it has none. Names are of who
// asks, and of what is asked for.
func (st *Starter) asked(ctx context.Context, u job.UID, o *order, params map[string]string, hosts []job.MinionID) (*named, error) {
	key := caller.RequestOf(ctx).Key
	if key == "" {
		return nil, nil
	}
	if len(key) > maxCallKey {
		return nil, apiview.Invalid("Idempotency-Key", fmt.Sprintf("has %d bytes; at most %d are allowed", len(key), maxCallKey))
	}
	said, err := json.Marshal(struct {
		Object string
		Params map[string]string
		Hosts  []job.MinionID
	}{o.object, params, hosts})
	if err != nil {
		return nil, fmt.Errorf("name of a start: %w", err)
	}
	call := webhook.Call{Key: strings.Join([]string{"by hand", caller.Subject(ctx, o.By), o.action, key}, "\x00"), Body: said}
	return st.named(u, &call, st.db.Now()), nil
}

// first adds to a start by a call that the call has started nothing before, and returns
// the zero fire; or else the fire that it has started.
func (st *Starter) first(ctx context.Context, d *store.Txn, call *named, fire job.FireID) (job.FireID, error) {
	kv, err := st.db.Get(ctx, "look for the call", call.key)
	if err != nil {
		return job.FireID{}, err
	}
	if kv != nil {
		before, err := store.Decode[etcdkv.HookCall](kv)
		switch {
		case err != nil:
			return job.FireID{}, err
		case call.at.Sub(before.At) >= callsKeptFor: // it is not swept yet
		case before.Body != call.body:
			return job.FireID{}, apiview.Invalid("Idempotency-Key", "was the name of another call, which said something else; give each its own")
		default:
			return before.Fire, nil
		}
	}
	text, err := etcdkv.Encode(etcdkv.HookCall{Schema: etcdkv.Schema, Fire: fire, Body: call.body, At: call.at})
	if err != nil {
		return job.FireID{}, err
	}
	d.SameAs(call.key, store.Revision(kv))
	d.Put(call.key, text)
	return job.FireID{}, nil
}

// WebhookSecret makes what calls of a job's webhook are to be signed with, or takes what
// is given: a secret that the other side has made. The former one is good no more.
func (st *Starter) WebhookSecret(ctx context.Context, key job.Key, given string, o api.Order) (api.WebhookSecret, error) {
	secret, err := webhook.NewSecret()
	if given != "" {
		secret, err = webhook.ParseSecret(given)
		if err != nil {
			return api.WebhookSecret{}, apiview.Invalid("secret", err.Error())
		}
	}
	if err != nil {
		return api.WebhookSecret{}, err
	}
	for range store.Tries {
		stored, at, err := st.jobs.Stored(ctx, key)
		if err != nil {
			return api.WebhookSecret{}, err
		}
		if stored.Spec.Webhook == nil || !stored.Spec.Webhook.Signed {
			return api.WebhookSecret{}, apiview.Invalid("job", fmt.Sprintf("%s takes no calls that are signed; apply it with webhook: {signed: true} first", key))
		}
		text, err := etcdkv.Encode(etcdkv.HookSecret{
			Schema: etcdkv.Schema, Key: key, Secret: secret.Text(), By: caller.Of(ctx, o.By), CreatedAt: st.db.Now().UTC(),
		})
		if err != nil {
			return api.WebhookSecret{}, err
		}
		var d store.Txn
		d.StillThere(string(at.KV.Key), at.KV.CreateRevision)
		d.Put(st.db.Keys.HookSecret(stored.UID), text)
		if err := st.audit.Add(&d, st.audit.Record(ctx, "job.webhook-secret", "job "+key.String(), o)); err != nil {
			return api.WebhookSecret{}, err
		}
		if ok, err := st.db.Commit(ctx, "keep the secret of a webhook", &d); err != nil || ok {
			return api.WebhookSecret{Secret: secret.Text()}, err
		}
	}
	return api.WebhookSecret{}, fmt.Errorf("job %s keeps moving; try again: %w", key, job.ErrConflict)
}

// SweepHooks forgets calls that are old, and secrets of jobs that are gone.
func (st *Starter) SweepHooks(ctx context.Context) error {
	var gone []clientv3.Op
	flush := func(least int) error {
		if len(gone) < least {
			return nil
		}
		_, err := st.db.Do(ctx, "forget calls of webhooks", nil, gone)
		gone = nil
		return err
	}
	err := st.db.List(ctx, "list calls of webhooks", st.db.Keys.HookCalls(), func(kv *mvccpb.KeyValue) error {
		// What cannot be read is kept by nobody for long either.
		if call, err := store.Decode[etcdkv.HookCall](kv); err == nil && st.db.Now().Sub(call.At) < callsKeptFor {
			return nil
		}
		gone = append(gone, clientv3.OpDelete(string(kv.Key)))
		return flush(store.MaxOps)
	})
	if err != nil {
		return err
	}
	if err := flush(1); err != nil {
		return err
	}
	return st.db.List(ctx, "list secrets of webhooks", st.db.Keys.HookSecrets(), func(kv *mvccpb.KeyValue) error {
		s, err := store.Decode[etcdkv.HookSecret](kv)
		if err != nil {
			return err
		}
		stored, _, err := st.jobs.Stored(ctx, s.Key)
		if err == nil && st.db.Keys.HookSecret(stored.UID) == string(kv.Key) || err != nil && !errors.Is(err, job.ErrNotFound) {
			return err
		}
		_, err = st.db.Do(ctx, "forget the secret of a webhook", []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)},
			[]clientv3.Op{clientv3.OpDelete(string(kv.Key))})
		return err
	})
}
