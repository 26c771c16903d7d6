package control

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
)

// ofTest is the SHA-256 of "test".
const ofTest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func hooked(name string, h job.Webhook) manifest.Object {
	return object(name, func(o *manifest.Object) { o.Spec.Webhook = &h })
}

// signer makes the secret of a job's webhook, and returns how to sign with it.
func (e *env) signer(t *testing.T, name, given string) webhook.Secret {
	t.Helper()
	v, err := e.WebhookSecret(t.Context(), jobNamed(name), given, api.Order{By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := webhook.ParseSecret(v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestWrongCallsOfHooksAreNotLookedAt: after a few from one address the job is not even
// read; who goes on waits longer; others are let in.
func TestWrongCallsOfHooksAreNotLookedAt(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, hooked("j", job.Webhook{TokenSHA256: ofTest}))
	call := func(token, from string) error {
		_, err := e.Hook(t.Context(), jobNamed("j"), webhook.Call{Token: token, From: from})
		return err
	}
	var busy *caller.BusyError
	for round, want := range []time.Duration{time.Minute, 2 * time.Minute} {
		for n := range 10 {
			if err := call(fmt.Sprint("guess", n), "10.0.0.1"); !errors.Is(err, job.ErrForbidden) {
				t.Fatalf("round %d, guess %d: %v", round, n, err)
			}
		}
		for _, token := range []string{"guess", "test"} {
			if err := call(token, "10.0.0.1"); !errors.As(err, &busy) || busy.RetryAfter != want {
				t.Fatalf("round %d, after the guesses: %v", round, err)
			}
		}
		if _, err := e.Hook(t.Context(), jobNamed("none"), webhook.Call{From: "10.0.0.1"}); !errors.As(err, &busy) {
			t.Errorf("a job that there is not is looked for: %v", err)
		}
		if err := call("test", "10.0.0.2"); err != nil {
			t.Errorf("another address: %v", err)
		}
		e.pass(want)
	}
	if err := call("test", "10.0.0.1"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	// A host of IPv6 has as many addresses as it likes.
	for n := range 10 {
		_ = call("guess", fmt.Sprintf("2001:db8::%x", n+1))
	}
	if err := call("test", "2001:db8::ffff"); !errors.As(err, &busy) {
		t.Errorf("from the next address of the same network: %v", err)
	}
}

// TestFloodOfGoodCallsIsBounded: those who have the token start no more runs than the job
// takes; wrong calls use none of that up.
func TestFloodOfGoodCallsIsBounded(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, hooked("j", job.Webhook{TokenSHA256: ofTest, MaxPerMinute: 5}), hooked("other", job.Webhook{TokenSHA256: ofTest}))
	for n := range 9 {
		_, _ = e.Hook(t.Context(), jobNamed("j"), webhook.Call{Token: "wrong", From: fmt.Sprint("10.0.1.", n)})
	}
	call := func(name string) error {
		_, err := e.Hook(t.Context(), jobNamed(name), webhook.Call{Token: "test", From: "10.0.0.1"})
		return err
	}
	let := 0
	var busy *caller.BusyError
	for range 50 {
		if err := call("j"); err == nil {
			let++
		} else if !errors.As(err, &busy) || busy.RetryAfter > 13*time.Second {
			t.Fatal(err)
		}
	}
	if let != 5 || len(e.triggers(t)) != 5 {
		t.Errorf("%d calls of 50 started %d runs", let, len(e.triggers(t)))
	}
	if err := call("other"); err != nil {
		t.Errorf("another job: %v", err)
	}
	e.pass(busy.RetryAfter)
	if err := call("j"); err != nil {
		t.Errorf("after the wait that it was told: %v", err)
	}
}

// TestSignedCalls: only who has the secret starts the job, once for each call, within the
// time that the signature says; a secret that was replaced is good no more.
func TestSignedCalls(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, hooked("j", job.Webhook{Signed: true}), hooked("both", job.Webhook{Signed: true, TokenSHA256: ofTest}), hooked("plain", job.Webhook{TokenSHA256: ofTest}))
	body := []byte(`{"type":"push","params":{"ref":"main"},"data":{"n":1}}`)
	from := 0
	call := func(name string, c webhook.Call) (job.FireID, error) {
		from++
		c.From, c.Body = fmt.Sprint("10.0.0.", from), body
		return e.Hook(t.Context(), jobNamed(name), c)
	}
	forbidden := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, job.ErrForbidden) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := e.WebhookSecret(t.Context(), jobNamed("plain"), "", api.Order{}); !isInvalid(err) {
		t.Errorf("a secret for calls that need none: %v", err)
	}
	if _, err := e.WebhookSecret(t.Context(), jobNamed("j"), "whsec_short", api.Order{}); !isInvalid(err) {
		t.Errorf("a secret that is none: %v", err)
	}
	stray, err := webhook.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	_, err = call("j", webhook.Call{Signed: stray.Sign("msg_1", e.now(), body)})
	forbidden("before there is a secret", err)
	secret := e.signer(t, "j", "")

	_, err = call("j", webhook.Call{Token: "test"})
	forbidden("without a signature", err)
	_, err = call("j", webhook.Call{Signed: stray.Sign("msg_1", e.now(), body)})
	forbidden("by another secret", err)
	first, err := call("j", webhook.Call{Signed: secret.Sign("msg_1", e.now(), body)})
	if err != nil {
		t.Fatal(err)
	}
	again, err := call("j", webhook.Call{Signed: secret.Sign("msg_1", e.now(), body), Key: "mine"})
	if err != nil || again != first {
		t.Errorf("the same call again: %v, %v; want %v", again, err, first)
	}
	old := secret.Sign("msg_2", e.now(), body)
	e.pass(webhook.Tolerance + time.Second)
	_, err = call("j", webhook.Call{Signed: old})
	forbidden("one that was overheard", err)
	if got := e.triggers(t); len(got) != 1 || got[0].Params["ref"] != "main" {
		t.Errorf("started: %+v", got)
	}

	given, err := webhook.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	e.signer(t, "j", given.Text())
	_, err = call("j", webhook.Call{Signed: secret.Sign("msg_3", e.now(), body)})
	forbidden("by the former secret", err)
	if _, err := call("j", webhook.Call{Signed: given.Sign("msg_3", e.now(), body)}); err != nil {
		t.Errorf("by the new secret: %v", err)
	}

	both := e.signer(t, "both", "")
	_, err = call("both", webhook.Call{Signed: both.Sign("msg_1", e.now(), body)})
	forbidden("signed, and without the token", err)
	_, err = call("both", webhook.Call{Token: "test"})
	forbidden("with the token, and not signed", err)
	if _, err := call("both", webhook.Call{Token: "test", Signed: both.Sign("msg_1", e.now(), body)}); err != nil {
		t.Errorf("with both: %v", err)
	}
	if r := e.records(t, 10); len(r) == 0 || r[0].Action != "job.webhook-secret" || r[0].By != "ada" || len(r[0].Changes) != 0 {
		t.Errorf("the record of a secret: %+v", r)
	}
}

func isInvalid(err error) bool { return errors.As(err, new(*job.InvalidError)) }

// TestNamedCallsStartOnce: of calls by one name, however many at a time, one starts a run,
// and all are told the same; another content by that name is refused.
func TestNamedCallsStartOnce(t *testing.T) {
	t.Parallel()
	e := setup(t)
	clocked := setupOn(t, e.srv, func(_ *Config, d *Deps) { d.Now = time.Now }) // no two calls at one instant
	clocked.apply(t, hooked("j", job.Webhook{TokenSHA256: ofTest}))
	e.apply(t, hooked("j", job.Webhook{TokenSHA256: ofTest}), hooked("other", job.Webhook{TokenSHA256: ofTest}))
	call := func(name, key, body string) (job.FireID, error) {
		return e.Hook(t.Context(), jobNamed(name), webhook.Call{Token: "test", Key: key, Body: []byte(body), From: "10.0.0.1"})
	}
	fires := make([]job.FireID, 10)
	var all sync.WaitGroup
	for i := range fires {
		all.Go(func() {
			var err error
			if fires[i], err = clocked.Hook(t.Context(), jobNamed("j"), webhook.Call{Token: "test", Key: "a", From: "10.0.0.1"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, f := range fires {
		if f != fires[0] || f == (job.FireID{}) {
			t.Fatalf("told %v", fires)
		}
	}
	if n := len(clocked.triggers(t)); n != 1 {
		t.Errorf("%d runs", n)
	}
	first, err := call("j", "a", "")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := call("j", "a", ""); err != nil || again != first {
		t.Errorf("again: %v, %v", again, err)
	}
	if _, err := call("j", "a", `{"params":{"x":"1"}}`); !isInvalid(err) {
		t.Errorf("another content: %v", err)
	}
	for _, c := range [][2]string{{"j", "b"}, {"j", ""}, {"j", ""}, {"other", "a"}} {
		if f, err := call(c[0], c[1], ""); err != nil || f == first {
			t.Errorf("%v: %v, %v", c, f, err)
		}
	}
	if _, err := call("j", string(make([]byte, 300)), ""); !isInvalid(err) {
		t.Errorf("a long name: %v", err)
	}
	for _, body := range []string{"x", `{"foo":1}`, `{"params":[]}`, `{} {}`} {
		if _, err := call("j", "", body); !isInvalid(err) {
			t.Errorf("%s: %v", body, err)
		}
	}
	// After an hour the name is free.
	e.pass(time.Hour)
	if f, err := call("j", "a", `{"params":{"x":"1"}}`); err != nil || f == first {
		t.Errorf("an hour later: %v, %v", f, err)
	}
}

// TestHooksAreSwept: calls that are old, and secrets of jobs that are gone, are forgotten;
// others are kept.
func TestHooksAreSwept(t *testing.T) {
	t.Parallel()
	e := setup(t)
	e.apply(t, hooked("j", job.Webhook{Signed: true}), hooked("gone", job.Webhook{Signed: true}), hooked("new", job.Webhook{TokenSHA256: ofTest, MaxPerMinute: 600}))
	e.signer(t, "j", "")
	e.signer(t, "gone", "")
	call := func(key string) {
		t.Helper()
		if _, err := e.Hook(t.Context(), jobNamed("new"), webhook.Call{Token: "test", Key: key, From: "10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 130 { // more than one transaction takes
		e.pass(time.Millisecond) // a job starts once at an instant
		call(fmt.Sprint("old", n))
	}
	e.pass(time.Hour)
	call("fresh")
	if _, err := e.Delete(t.Context(), jobNamed("gone")); err != nil {
		t.Fatal(err)
	}
	e.apply(t, hooked("gone", job.Webhook{Signed: true})) // another job of that name
	if err := e.SweepHooks(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls, secrets := e.keysUnder(t, e.keys.HookCalls()), e.keysUnder(t, e.keys.HookSecrets()); len(calls) != 1 || len(secrets) != 1 ||
		!strings.HasSuffix(secrets[0], e.storedJob(t, "j").UID.String()) {
		t.Errorf("left: %v, %v", calls, secrets)
	}
}
