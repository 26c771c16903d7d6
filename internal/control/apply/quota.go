package apply

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

// RoomForJobs returns an error when no new job may be stored.
func (ap *Applier) RoomForJobs(ctx context.Context) error {
	ap.space.mu.Lock()
	defer ap.space.mu.Unlock()
	if now := ap.db.Now(); ap.space.at.IsZero() || now.Sub(ap.space.at) > spaceFor {
		used, full, err := ap.usedSpace(ctx)
		if err != nil {
			return err
		}
		ap.space.at, ap.space.used, ap.space.full = now, used, full
	}
	switch {
	case ap.space.full:
		return fmt.Errorf("etcd is full (alarm NOSPACE), so no job can be stored; compact, `etcdctl defrag`, then `etcdctl alarm disarm`: %w", job.ErrUnavailable)
	case ap.space.used >= refuseJobs:
		return fmt.Errorf("etcd uses %.0f %% of its quota; new jobs are refused from %.0f %% on, so that the others can go on: compact and `etcdctl defrag`, keep fewer runs per job, or raise --quota-backend-bytes: %w",
			ap.space.used*100, refuseJobs*100, job.ErrUnavailable)
	}
	return nil
}

// usedSpace returns the largest used part of a quota among the endpoints that
// answer, and whether one of them is full.
func (ap *Applier) usedSpace(ctx context.Context) (used float64, full bool, err error) {
	answered := false
	var errs []error
	for _, endpoint := range ap.db.Client.Endpoints() {
		st, err := ap.db.Status(ctx, endpoint)
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
