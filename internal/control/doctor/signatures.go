package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// checkSignatures looks for nodes that keep all others from signing what they tell minions:
// new minions refuse all that is not signed.
func (c *Checker) checkSignatures(ctx context.Context) ([]api.Check, error) {
	if c.enrollment == nil {
		return []api.Check{{Name: "signatures", Status: api.CheckOK, Detail: "connections are plain, and nothing is signed"}}, nil
	}
	known, err := store.ListAll[etcdkv.KnownNode](ctx, c.db, "list known nodes", c.db.Keys.KnownNodes())
	if err != nil {
		return nil, err
	}
	members, err := store.ListAll[etcdkv.Member](ctx, c.db, "list nodes", c.db.Keys.Members())
	if err != nil {
		return nil, err
	}
	checks := signatureChecks(known, members)
	all, err := c.minions.Known()
	if err != nil {
		return checks, nil // the check of minions tells
	}
	sees, err := c.sight(ctx)
	if err != nil {
		return nil, err
	}
	return append(checks, unsignedMinions(all, sees)...), nil
}

// unsignedMinions tells of connected minions that take orders which no node has signed: who
// forwards these can change them.
func unsignedMinions(all []job.Minion, sees sight) []api.Check {
	var checks []api.Check
	for _, c := range []struct{ says, what, hint string }{
		{job.UnsignedAllowed, "orders without a signature are taken by %s, by --unsigned-orders", "start such a minion without that flag once all nodes sign"},
		{job.UnsignedUntilSigned, "orders without a signature are taken by %s until the first signed one comes, as a minion does that worked before its release knew of signatures", "have each run something: `carillon exec -t %s -- true`"},
		{"", "whether orders without a signature are taken is not told by %s of a former release", "bring them to the release of the nodes"},
	} {
		n := 0
		var names []string
		for i := range all {
			m := &all[i]
			if m.Node == "" || m.Facts[job.FactUnsignedOrders] != c.says {
				continue
			}
			n++
			if len(names) < shownMinions && sees(rights.Minions, "", m.Labels) {
				names = append(names, string(m.ID))
			}
		}
		if n == 0 {
			continue
		}
		ch := api.Check{Name: "signatures", Status: api.CheckWarn, Detail: fmt.Sprintf(c.what, apiview.Counted(n, "minion")), Hint: askWhoMay}
		if len(names) > 0 {
			ch.Detail += ": " + apiview.Some(names, n)
			ch.Hint = strings.ReplaceAll(c.hint, "%s", names[0])
		}
		checks = append(checks, ch)
	}
	return checks
}

func signatureChecks(known []etcdkv.KnownNode, members []etcdkv.Member) []api.Check {
	var checks []api.Check
	for _, node := range etcdkv.Unsigning(known, members) {
		ch := api.Check{
			Name: "signatures", Status: api.CheckFail,
			Detail: fmt.Sprintf("%s is of a release that does not sign orders, so no node begins to: new minions refuse all that they are told", node),
			Hint:   fmt.Sprintf("bring %s to the release of the other nodes", node),
		}
		if !slices.ContainsFunc(members, func(m etcdkv.Member) bool { return m.Node == node }) {
			ch.Detail = fmt.Sprintf("%s, which is gone and has not left in order, is of a release that does not sign orders, so no node begins to: new minions refuse all that they are told", node)
			ch.Hint = fmt.Sprintf("if it is gone for good: `carillon nodes forget %[1]s`; else start it with the release of the other nodes", node)
		}
		checks = append(checks, ch)
	}
	if len(checks) == 0 {
		checks = []api.Check{{Name: "signatures", Status: api.CheckOK, Detail: "what nodes tell minions is signed"}}
	}
	return checks
}
