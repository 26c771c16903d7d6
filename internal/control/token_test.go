package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// another returns a second node of the same cluster, with the same clock.
func (e *env) another(t *testing.T) *Control {
	t.Helper()
	c, err := New(Config{Node: "n2", Version: "1.2.3", Keys: e.keys, Meta: etcdkv.Meta{Schema: 1, ClusterID: "c1", Epoch: 3, Shards: testShards}},
		Deps{Client: e.cli, History: e.runs, Live: e.runs, Outputs: e.out, Minions: fakeMinions(nil), Now: e.now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// watching has a node keep up with its tokens until the test ends, or what is returned
// is called.
func watching(t *testing.T, c *Control) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.WatchAccess(ctx)
	}()
	end = func() { cancel(); <-ended }
	t.Cleanup(end)
	return end
}

// seen waits until a node's view has a token: from where too many were wrong, only
// such a one is let in.
func (e *env) seen(t *testing.T, c *Control, text string) {
	t.Helper()
	for range 10 {
		refusedAs(t, c, "ct_nonsense", "probe")
	}
	await.Until(t, "the view has the token", func() bool { return refusedAs(t, c, text, "probe") == "" })
}

func (e *env) token(t *testing.T, name string, ttl time.Duration) api.APIToken {
	t.Helper()
	v, err := e.CreateAPIToken(t.Context(), api.APITokenRequest{Name: name, TTL: ttl, Order: api.Order{By: "ada"}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// refusedAs returns why a text is refused; empty: it is not.
func refusedAs(t *testing.T, c *Control, text, from string) string {
	t.Helper()
	var refused *caller.RefusedError
	_, err := c.ByToken(t.Context(), text, from)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refused):
		return refused.Reason
	}
	return "not refused, but: " + err.Error()
}

// TestI1_TheTextOfATokenIsNowhere: etcd has neither the text nor a part of it, and no
// list shows it.
func TestI1_TheTextOfATokenIsNowhere(t *testing.T) {
	t.Parallel()
	e := setup(t)
	v := e.token(t, "ci", time.Hour)
	if !strings.HasPrefix(v.Text, "ct_") || v.Name != "ci" || v.Owner != "ada" || !v.ExpiresAt.Equal(e.now().Add(time.Hour)) || strings.Contains(v.Text, v.ID) {
		t.Errorf("made: %+v", v)
	}
	resp, err := e.cli.Get(t.Context(), e.keys.Root(), clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) < 3 {
		t.Fatalf("%v keys, %v", resp.Count, err)
	}
	for _, kv := range resp.Kvs {
		if strings.Contains(string(kv.Key)+string(kv.Value), v.Text[3:15]) {
			t.Errorf("%s has the text", kv.Key)
		}
	}
	all, err := e.APITokens(t.Context())
	if err != nil || len(all) != 1 || all[0].Text != "" || all[0].ID != v.ID || all[0].Expired {
		t.Errorf("list: %+v, %v", all, err)
	}
}

// TestI2_WhatIsNotGoodIsRefused: expired, revoked, another cluster's, and no token at all.
func TestI2_WhatIsNotGoodIsRefused(t *testing.T) {
	t.Parallel()
	e, other := setup(t), setup(t)
	n2 := e.another(t)
	watching(t, n2)
	good, short, foreign := e.token(t, "ci", time.Hour), e.token(t, "short", time.Minute), other.token(t, "ci", time.Hour)
	got, err := e.ByToken(t.Context(), good.Text, "10.0.0.1")
	if err != nil || got.Name != "token ci" || got.Remote != "10.0.0.1" || got.Local || !slices.Equal(got.Subjects, []rights.Subject{{Kind: rights.Token, Name: "ci"}}) {
		t.Fatalf("the good one is %+v, %v", got, err)
	}
	if why := refusedAs(t, e.Control, short.Text, "a"); why != "" {
		t.Errorf("before it expires: %s", why)
	}
	e.pass(time.Minute)
	for name, tc := range map[string]struct{ text, want string }{
		"expired":           {short.Text, "the token short expired at 2026-05-04T10:31:15Z"},
		"another cluster's": {foreign.Text, "no such token"},
		"cut":               {good.Text[:40], "not of the form"},
		"mistyped":          {good.Text[:51] + map[bool]string{true: "1", false: "0"}[good.Text[51] == '0'], "typing error"},
		"empty":             {"", "not of the form"},
	} {
		for node, c := range map[string]*Control{"n1": e.Control, "n2": n2} {
			if why := refusedAs(t, c, tc.text, name); !strings.Contains(why, tc.want) {
				t.Errorf("%s at %s: %q, want %q", name, node, why, tc.want)
			}
		}
	}

	// Revoked: at once where it was revoked, and at the others once they hear of it.
	if why := refusedAs(t, n2, good.Text, "b"); why != "" {
		t.Errorf("at another node: %s", why)
	}
	if err := e.RevokeAPIToken(t.Context(), "ci", api.Order{By: "ada", Reason: "it was in a log"}); err != nil {
		t.Fatal(err)
	}
	if why := refusedAs(t, e.Control, good.Text, "c"); !strings.Contains(why, "it was revoked") {
		t.Errorf("revoked: %q", why)
	}
	await.Until(t, "the other node refuses it", func() bool { return refusedAs(t, n2, good.Text, "d") != "" })
	if err := e.RevokeAPIToken(t.Context(), "ci", api.Order{}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("revoked again: %v", err)
	}
	// By its ID, too.
	if err := e.RevokeAPIToken(t.Context(), short.ID, api.Order{}); err != nil {
		t.Error(err)
	}
}

// TestI2_RevokedBeforeTheWatch: the node that revokes does not wait for its own view.
func TestI2_RevokedBeforeTheWatch(t *testing.T) {
	t.Parallel()
	e := setup(t)
	end := watching(t, e.Control)
	v := e.token(t, "ci", time.Hour)
	e.seen(t, e.Control, v.Text)
	end() // the view stays as it is
	if err := e.RevokeAPIToken(t.Context(), "ci", api.Order{}); err != nil {
		t.Fatal(err)
	}
	if why := refusedAs(t, e.Control, v.Text, "a"); !strings.Contains(why, "it was revoked") {
		t.Errorf("revoked: %q", why)
	}
}

// TestI3_ANewTokenIsGoodEverywhere: also at a node whose view does not have it.
func TestI3_ANewTokenIsGoodEverywhere(t *testing.T) {
	t.Parallel()
	e := setup(t)
	v := e.token(t, "ci", time.Hour)
	if why := refusedAs(t, e.another(t), v.Text, "a"); why != "" {
		t.Errorf("refused: %s", why)
	}
}

// TestI4_GuessesCostLittle: after a few wrong credentials nothing is looked up for an
// address until a minute has passed; others, and what the node knows, are let in.
func TestI4_GuessesCostLittle(t *testing.T) {
	t.Parallel()
	e, other := setup(t), setup(t)
	watching(t, e.Control)
	known, foreign := e.token(t, "ci", time.Hour), other.token(t, "x", time.Hour)
	e.seen(t, e.Control, known.Text)
	for n := range 10 {
		if why := refusedAs(t, e.Control, foreign.Text, "guesser"); !strings.Contains(why, "no such token") {
			t.Fatalf("guess %d: %s", n, why)
		}
	}
	var busy *caller.BusyError
	for _, text := range []string{foreign.Text, "ct_nonsense"} {
		if _, err := e.ByToken(t.Context(), text, "guesser"); !errors.As(err, &busy) || busy.RetryAfter <= 0 || busy.RetryAfter > 2*time.Minute {
			t.Errorf("after the guesses: %v", err)
		}
	}
	if why := refusedAs(t, e.Control, known.Text, "guesser"); why != "" {
		t.Errorf("a good token from there: %s", why)
	}
	if why := refusedAs(t, e.Control, foreign.Text, "another"); !strings.Contains(why, "no such token") {
		t.Errorf("another address: %s", why)
	}
	e.pass(time.Minute)
	if why := refusedAs(t, e.Control, foreign.Text, "guesser"); !strings.Contains(why, "no such token") {
		t.Errorf("a minute later: %s", why)
	}
}

// TestI5_NamesAreNotGivenAgain, and what a token must have is said all at once.
func TestI5_NamesAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	e := setup(t, func(c *Config, _ *Deps) { c.TokenMaxAge = 24 * time.Hour })
	e.token(t, "ci", time.Hour)
	again := api.APITokenRequest{Name: "ci", TTL: time.Hour}
	if _, err := e.CreateAPIToken(t.Context(), again); !errors.Is(err, job.ErrConflict) {
		t.Errorf("while it is there: %v", err)
	}
	if err := e.RevokeAPIToken(t.Context(), "ci", api.Order{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.CreateAPIToken(t.Context(), again); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), "choose another name") {
		t.Errorf("after it was revoked: %v", err)
	}
	for _, tc := range []struct {
		req  api.APITokenRequest
		want string
	}{
		{api.APITokenRequest{Name: "a b"}, "name: "},
		{api.APITokenRequest{Name: "a b"}, "ttlSeconds: is not given"},
		{api.APITokenRequest{Name: "ok", TTL: 24*time.Hour + time.Second}, "lasts 24h0m0s at most (--token-max-age of the node)"},
	} {
		if _, err := e.CreateAPIToken(t.Context(), tc.req); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.req, err, tc.want)
		}
	}
}

// TestI5_NamesAreNoIDs: who may make tokens cannot have `token revoke ID` end another one
// than is meant.
func TestI5_NamesAreNoIDs(t *testing.T) {
	t.Parallel()
	e := setup(t)
	v := e.token(t, "ci", time.Hour)
	for _, name := range []string{v.ID, "prefetcher", "0000000000"} {
		var invalid *job.InvalidError
		if _, err := e.CreateAPIToken(t.Context(), api.APITokenRequest{Name: name, TTL: time.Hour}); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "has the form of a token's ID") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"deployment", "prefetchers", "Prefetcher", "pre-fetch", "pre-fetche"} { // with o; longer; not small; with '-'
		e.token(t, name, time.Hour)
	}
	if err := e.RevokeAPIToken(t.Context(), v.ID, api.Order{}); err != nil {
		t.Fatal(err)
	}
	if why := refusedAs(t, e.Control, v.Text, "a"); !strings.Contains(why, "it was revoked") {
		t.Errorf("the one that was meant: %q", why)
	}
}

// TestI6_TokensAreOnRecord: with who made and who revoked them, as it is proven.
func TestI6_TokensAreOnRecord(t *testing.T) {
	t.Parallel()
	e := setup(t)
	v := e.token(t, "ci", time.Hour)
	proven := caller.With(t.Context(), caller.Caller{Name: "root (socket)", Local: true})
	if err := e.RevokeAPIToken(proven, "ci", api.Order{By: "somebody", Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	records := e.records(t, 10)
	if len(records) != 2 {
		t.Fatalf("%+v", records)
	}
	made, revoked := records[1], records[0]
	if revoked.Action == "apitoken.create" { // the clock of the test stands still
		made, revoked = revoked, made
	}
	if made.Action != "apitoken.create" || made.By != "ada" || made.Object != "ci" || !strings.Contains(made.Reason, v.ID) {
		t.Errorf("made: %+v", made)
	}
	if revoked.Action != "apitoken.revoke" || revoked.By != "root (socket)" || revoked.Reason != "done" || strings.Contains(fmt.Sprint(revoked), v.Text[3:20]) {
		t.Errorf("revoked: %+v", revoked)
	}
}

// TestUseOfTokensIsNoted: once a minute, and not of those that are gone.
func TestUseOfTokensIsNoted(t *testing.T) {
	t.Parallel()
	e := setup(t)
	watching(t, e.Control)
	v := e.token(t, "ci", time.Hour)
	use := func() api.APIToken {
		t.Helper()
		if _, err := e.ByToken(t.Context(), v.Text, "10.0.0.1"); err != nil {
			t.Fatal(err)
		}
		all, err := e.APITokens(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0]
	}
	first := e.now()
	await.Until(t, "the use is noted", func() bool { return use().LastUsedAt.Equal(first) })
	e.pass(59 * time.Second)
	use()
	if got := use(); !got.LastUsedAt.Equal(first) || got.LastUsedFrom != "10.0.0.1" {
		t.Errorf("within the minute: %+v", got)
	}
	e.pass(time.Second)
	await.Until(t, "the next use is noted", func() bool { return use().LastUsedAt.Equal(first.Add(time.Minute)) })
	if err := e.RevokeAPIToken(t.Context(), "ci", api.Order{}); err != nil {
		t.Fatal(err)
	}
	if left := e.keysUnder(t, e.keys.APITokenUses()); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestI7_TheStateIsKnownOrClosed: no key means open to a node that starts, what is not known
// means closed, and a key that goes means nothing.
func TestI7_TheStateIsKnownOrClosed(t *testing.T) {
	t.Parallel()
	e := setup(t)
	if got := e.State(); got != access.Closed {
		t.Errorf("before it is read: %s", got)
	}
	if err := e.ReadState(t.Context()); err != nil || e.State() != access.Open {
		t.Fatalf("without a key: %s, %v", e.State(), err)
	}
	watching(t, e.Control)
	set := func(state string) {
		text, err := etcdkv.Encode(etcdkv.Access{Schema: 1, State: state})
		if err != nil {
			t.Fatal(err)
		}
		e.put(t, e.keys.Access(), text)
	}
	for _, s := range []access.State{access.Noting, access.Closed, access.Open} {
		set(string(s))
		await.Until(t, "the node knows that the cluster is "+string(s), func() bool { return e.State() == s })
	}
	set("half")
	await.Until(t, "what is not known is closed", func() bool { return e.State() == access.Closed })
	if err := e.another(t).ReadState(t.Context()); err == nil || !strings.Contains(err.Error(), `"half", which this release does not know`) {
		t.Errorf("a node starts: %v", err)
	}
	if _, err := e.cli.Delete(t.Context(), e.keys.Access()); err != nil {
		t.Fatal(err)
	}
	// A node that serves stays as it was: a promotion deletes what is there first.
	if again := e.another(t); again.ReadState(t.Context()) != nil || again.State() != access.Open {
		t.Errorf("a node that starts without a key: %s", again.State())
	}
	hold, err := etcdkv.Encode(etcdkv.Hold{Schema: 1, State: etcdkv.HoldRestoring})
	if err != nil {
		t.Fatal(err)
	}
	e.put(t, e.keys.Hold(), hold)
	if again := e.another(t); again.ReadState(t.Context()) != nil || again.State() != access.Closed {
		t.Errorf("a node that starts without a key while a restore is under way: %s", again.State())
	}
	set(string(access.Noting))
	await.Until(t, "the node knows what comes after", func() bool {
		if e.State() == access.Open {
			t.Fatal("it was open meanwhile")
		}
		return e.State() == access.Noting
	})
}

// TestTokensAreRotated: a token has another text under its name and id; the former one ends
// at once, or after the grace, and with the token.
func TestTokensAreRotated(t *testing.T) {
	t.Parallel()
	e := setup(t)
	n2 := e.another(t)
	watching(t, n2)
	rotate := func(ref string, req api.TokenRotation) api.APIToken {
		t.Helper()
		req.By = "ada"
		v, err := e.RotateAPIToken(t.Context(), ref, req)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := e.token(t, "ci", 2*time.Hour)
	session, _, err := e.Login(t.Context(), first.Text, "page")
	if err != nil {
		t.Fatal(err)
	}
	second := rotate("ci", api.TokenRotation{})
	if second.ID != first.ID || second.Owner != first.Owner || !second.ExpiresAt.Equal(first.ExpiresAt) || second.Text == first.Text || !second.FormerUntil.IsZero() {
		t.Errorf("%+v, and was %+v", second, first)
	}
	for name, c := range map[string]*Control{"here": e.Control, "another node": n2} {
		await.Until(t, name+" refuses the former text", func() bool { return refusedAs(t, c, first.Text, "a") != "" })
		if why := refusedAs(t, c, second.Text, "b"); why != "" {
			t.Errorf("%s: the new text: %s", name, why)
		}
	}
	if _, err := e.BySession(t.Context(), session, "page"); err == nil {
		t.Error("a session by the former text goes on")
	}
	// With a grace, which is not longer than the token was to last.
	third := rotate(first.ID, api.TokenRotation{TTL: 24 * time.Hour, Grace: time.Hour})
	if !third.FormerUntil.Equal(e.now().Add(time.Hour)) || !third.ExpiresAt.Equal(e.now().Add(24*time.Hour)) {
		t.Errorf("%+v", third)
	}
	e.pass(30 * time.Minute)
	for _, v := range []api.APIToken{second, third} {
		got, err := e.ByToken(t.Context(), v.Text, "c")
		if err != nil || got.Name != "token ci" {
			t.Errorf("within the grace: %+v, %v", got, err)
		}
		if v.Text == second.Text && !got.Until.Equal(third.FormerUntil) {
			t.Errorf("the former text is good until %s", got.Until)
		}
	}
	all, err := e.APITokens(t.Context())
	if err != nil || len(all) != 1 || !all[0].FormerUntil.Equal(third.FormerUntil) {
		t.Errorf("list: %+v, %v", all, err)
	}
	e.pass(30 * time.Minute)
	if why := refusedAs(t, e.Control, second.Text, "d"); !strings.Contains(why, "the former text of the token ci") {
		t.Errorf("after the grace: %q", why)
	}
	// All texts end with the token.
	fourth := rotate("ci", api.TokenRotation{Grace: 24 * time.Hour})
	if err := e.RevokeAPIToken(t.Context(), "ci", api.Order{}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []api.APIToken{third, fourth} {
		if why := refusedAs(t, e.Control, v.Text, "e"); why == "" {
			t.Error("a text of a token that was revoked is good")
		}
	}
	// Nobody makes one last longer than a token may.
	e.token(t, "long", time.Hour)
	for _, req := range []api.TokenRotation{{TTL: access.DefaultMaxAge + time.Second}, {TTL: -1}, {Grace: api.MaxTokenGrace + 1}, {Grace: -1}} {
		var invalid *job.InvalidError
		if _, err := e.RotateAPIToken(t.Context(), "long", req); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v", req, err)
		}
	}
	rotate("long", api.TokenRotation{Grace: api.MaxTokenGrace})
	if all, err := e.APITokens(t.Context()); err != nil || !all[0].FormerUntil.Equal(all[0].ExpiresAt) {
		t.Errorf("a grace beyond the end: %+v, %v", all, err)
	}
	e.pass(time.Hour)
	if _, err := e.RotateAPIToken(t.Context(), "long", api.TokenRotation{}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("one that has expired: %v", err)
	}
	if _, err := e.RotateAPIToken(t.Context(), "nope", api.TokenRotation{}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	rotated := 0
	for _, r := range e.records(t, api.MaxAudit) {
		if r.Action == "apitoken.rotate" && r.By == "ada" {
			rotated++
		}
		if text := fmt.Sprintf("%+v", r); strings.Contains(text, third.Text[3:15]) || strings.Contains(text, second.Text[3:15]) {
			t.Errorf("a record has a text: %s", text)
		}
	}
	if rotated != 4 {
		t.Errorf("%d rotations are on record", rotated)
	}
}

// Who rotates a token may show it: it wants all that bindings give to its name.
func TestNobodyRotatesATokenOfMoreThanTheyHold(t *testing.T) {
	t.Parallel()
	e, _ := closed(t, role("granter", rule("grant", "tokens")), bound("ann", "granter", "ann"),
		manifest.Object{Kind: job.KindRoleBinding, Metadata: job.Metadata{Namespace: job.DefaultNamespace, Name: "boss"}, RoleBinding: job.RoleBindingSpec{
			Role: rights.Admin, Subjects: []job.RoleSubject{{Kind: string(rights.Token), Name: "boss"}},
		}})
	for _, name := range []string{"boss", "small"} {
		if _, err := e.CreateAPIToken(asRoot(t.Context()), api.APITokenRequest{Name: name, TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	ann := as(t.Context(), "ann")
	if _, err := e.RotateAPIToken(ann, "boss", api.TokenRotation{}); !errors.Is(err, job.ErrForbidden) {
		t.Errorf("an admin's: %v", err)
	}
	if _, err := e.RotateAPIToken(ann, "small", api.TokenRotation{}); err != nil {
		t.Errorf("one without rights: %v", err)
	}
}
