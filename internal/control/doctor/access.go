package doctor

import (
	"context"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// checkAccess looks at who may ask: a cluster that is open to other hosts, and nodes
// that answer everybody though it is closed.
func (c *Checker) checkAccess(ctx context.Context) ([]api.Check, error) {
	v, err := c.access.AccessState(ctx)
	if err != nil {
		return nil, err
	}
	if v.State == string(access.Closed) {
		if len(v.Unaware) > 0 {
			return []api.Check{{
				Name: "access", Status: api.CheckFail, Detail: fmt.Sprintf("the cluster is closed, and %v answer everybody: their release knows no rights", v.Unaware),
				Hint: "bring them to the release of the other nodes",
			}}, nil
		}
		return []api.Check{{Name: "access", Status: api.CheckOK, Detail: "closed: what no role allows is refused"}}, nil
	}
	members, err := store.ListAll[etcdkv.Member](ctx, c.db, "list nodes", c.db.Keys.Members())
	if err != nil {
		return nil, err
	}
	var reached []job.NodeID
	for i := range members {
		if members[i].OpenAPI {
			reached = append(reached, members[i].Node)
		}
	}
	if len(reached) == 0 {
		return []api.Check{{Name: "access", Status: api.CheckOK, Detail: v.State + " to the programs of the nodes' hosts"}}, nil
	}
	return []api.Check{{
		Name: "access", Status: api.CheckWarn,
		Detail: fmt.Sprintf("the cluster is %s, and other hosts reach the API of %v: everybody there may run commands on each minion", v.State, reached),
		Hint:   "give roles to those who need them, see with `carillon auth note` whom it would keep out, and close it with `carillon auth on`",
	}}, nil
}
