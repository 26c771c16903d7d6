package registrar

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"
)

// visit opens a connection to a node, and returns whether it was resumed, and
// the error that the node refuses it with.
func visit(t *testing.T, n *node, conf *tls.Config) (resumed bool, err error) {
	t.Helper()
	raw, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, conf)
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		return false, err
	}
	// gRPC speaks first once it trusts the client, and the ticket comes before.
	_, err = io.ReadFull(conn, make([]byte, 9))
	return conn.ConnectionState().DidResume, err
}

func credentialsOf(t *testing.T, dir, token string, servers ...string) *auth.Credentials {
	t.Helper()
	return credentialsAt(t, time.Now, dir, token, servers...)
}

func credentialsAt(t *testing.T, now func() time.Time, dir, token string, servers ...string) *auth.Credentials {
	t.Helper()
	c, err := auth.Open(auth.CredentialsConfig{Dir: dir, ID: "m1", Servers: servers, Token: token}, auth.CredentialsDeps{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tlsOf(t *testing.T, c *auth.Credentials) *tls.Config {
	t.Helper()
	conf, err := c.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func TestTheLifeOfAMinion(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	one, two := e.start(t, "n1"), e.start(t, "n2")
	var mu sync.Mutex
	var told []string
	for _, n := range []*node{one, two} {
		n.OnRevoke(func(id job.MinionID) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, string(n.cfg.Node)+" "+string(id))
		})
	}
	dir := t.TempDir()
	many := one.mustToken(t, TokenSpec{Uses: 10})
	c := credentialsOf(t, dir, many, one.addr)
	if err := c.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	conf := tlsOf(t, c)
	if _, err := visit(t, one, conf); err != nil {
		t.Fatalf("first connection: %v", err)
	}
	// A session that was begun with one node is resumed with another.
	await.Until(t, "the nodes share their tickets", func() bool {
		resumed, err := visit(t, two, conf)
		if err != nil {
			t.Fatalf("second connection: %v", err)
		}
		return resumed
	})
	if err := two.Revoke(t.Context(), "m1", "lost", "op"); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "both nodes tell", func() bool {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(told)
		return slices.Equal(told, []string{"n1 m1", "n2 m1"})
	})
	for _, n := range []*node{one, two} {
		if _, err := visit(t, n, conf); err == nil {
			t.Errorf("node %s took a revoked minion's session", n.cfg.Node)
		}
	}
	// The old token is worth nothing to it, a new one is.
	again := t.TempDir()
	if err := credentialsOf(t, again, many, one.addr).Join(t.Context()); !errors.Is(err, auth.ErrRefused) || !strings.Contains(err.Error(), "older than this minion's revocation") {
		t.Errorf("by the old token: %v", err)
	}
	c = credentialsOf(t, again, two.mustToken(t, TokenSpec{}), two.addr)
	if err := c.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{one, two} {
		if _, err := visit(t, n, tlsOf(t, c)); err != nil {
			t.Errorf("node %s refuses the minion that enrolled again: %v", n.cfg.Node, err)
		}
		if _, err := visit(t, n, tlsOf(t, credentialsOf(t, dir, "", one.addr))); err == nil {
			t.Errorf("node %s took the revoked certificate after another one was issued", n.cfg.Node)
		}
	}
	revs, err := one.Revoked(t.Context())
	if err != nil || len(revs) != 1 || revs[0].Reason != "lost" || revs[0].By != "op" {
		t.Errorf("revocations %+v, %v", revs, err)
	}
}

// TestI9_ANodeKnowsWhichNodeAnswers: nodes are clients of one another, and share
// the keys of tickets.
func TestI9_ANodeKnowsWhichNodeAnswers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	others := []*node{e.start(t, "n2"), e.start(t, "n3")}
	conf, err := e.start(t, "n1").ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, n := range others {
			var shown auth.Identity
			asked := conf.Clone()
			asked.VerifyConnection = func(cs tls.ConnectionState) error {
				shown, err = auth.IdentityOf(cs.PeerCertificates[0])
				return errors.Join(err, conf.VerifyConnection(cs))
			}
			if _, err := visit(t, n, asked); err != nil {
				t.Fatalf("a node at a node: %v", err)
			}
			if name, ok := shown.Node(); !ok || name != n.cfg.Node {
				t.Errorf("node %s answers, and the connection shows %s", n.cfg.Node, shown)
			}
		}
	}
}

func TestRunRenewsAtARegistrar(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.start(t, "n1")
	dir := t.TempDir()
	if err := credentialsOf(t, dir, n.mustToken(t, TokenSpec{}), n.addr).Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	for what, ahead := range map[string]time.Duration{"two thirds have passed": 17 * time.Hour, "it has not expired": 23 * time.Hour} {
		before := enrollment(t, e, "m1")
		c := credentialsAt(t, func() time.Time { return time.Now().Add(ahead) }, dir, "", n.addr)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		await.Until(t, "renewed when "+what, func() bool { return c.Standing().Identity.IssuedAt.After(before.IssuedAt) })
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if rec := enrollment(t, e, "m1"); rec.Serial != c.Standing().Identity.Serial || rec.Key != before.Key || !rec.EnrolledAt.Equal(before.EnrolledAt) || rec.Token == "" {
			t.Errorf("stored is %+v, want %s and how it was enrolled", rec, c.Standing().Identity.Serial)
		}
	}
}

// I4, I5: whatever is done in whatever order, by nodes whose clocks differ by
// hours, revocations cover all that was issued before them, and nothing else.
func TestI5_RevocationsCoverWhatWasIssuedBefore(t *testing.T) {
	t.Parallel()
	client := shared.Server(t).Client(t)
	prefix := etcdtest.Prefix(t)
	var cases int
	rapid.Check(t, func(rt *rapid.T) {
		cases++
		e := &env{client: client, keys: etcdkv.NewKeys(prefix + "/" + time.Duration(cases).String())}
		start := time.Now()
		var nodes []*Registrar
		var clocks []*clock
		for i := range 3 {
			c := &clock{t: start.Add(time.Duration(rapid.IntRange(-7200, 7200).Draw(rt, "clock")) * time.Second)}
			clocks = append(clocks, c)
			nodes = append(nodes, e.open(rt, job.NodeID("n"+string(rune('1'+i))), c.now))
		}
		type issued struct {
			id      auth.Identity
			revoked bool
		}
		var all []issued
		h := newHost(rt, "m1")
		enrolled := false
		got := func(id auth.Identity, err error) {
			if err != nil {
				rt.Fatalf("refused: %v", err)
			}
			if n := len(all); n > 0 && !id.IssuedAt.After(all[n-1].id.IssuedAt) {
				rt.Fatalf("issued %s after one of %s", id.IssuedAt, all[n-1].id.IssuedAt)
			}
			all = append(all, issued{id: id})
			enrolled = true
		}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			i := rapid.IntRange(0, 2).Draw(rt, "node")
			r := nodes[i]
			switch op := rapid.SampledFrom([]string{"join", "renew", "revoke", "wait", "stale"}).Draw(rt, "op"); {
			case op == "wait":
				clocks[i].pass(time.Duration(rapid.IntRange(0, 3).Draw(rt, "seconds")) * time.Second)
			case op == "join" && !enrolled:
				h = newHost(rt, "m1")
				got(h.join(rt, r, r.mustToken(rt, TokenSpec{TTL: 24 * time.Hour})))
			case op == "join":
				got(h.join(rt, r, ""))
			case op == "renew" && enrolled:
				got(h.renew(rt, r, all[len(all)-1].id))
			case op == "revoke" && enrolled:
				if err := r.Revoke(context.Background(), "m1", "", ""); err != nil {
					rt.Fatal(err)
				}
				for k := range all {
					all[k].revoked = true
				}
				enrolled = false
			case op == "stale" && len(all) > 0 && all[0].revoked:
				if _, err := h.renew(rt, r, all[0].id); err == nil {
					rt.Fatal("a revoked certificate was renewed")
				}
			}
		}
		seen := e.open(rt, "n4", nil).revoked
		for _, c := range all {
			if seen.Revoked(c.id) != c.revoked {
				rt.Errorf("issued %s: revoked %v, want %v", c.id.IssuedAt, seen.Revoked(c.id), c.revoked)
			}
		}
	})
}

func TestI4_RenewalsThatCrossARevocation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	one, two := e.open(t, "n1", nil), e.open(t, "n2", nil)
	for range 10 {
		h := newHost(t, "m1")
		who, err := h.join(t, one, one.mustToken(t, TokenSpec{}))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		got := []auth.Identity{who}
		var wg sync.WaitGroup
		for _, r := range []*Registrar{one, two} {
			wg.Go(func() {
				for {
					id, err := h.renew(t, r, who)
					if err != nil {
						wantCode(t, "after the revocation", err, codes.PermissionDenied)
						return
					}
					mu.Lock()
					got = append(got, id)
					mu.Unlock()
				}
			})
		}
		for err := one.Revoke(t.Context(), "m1", "", ""); err != nil; err = one.Revoke(t.Context(), "m1", "", "") {
			if !errors.Is(err, job.ErrConflict) {
				t.Fatal(err)
			}
		}
		wg.Wait()
		seen := e.open(t, "n3", nil).revoked
		for _, id := range got {
			if !seen.Revoked(id) {
				t.Errorf("issued %s, and not revoked", id.IssuedAt)
			}
		}
	}
}

func TestRevokeRefuses(t *testing.T) {
	t.Parallel()
	r := newEnv(t).open(t, "n1", nil)
	if err := r.Revoke(t.Context(), "m1", "", ""); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("not enrolled: %v, want ErrNotFound", err)
	}
	var invalid *job.InvalidError
	if err := r.Revoke(t.Context(), "../ca", "", ""); !errors.As(err, &invalid) {
		t.Errorf("a path: %v, want an InvalidError", err)
	}
	if _, err := newHost(t, "m1").join(t, r, r.mustToken(t, TokenSpec{})); err != nil {
		t.Fatal(err)
	}
	if err := r.Revoke(t.Context(), "m1", "", "op"); err != nil {
		t.Fatal(err)
	}
	if err := r.Revoke(t.Context(), "m1", "", "op"); !errors.Is(err, job.ErrConflict) || !strings.Contains(err.Error(), `by "op"`) {
		t.Errorf("twice: %v, want ErrConflict and who it was", err)
	}
	// The host asks again by its key alone: that is a request.
	h := newHost(t, "m1")
	if id, err := h.join(t, r, ""); err != nil || id != (auth.Identity{}) {
		t.Errorf("without a token: %v, %v; want pending", id, err)
	}
}

func TestRevocationsFollowWhatIsStored(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	r := newRevocations("p/", zap.NewNop())
	var told []job.MinionID
	r.onRaise(func(id job.MinionID) { told = append(told, id) })
	stored := func(id job.MinionID, before time.Time) etcdkv.Event {
		text, err := etcdkv.Encode(etcdkv.Revocation{ID: id, Before: before})
		if err != nil {
			t.Fatal(err)
		}
		return etcdkv.Event{Key: "p/" + string(id), Value: []byte(text)}
	}
	revoked := func(name string, issued time.Time) bool {
		return r.Revoked(auth.Identity{Kind: auth.KindMinion, Name: name, IssuedAt: issued})
	}
	apply := func(b etcdkv.Batch) {
		if err := r.apply(b); err != nil {
			t.Fatal(err)
		}
	}
	apply(etcdkv.Batch{Relist: true, Events: []etcdkv.Event{stored("a", at), stored("b", at), {Key: "p/bad", Value: []byte("{")}}})
	if !revoked("a", at) || revoked("a", at.Add(time.Second)) || revoked("c", at) {
		t.Error("a revocation is up to its instant, and of its minion")
	}
	if !revoked("bad", at.AddDate(100, 0, 0)) {
		t.Error("a revocation that cannot be read must refuse")
	}
	if r.Revoked(auth.Identity{Kind: auth.KindNode, Name: "a", IssuedAt: at}) {
		t.Error("a node is not revoked by a minion's revocation")
	}
	apply(etcdkv.Batch{Relist: true, Events: []etcdkv.Event{stored("a", at)}})
	if revoked("b", at) || !revoked("a", at) {
		t.Error("a relist drops what is gone, and that only")
	}
	apply(etcdkv.Batch{Events: []etcdkv.Event{stored("a", at.Add(time.Second))}})
	apply(etcdkv.Batch{Events: []etcdkv.Event{{Key: "p/a"}}})
	if revoked("a", at) {
		t.Error("a deleted revocation still counts")
	}
	if want := []job.MinionID{"a", "b", "bad", "a"}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v: each revocation once", told, want)
	}
}

func TestTicketsRotateOnceADay(t *testing.T) {
	t.Parallel()
	e, c := newEnv(t), newClock()
	one, two := e.open(t, "n1", c.now), e.open(t, "n2", c.now)
	keys := func() []etcdkv.TicketKey {
		text, _ := e.get(t, e.keys.AuthTickets())
		v, err := etcdkv.Decode[etcdkv.Tickets]("tickets", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return v.Keys
	}
	first := keys()
	if len(first) != 1 {
		t.Fatalf("%d keys after two nodes have started, want 1", len(first))
	}
	for day := 1; day <= 4; day++ {
		c.pass(ticketLife)
		before := keys()
		var wg sync.WaitGroup
		for _, r := range []*Registrar{one, two, one, two} {
			wg.Go(func() {
				if err := r.rotate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		now := keys()
		if want := min(day+1, ticketsKept); len(now) != want || string(now[1].Key) != string(before[0].Key) || string(now[0].Key) == string(before[0].Key) {
			t.Errorf("day %d: %d keys, want %d with one new in front", day, len(now), want)
		}
	}
}

func TestSweepRemovesWhatIsOld(t *testing.T) {
	t.Parallel()
	e, c := newEnv(t), newClock()
	r := e.open(t, "n1", c.now)
	r.mustToken(t, TokenSpec{})
	kept := r.mustToken(t, TokenSpec{TTL: 48 * time.Hour})
	for _, id := range []job.MinionID{"old", "approved"} {
		if _, err := newHost(t, id).join(t, r, ""); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(requestLife / 2)
	reqs, err := r.Requests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Approve(t.Context(), "approved", Approval{Key: auth.Fingerprint(reqs[0].Keys[0].Key), By: "op"}); err != nil {
		t.Fatal(err)
	}
	c.pass(requestLife / 2)
	if err := r.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	tokens, err1 := r.Tokens(t.Context())
	reqs, err2 := r.Requests(t.Context())
	if err := errors.Join(err1, err2); err != nil || len(tokens) != 1 || tokens[0].ID != kept[:8] || len(reqs) != 1 || reqs[0].ID != "approved" {
		t.Errorf("left are tokens %+v, requests %+v (%v); want what is young", tokens, reqs, err)
	}
}

func TestANodeRenewsItsOwnCertificate(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newEnv(t).open(t, "n1", c.now, func(c *Config) { c.NodeTTL = 3 * time.Hour })
	serial := func() string {
		cert, err := r.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.SerialNumber.String()
	}
	first := serial()
	c.pass(2*time.Hour - 1)
	if serial() != first {
		t.Error("renewed before two thirds of its life")
	}
	c.pass(1)
	if serial() == first {
		t.Error("not renewed after two thirds of its life")
	}
}

func TestOpenTellsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{MinionTTL: 1, MaxRequests: -1}, Deps{})
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	for _, want := range []string{"node: is empty", "Keys", "Client", "last 1ns", "max requests is -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

// TestCallerOnAnOldConnection: a connection that was opened before its
// certificate was revoked proves nothing any more.
func TestCallerOnAnOldConnection(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	id := auth.Identity{Kind: auth.KindMinion, Name: "m1", IssuedAt: at}
	ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: auth.AuthInfo{Identity: id}})
	r := &Registrar{revoked: newRevocations("p/", zap.NewNop())}
	if got, err := r.Caller(ctx); err != nil || got != id {
		t.Errorf("before: %v, %v", got, err)
	}
	r.revoked.raise("m1", at)
	if _, err := r.Caller(ctx); !errors.Is(err, auth.ErrRevoked) {
		t.Errorf("after the revocation: %v", err)
	}
	if _, err := r.Caller(t.Context()); !errors.Is(err, auth.ErrNoIdentity) {
		t.Errorf("nobody: %v", err)
	}
}
