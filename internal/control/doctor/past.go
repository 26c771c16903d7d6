package doctor

import (
	"context"

	"github.com/carillon-cron/carillon/api"
)

// checkPast tells when etcd is older than what this node has seen of it, or is held since
// a restore.
func (c *Checker) checkPast(context.Context) ([]api.Check, error) {
	if c.past == nil {
		return nil, nil
	}
	if why := c.past(); why != "" {
		return []api.Check{{
			Name: "epoch", Status: api.CheckFail, Detail: why,
			Hint: "nothing fires meanwhile; docs/disaster-recovery.md has the steps, and what each of them keeps and loses",
		}}, nil
	}
	return nil, nil
}
