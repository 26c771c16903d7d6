package control

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
)

// TestBootstrapMakesAnAdminOnce: where the cluster is closed and has none, by a token
// that is good once, for a day.
func TestBootstrapMakesAnAdminOnce(t *testing.T) {
	t.Parallel()
	e := setup(t)
	root := caller.With(t.Context(), caller.Caller{Name: "root (socket)", Local: true})
	e.node(t, etcdkv.Member{Node: "n1", KnowsAccess: true})
	if err := e.ReadState(t.Context()); err != nil {
		t.Fatal(err)
	}
	var text string
	offered := func(c *Control) bool {
		t.Helper()
		_, made, err := c.OfferBootstrap(t.Context(), "n1", func(secret string) error { text = secret; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	if offered(e.Control) {
		t.Error("offered while the cluster is open")
	}
	if _, err := e.SetAccess(root, access.Closed, api.Order{}); err != nil {
		t.Fatal(err)
	}
	if !offered(e.Control) || !strings.HasPrefix(text, "ct_") {
		t.Fatalf("not offered: %q", text)
	}
	first := text
	n2 := e.another(t)
	if err := n2.ReadState(t.Context()); err != nil {
		t.Fatal(err)
	}
	if offered(n2) || text != first {
		t.Error("another node offers one, too")
	}
	// It is no token of the API.
	if why := refusedAs(t, e.Control, first, "a"); why == "" {
		t.Error("it opens the API")
	}
	take := func(c *Control, text, name string) (api.APIToken, string) {
		t.Helper()
		v, err := c.Bootstrap(caller.With(t.Context(), caller.Caller{Remote: "10.0.0.1"}), text, api.APITokenRequest{Name: name, TTL: time.Hour})
		var refused *caller.RefusedError
		if errors.As(err, &refused) {
			return v, refused.Reason
		}
		if err != nil {
			t.Fatal(err)
		}
		return v, ""
	}
	if _, why := take(n2, e.token(t, "ci", time.Hour).Text, "admin"); !strings.Contains(why, "no bootstrap token") {
		t.Errorf("a token of the API makes an admin: %q", why)
	}
	good := func(c *Control) bool {
		t.Helper()
		ok, err := c.GoodBootstrap(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !good(e.Control) {
		t.Error("it is not good before it is used")
	}
	v, why := take(n2, first, "admin")
	if why != "" {
		t.Fatalf("refused: %s", why)
	}
	if good(e.Control) {
		t.Error("it is good after it was used")
	}
	who, err := e.ByToken(t.Context(), v.Text, "a")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := e.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if admin, _ := stored.Role(rights.Admin); !stored.Policy().Holds(who.Subjects, admin, nil) {
		t.Errorf("%+v is no admin", who)
	}
	if _, why := take(e.Control, first, "again"); !strings.Contains(why, "no bootstrap token") {
		t.Errorf("a second time: %q", why)
	}
	if offered(e.Control) {
		t.Error("offered though there is an admin")
	}
	page, err := e.Audit(t.Context(), api.AuditQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	on := map[string]bool{}
	for _, r := range page.Records {
		on[r.Action+" "+r.By+" "+r.Object] = true
	}
	if !on["bootstrap.offer node n1 cluster"] || !on["apitoken.create bootstrap token admin"] {
		t.Errorf("on record: %v", on)
	}
}

// TestBootstrapTokensEnd: after a day, and by another in their place.
func TestBootstrapTokensEnd(t *testing.T) {
	t.Parallel()
	e := setup(t)
	offer := func(inPlace bool) (text string) {
		t.Helper()
		_, made, err := access.Offer(t.Context(), e.db, audit.New(e.db, zap.NewNop()), "n1", inPlace, func(secret string) error { text = secret; return nil })
		if err != nil || made != (text != "") {
			t.Fatalf("made %v %q, %v", made, text, err)
		}
		return text
	}
	refused := func(text string) bool {
		t.Helper()
		_, err := e.Bootstrap(t.Context(), text, api.APITokenRequest{Name: "x", TTL: time.Hour})
		return err != nil
	}
	good := func(text string) bool {
		t.Helper()
		ok, err := e.GoodBootstrap(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	first := offer(false)
	second := offer(true)
	if second == "" || !refused(first) || good(first) || !good(second) || good("nonsense") {
		t.Error("the one before is good beside the one in its place")
	}
	if offer(false) != "" {
		t.Error("made beside one that is good")
	}
	e.pass(24 * time.Hour)
	if !refused(second) || good(second) {
		t.Error("good after a day")
	}
	if third := offer(false); third == "" || refused(third) {
		t.Error("none after the day")
	}
	failing := func(string) error { return errors.New("disk full") }
	if _, made, err := access.Offer(t.Context(), e.db, audit.New(e.db, zap.NewNop()), "n1", true, failing); err == nil || made {
		t.Errorf("made though nobody has it: %v", err)
	}
}
