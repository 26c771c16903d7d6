package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/rights"
)

// checkAsides looks for jobs that cannot be planned.
func (c *Checker) checkAsides(ctx context.Context) ([]api.Check, error) {
	asides, err := store.ListAll[etcdkv.Aside](ctx, c.db, "list jobs that are set aside", c.db.Keys.Asides())
	if err != nil {
		return nil, err
	}
	sees, err := c.sight(ctx)
	if err != nil {
		return nil, err
	}
	const shown = 5
	var checks []api.Check
	for i := range asides[:min(len(asides), shown)] {
		a := &asides[i]
		if !sees(rights.Jobs, a.Namespace, nil) {
			a.Namespace, a.Name, a.Reason = hiddenName, hiddenName, "you may not read it"
		}
		checks = append(checks, api.Check{
			Name: "set aside", Status: api.CheckFail,
			Detail: fmt.Sprintf("job %s/%s is set aside for %s: %s", a.Namespace, a.Name, c.db.Now().Sub(a.Since).Round(time.Second), a.Reason),
			Hint:   "apply the job, or the calendar, again as the reason says; all other jobs fire",
		})
	}
	switch {
	case len(asides) > shown:
		checks = append(checks, api.Check{Name: "set aside", Status: api.CheckFail, Detail: fmt.Sprintf("and %s more", apiview.Counted(len(asides)-shown, "job"))})
	case len(asides) == 0:
		checks = []api.Check{{Name: "set aside", Status: api.CheckOK, Detail: "all jobs can be planned"}}
	}
	return checks, nil
}
