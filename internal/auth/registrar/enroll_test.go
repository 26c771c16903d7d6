package registrar

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/job"

	"google.golang.org/grpc/peer"
)

func TestI1_OneAuthorityHoweverManyNodesStart(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	hashes := make([]string, 8)
	var wg sync.WaitGroup
	for i := range hashes {
		wg.Go(func() {
			r, err := Open(t.Context(), Config{Node: job.NodeID(fmt.Sprintf("n%d", i)), Keys: e.keys}, Deps{Client: e.client})
			if err != nil {
				t.Error(err)
				return
			}
			hashes[i] = auth.CAHash(r.Authority().Certificate())
		})
	}
	wg.Wait()
	slices.Sort(hashes)
	if one := slices.Compact(hashes); len(one) != 1 {
		t.Errorf("authorities %v, want one", one)
	}
}

func TestI2_ATokenEnrollsAsManyAsItHasUses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	nodes := []*Registrar{e.open(t, "n1", nil), e.open(t, "n2", nil)}
	token := nodes[0].mustToken(t, TokenSpec{Uses: 5})
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		h := newHost(t, job.MinionID(fmt.Sprintf("m%d", i)))
		wg.Go(func() {
			_, errs[i] = h.join(t, nodes[i%2], token)
		})
	}
	wg.Wait()
	enrolled := 0
	for _, err := range errs {
		if err == nil {
			enrolled++
			continue
		}
		wantCode(t, "one too many", err, codes.PermissionDenied)
	}
	all, err := nodes[0].Enrolled(t.Context())
	if err != nil || enrolled != 5 || len(all) != 5 {
		t.Errorf("%d were told so, %d are stored (%v); want 5", enrolled, len(all), err)
	}
	if left, err := nodes[0].Tokens(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("the used up token is kept: %v, %v", left, err)
	}
}

func TestARepeatedJoinUsesNoToken(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	r := e.open(t, "n1", newClock().now)
	token := r.mustToken(t, TokenSpec{})
	h := newHost(t, "m1")
	first, err := h.join(t, r, token)
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range []string{token, ""} { // the answer was lost; the certificate has expired
		again, err := h.join(t, r, tok)
		if err != nil || !again.IssuedAt.After(first.IssuedAt) {
			t.Errorf("by its key: %+v, %v; want a later certificate", again, err)
		}
		first = again
	}
	if rec := enrollment(t, e, "m1"); rec.Token != token[:8] || rec.Serial != first.Serial || !rec.IssuedAt.Equal(first.IssuedAt) {
		t.Errorf("stored is %+v, want the token, and the certificate issued last (%+v)", rec, first)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	e, c := newEnv(t), newClock()
	r := e.open(t, "n1", c.now)
	good := r.mustToken(t, TokenSpec{TTL: 2 * time.Hour, Uses: 9})
	short := r.mustToken(t, TokenSpec{TTL: time.Hour})
	web := r.mustToken(t, TokenSpec{TTL: 2 * time.Hour, Uses: 2, Minions: "web-*"})
	gone := r.mustToken(t, TokenSpec{TTL: 2 * time.Hour})
	if err := r.DeleteToken(t.Context(), gone[:8]); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteToken(t.Context(), gone[:8]); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("deleted twice: %v, want ErrNotFound", err)
	}
	forged := good[:9] + strings.Repeat("0", 32) + good[41:]
	c.pass(time.Hour)
	for name, tc := range map[string]struct {
		id    job.MinionID
		token string
		code  codes.Code
		want  string
	}{
		"good":     {"db-1", good, codes.OK, ""},
		"pattern":  {"web-1", web, codes.OK, ""},
		"other id": {"db-2", web, codes.PermissionDenied, "for minions named web-* only"},
		"expired":  {"db-3", short, codes.PermissionDenied, "has expired"},
		"deleted":  {"db-4", gone, codes.PermissionDenied, "is not known"},
		"forged":   {"db-5", forged, codes.PermissionDenied, "is not known"},
		"no token": {"db-6", "secret", codes.InvalidArgument, "ID.SECRET.CAHASH"},
		"bad id":   {"-db", good, codes.InvalidArgument, "begins or ends"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newHost(t, tc.id).join(t, r, tc.token)
			wantCode(t, name, err, tc.code)
			if err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), good[9:41])) {
				t.Errorf("error is %v, want %q and no secret", err, tc.want)
			}
		})
	}
	for _, key := range []string{e.keys.AuthToken(good[:8])} {
		if text, _ := e.get(t, key); text == "" || strings.Contains(text, good[9:41]) {
			t.Errorf("stored is %q, want it without the secret", text)
		}
	}
}

func TestTokenSpecsThatAreWrong(t *testing.T) {
	t.Parallel()
	r := newEnv(t).open(t, "n1", nil)
	_, err := r.CreateToken(t.Context(), TokenSpec{TTL: -1, Uses: -1, Minions: "["})
	var invalid *job.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 3 {
		t.Errorf("error is %v, want all three problems", err)
	}
}

func TestI3_AnotherKeyIsRefusedAndNoted(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	r := e.open(t, "n1", nil)
	token := r.mustToken(t, TokenSpec{Uses: 100})
	owner := newHost(t, "m1")
	if _, err := owner.join(t, r, token); err != nil {
		t.Fatal(err)
	}
	clone := newHost(t, "m1")
	for range 2 {
		_, err := clone.join(t, r, token)
		wantCode(t, "another key", err, codes.AlreadyExists)
	}
	rec := enrollment(t, e, "m1")
	if len(rec.Clones) != 1 || rec.Clones[0].Key != string(clone.print(t)) || rec.Clones[0].From != "10.0.0.1:1" || rec.Key != string(owner.print(t)) {
		t.Errorf("stored is %+v, want the clone noted once", rec)
	}
	// I6: however many there are.
	for range maxClones + 3 {
		_, err := newHost(t, "m1").join(t, r, "")
		wantCode(t, "another key", err, codes.AlreadyExists)
	}
	if rec := enrollment(t, e, "m1"); len(rec.Clones) != maxClones {
		t.Errorf("%d clones are stored, want at most %d", len(rec.Clones), maxClones)
	}
	if tokens, err := r.Tokens(t.Context()); err != nil || tokens[0].Uses != 99 || tokens[0].SecretHash != "" {
		t.Errorf("tokens %+v, %v; want 99 uses left, and no hash shown", tokens, err)
	}
}

func TestApproval(t *testing.T) {
	t.Parallel()
	e, c := newEnv(t), newClock()
	r := e.open(t, "n1", c.now)
	right, wrong := newHost(t, "m1"), newHost(t, "m1")
	for range 2 {
		for _, h := range []*host{right, wrong} {
			if id, err := h.join(t, r, ""); err != nil || id != (auth.Identity{}) {
				t.Fatalf("not approved yet: %v, %v; want pending", id, err)
			}
		}
	}
	reqs, err := r.Requests(t.Context())
	if err != nil || len(reqs) != 1 || len(reqs[0].Keys) != 2 || reqs[0].Keys[0].Key != string(right.print(t)) {
		t.Fatalf("requests %+v, %v; want one with both keys", reqs, err)
	}
	if err := r.Approve(t.Context(), "m1", Approval{Key: "SHA256:x", By: "op"}); !errors.Is(err, job.ErrNotFound) || !strings.Contains(err.Error(), string(right.print(t))) {
		t.Errorf("a key that nobody has: %v, want ErrNotFound and the keys there are", err)
	}
	if err := r.Approve(t.Context(), "m2", Approval{Key: right.print(t), By: "op"}); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("a minion that nobody is: %v, want ErrNotFound", err)
	}
	if err := r.Approve(t.Context(), "m1", Approval{Key: wrong.print(t), By: "op"}); err != nil {
		t.Fatal(err)
	}
	// The last word counts.
	if err := r.Approve(t.Context(), "m1", Approval{Key: right.print(t), By: "op"}); err != nil {
		t.Fatal(err)
	}
	if id, err := wrong.join(t, r, ""); err != nil || id != (auth.Identity{}) {
		t.Errorf("the other key: %v, %v; want pending", id, err)
	}
	if id, err := right.join(t, r, ""); err != nil || id.Name != "m1" {
		t.Errorf("approved: %v, %v", id, err)
	}
	_, err = wrong.join(t, r, "")
	wantCode(t, "the other key, after", err, codes.AlreadyExists)
	if rec := enrollment(t, e, "m1"); rec.ApprovedBy != "op" || rec.Token != "" {
		t.Errorf("stored is %+v, want who approved it", rec)
	}
	if reqs, err := r.Requests(t.Context()); err != nil || len(reqs) != 0 {
		t.Errorf("the request is kept: %v, %v", reqs, err)
	}
}

func TestRejection(t *testing.T) {
	t.Parallel()
	e, c := newEnv(t), newClock()
	r := e.open(t, "n1", c.now)
	h := newHost(t, "m1")
	if err := r.Reject(t.Context(), "m1", "op"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("no request: %v, want ErrNotFound", err)
	}
	if _, err := h.join(t, r, ""); err != nil {
		t.Fatal(err)
	}
	if err := r.Reject(t.Context(), "m1", "op"); err != nil {
		t.Fatal(err)
	}
	_, err := h.join(t, r, "")
	wantCode(t, "rejected", err, codes.PermissionDenied)
	if _, err := newHost(t, "m1").join(t, r, ""); err != nil {
		t.Errorf("another host: %v, want pending", err)
	}
	c.pass(requestLife)
	if err := r.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.join(t, r, ""); err != nil {
		t.Errorf("a day later: %v, want pending", err)
	}
}

func TestI6_RequestsAreBounded(t *testing.T) {
	t.Parallel()
	r := newEnv(t).open(t, "n1", nil, func(c *Config) { c.MaxRequests = 2 })
	from := func(i int) net.IP { return net.IPv4(10, 0, 0, byte(1+i/maxKeysPerAddress)) }
	for i := range maxKeys {
		if _, err := newHost(t, "m1").joinFrom(t, r, "", from(i)); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
		if (i+1)%maxKeysPerAddress == 0 {
			_, err := newHost(t, "m1").joinFrom(t, r, "", from(i))
			wantCode(t, "one key of an address too many", err, codes.ResourceExhausted)
		}
	}
	_, err := newHost(t, "m1").joinFrom(t, r, "", from(maxKeys))
	wantCode(t, "one key too many", err, codes.ResourceExhausted)
	// Those that are rejected make room, however many there are.
	for range maxKeys {
		if err := r.Reject(t.Context(), "m1", "op"); err != nil {
			t.Fatal(err)
		}
		if _, err := newHost(t, "m1").join(t, r, ""); err != nil {
			t.Errorf("after the others were rejected: %v", err)
		}
	}
	if all, err := r.Requests(t.Context()); err != nil || len(all) != 1 || len(all[0].Keys) != maxKeys {
		t.Errorf("%+v are kept, %v; want %d keys", all, err, maxKeys)
	}
	if _, err := newHost(t, "m2").join(t, r, ""); err != nil {
		t.Fatal(err)
	}
	_, err = newHost(t, "m3").join(t, r, "")
	wantCode(t, "one minion too many", err, codes.ResourceExhausted)
	if _, err := newHost(t, "m3").join(t, r, r.mustToken(t, TokenSpec{})); err != nil {
		t.Errorf("by a token: %v; the bound is not for those", err)
	}
}

func TestRenewalsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newEnv(t).open(t, "n1", nil)
	h := newHost(t, "m1")
	who, err := h.join(t, r, r.mustToken(t, TokenSpec{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.renew(t, r, who); err != nil {
		t.Errorf("the good one: %v", err)
	}
	_, err = h.renew(t, r, auth.Identity{})
	wantCode(t, "without a certificate", err, codes.Unauthenticated)
	_, err = h.renew(t, r, auth.Identity{Kind: auth.KindNode, Name: "n1"})
	wantCode(t, "a node", err, codes.PermissionDenied)
	_, err = h.renew(t, r, auth.Identity{Kind: auth.KindMinion, Name: "m2", IssuedAt: who.IssuedAt})
	wantCode(t, "a request for another id", err, codes.InvalidArgument)
	_, err = newHost(t, "m1").renew(t, r, who)
	wantCode(t, "another key", err, codes.PermissionDenied)
	ghost := newHost(t, "m3")
	_, err = ghost.renew(t, r, auth.Identity{Kind: auth.KindMinion, Name: "m3", IssuedAt: who.IssuedAt})
	wantCode(t, "not enrolled", err, codes.PermissionDenied)
}

// Who asks for certificate after certificate gets none that is good for much longer
// than the usual time from now, whether by its certificate or by its key.
func TestI5_CertificatesAreNotHoarded(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newEnv(t).open(t, "n1", c.now)
	h := newHost(t, "m1")
	who, err := h.join(t, r, r.mustToken(t, TokenSpec{}))
	if err != nil {
		t.Fatal(err)
	}
	last := who
	for n := 0; ; n++ {
		next, err := h.renew(t, r, who)
		if n == mostAhead {
			wantCode(t, "one certificate too many", err, codes.ResourceExhausted)
			break
		}
		if err != nil {
			t.Fatalf("renewal %d: %v", n, err)
		}
		last = next
	}
	if ahead := last.IssuedAt.Sub(c.now()); ahead > mostAhead*time.Second {
		t.Errorf("the last one is of %v from now", ahead)
	}
	_, err = h.join(t, r, "")
	wantCode(t, "by its key", err, codes.ResourceExhausted)
	c.pass((mostAhead + 1) * time.Second)
	for range 2 {
		if _, err := h.renew(t, r, who); err != nil {
			t.Errorf("later: %v", err)
		}
	}
}

func TestAFieldOfANewerReleaseSurvives(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	r := e.open(t, "n1", nil)
	h := newHost(t, "m1")
	who, err := h.join(t, r, r.mustToken(t, TokenSpec{}))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := e.get(t, e.keys.AuthMinion("m1"))
	e.put(t, e.keys.AuthMinion("m1"), strings.Replace(text, "{", `{"newer":"kept",`, 1))
	if _, err := h.renew(t, r, who); err != nil {
		t.Fatal(err)
	}
	if text, _ = e.get(t, e.keys.AuthMinion("m1")); !strings.Contains(text, `"newer":"kept"`) {
		t.Errorf("stored is %s, want the unknown field kept", text)
	}
}

func TestWithoutEtcdMinionsAreToldToAskAgain(t *testing.T) {
	t.Parallel()
	srv := etcdtest.Start(t)
	e := &env{client: srv.Client(t), keys: etcdkv.NewKeys("")}
	r := e.open(t, "n1", nil)
	token := r.mustToken(t, TokenSpec{})
	srv.Stop()
	h := newHost(t, "m1")
	ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{}})
	_, err := r.Join(ctx, &authpb.JoinRequest{Minion: "m1", Token: token, Csr: h.csr(t)})
	wantCode(t, "etcd is away", err, codes.Unavailable)
	if err := r.Revoke(t.Context(), "m1", "", ""); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("an operator: %v, want ErrUnavailable", err)
	}
}

// Anybody may call Join: what is beyond the ranges of its fields is refused before
// anything is done, and the answer names the field.
func TestRequestsHaveRanges(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	r := e.open(t, "n1", nil)
	long := strings.Repeat("x", 9<<10)
	for field, req := range map[string]*authpb.JoinRequest{
		"minion": {Minion: long},
		"token":  {Minion: "m", Token: long},
		"csr":    {Minion: "m", Csr: []byte(long)},
	} {
		if _, err := r.Join(t.Context(), req); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "field "+field+" has 9216 bytes") || len(err.Error()) > 300 {
			t.Errorf("%s: %v", field, err)
		}
	}
}
