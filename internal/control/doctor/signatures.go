package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
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
	return signatureChecks(known, members), nil
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
