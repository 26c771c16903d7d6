package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/job"
)

// Jobs and fires share etcd's space. New jobs are refused long before it is
// full, so that those there can go on: a commit needs room for a moment only.
const (
	// refuseJobs is the part of etcd's quota above which new jobs are refused.
	refuseJobs = 0.8
	// spaceFor is how long an answer about etcd's space is used.
	spaceFor = 5 * time.Second
)

// space remembers what etcd said of its space.
type space struct {
	mu   sync.Mutex // guards all below
	at   time.Time
	used float64
	full bool
}

// roomForJobs returns an error when no new job may be stored.
func (c *Control) roomForJobs(ctx context.Context) error {
	c.space.mu.Lock()
	defer c.space.mu.Unlock()
	if now := c.now(); c.space.at.IsZero() || now.Sub(c.space.at) > spaceFor {
		used, full, err := c.usedSpace(ctx)
		if err != nil {
			return err
		}
		c.space.at, c.space.used, c.space.full = now, used, full
	}
	switch {
	case c.space.full:
		return fmt.Errorf("etcd is full (alarm NOSPACE), so no job can be stored; compact, `etcdctl defrag`, then `etcdctl alarm disarm`: %w", job.ErrUnavailable)
	case c.space.used >= refuseJobs:
		return fmt.Errorf("etcd uses %.0f %% of its quota; new jobs are refused from %.0f %% on, so that the others can go on: compact and `etcdctl defrag`, keep fewer runs per job, or raise --quota-backend-bytes: %w",
			c.space.used*100, refuseJobs*100, job.ErrUnavailable)
	}
	return nil
}

// usedSpace returns the largest used part of a quota among the endpoints that
// answer, and whether one of them is full.
func (c *Control) usedSpace(ctx context.Context) (used float64, full bool, err error) {
	answered := false
	var errs []error
	for _, endpoint := range c.client.Endpoints() {
		st, err := c.db.Status(ctx, endpoint)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		answered = true
		quota := st.DbSizeQuota
		if quota <= 0 {
			quota = store.DefaultQuota
		}
		used = max(used, float64(st.DbSize)/float64(quota))
		for _, e := range st.Errors {
			full = full || strings.Contains(e, "NOSPACE")
		}
	}
	if !answered {
		return 0, false, errors.Join(errs...)
	}
	return used, full, nil
}
