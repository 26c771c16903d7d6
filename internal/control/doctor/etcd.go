package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	etcdserverpb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/store"
)

// What is taken for an unhealthy etcd.
const (
	slowEtcd        = 100 * time.Millisecond
	warnSpace       = 0.60
	failSpace       = 0.80
	manyRevisions   = 5_000_000
	oldestEtcdMajor = 3
	oldestEtcdMinor = 5
	// wastedSpace is how much of an etcd file may be free before it is worth a
	// defragmentation.
	wastedSpace = 256 << 20
)

func (c *Checker) checkReachable(ctx context.Context) api.Check {
	ch := api.Check{Name: "etcd", Status: api.CheckOK}
	begin := time.Now()
	_, err := c.db.Get(ctx, "read the cluster's description", c.db.Keys.Meta())
	took := time.Since(begin).Round(time.Microsecond)
	switch {
	case err != nil:
		ch.Status, ch.Detail = api.CheckFail, err.Error()
		ch.Hint = "see whether etcd runs and has a leader, and whether this node reaches its endpoints"
		if c.etcd != nil && c.etcd.OwnEtcd() {
			if detail, hint := lacking(c.whoAnswers(ctx)); hint != "" {
				ch.Detail, ch.Hint = ch.Detail+": "+detail, hint
			}
		}
	case took > slowEtcd:
		ch.Status, ch.Detail = api.CheckWarn, fmt.Sprintf("answers a read in %s", took)
		ch.Hint = "give etcd a faster disk and network, or less load; fires are committed at its pace"
	default:
		ch.Detail = fmt.Sprintf("answers a read in %s", took)
	}
	return ch
}

// checkEtcd looks at every endpoint's version and size.
func (c *Checker) checkEtcd(ctx context.Context) ([]api.Check, error) {
	var checks []api.Check
	for _, ep := range c.db.Client.Endpoints() {
		status, err := c.db.Status(ctx, ep)
		if err != nil {
			checks = append(checks, unreached(ep, err, c.etcd.OwnEtcd()))
			continue
		}
		checks = append(checks, checkVersion(ep, status.Version), checkSize(ep, status.DbSize, status.DbSizeQuota), checkWaste(ep, status.DbSize, status.DbSizeInUse))
	}
	return checks, nil
}

// unreached tells of an endpoint that does not answer. A cluster that keeps its data itself
// finds its endpoints by its members.
func unreached(endpoint string, err error, own bool) api.Check {
	ch := api.Check{
		Name: "etcd endpoint", Status: api.CheckWarn, Detail: endpoint + ": " + err.Error(),
		Hint: "start this etcd member again, or take it out of the endpoints",
	}
	if own {
		ch.Hint = "start its node again; if that is gone for good: carillon etcd remove NODE, or carillon etcd replace NODE"
	}
	return ch
}

func checkVersion(endpoint, version string) api.Check {
	ch := api.Check{Name: "etcd version", Status: api.CheckOK, Detail: endpoint + " runs etcd " + version}
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	if err != nil || cmp.Or(cmp.Compare(major, oldestEtcdMajor), cmp.Compare(minor, oldestEtcdMinor)) < 0 {
		ch.Status = api.CheckWarn
		ch.Hint = fmt.Sprintf("use etcd %d.%d or newer", oldestEtcdMajor, oldestEtcdMinor)
	}
	return ch
}

func checkSize(endpoint string, size, quota int64) api.Check {
	if quota <= 0 {
		quota = store.DefaultQuota
	}
	used := float64(size) / float64(quota)
	ch := api.Check{Name: "etcd size", Status: api.CheckOK}
	ch.Detail = fmt.Sprintf("%s uses %.1f of %.1f MiB (%.0f %%)", endpoint, float64(size)/(1<<20), float64(quota)/(1<<20), used*100)
	if used >= warnSpace {
		ch.Status = api.CheckWarn
		ch.Hint = "compact and defragment etcd, keep fewer runs per job, or raise --quota-backend-bytes; a full etcd stops all fires"
	}
	if used >= failSpace {
		ch.Status = api.CheckFail
	}
	return ch
}

// checkWaste tells when an etcd file is mostly free pages, which count towards
// the quota until it is defragmented.
func checkWaste(endpoint string, size, inUse int64) api.Check {
	ch := api.Check{Name: "etcd free pages", Status: api.CheckOK}
	ch.Detail = fmt.Sprintf("%s has %.1f MiB in use of a file of %.1f MiB", endpoint, float64(inUse)/(1<<20), float64(size)/(1<<20))
	if free := size - inUse; free > wastedSpace && free > size/2 {
		ch.Status = api.CheckWarn
		ch.Hint = "defragment this member with `etcdctl defrag`, one member at a time: free pages count towards the quota"
	}
	return ch
}

func (c *Checker) checkAlarms(ctx context.Context) ([]api.Check, error) {
	actx, cancel := c.db.Bounded(ctx)
	defer cancel()
	resp, err := c.db.Client.AlarmList(actx)
	if err != nil {
		return nil, store.Error(ctx, "alarms", err)
	}
	var names []string
	for _, a := range resp.Alarms {
		if a.Alarm != etcdserverpb.AlarmType_NONE {
			names = append(names, a.Alarm.String())
		}
	}
	if len(names) == 0 {
		return []api.Check{{Name: "etcd alarms", Status: api.CheckOK, Detail: "none is raised"}}, nil
	}
	slices.Sort(names)
	return []api.Check{{
		Name: "etcd alarms", Status: api.CheckFail, Detail: "raised: " + strings.Join(slices.Compact(names), ", "),
		Hint: "NOSPACE: compact, `etcdctl defrag`, then `etcdctl alarm disarm`; CORRUPT: replace the member",
	}}, nil
}

// checkCompaction looks whether very old revisions can still be read.
func (c *Checker) checkCompaction(ctx context.Context) ([]api.Check, error) {
	now, err := c.db.RangePage(ctx, c.db.Keys.Meta(), "", 0, store.PageSize)
	if err != nil {
		return nil, store.Error(ctx, "compaction", err)
	}
	ok := []api.Check{{Name: "etcd compaction", Status: api.CheckOK, Detail: fmt.Sprintf("at revision %d", now.Header.Revision)}}
	if now.Header.Revision <= manyRevisions {
		return ok, nil
	}
	_, err = c.db.RangePage(ctx, c.db.Keys.Meta(), "", now.Header.Revision-manyRevisions, store.PageSize)
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return ok, nil
	case err != nil:
		return nil, store.Error(ctx, "compaction", err)
	}
	return []api.Check{{
		Name: "etcd compaction", Status: api.CheckWarn, Detail: fmt.Sprintf("more than %d revisions are kept", manyRevisions),
		Hint: "start etcd with --auto-compaction-mode=periodic --auto-compaction-retention=1h",
	}}, nil
}
