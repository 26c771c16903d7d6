package doctor

import (
	"context"
	"fmt"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/catalog"
	"github.com/carillon-cron/carillon/internal/control/cluster"
	"github.com/carillon-cron/carillon/internal/control/enroll"
	"github.com/carillon-cron/carillon/internal/control/etcdmembers"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/policy"
	"github.com/carillon-cron/carillon/internal/control/runs"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/control/updates"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// Deps is what a Checker stands on. All but Enrollment must be set.
type Deps struct {
	Store   *store.Store
	Catalog *catalog.Catalog
	Runs    *runs.Book
	Cluster *cluster.Operator
	Minions *minions.Fleet
	Enroll  *enroll.Registry
	Etcd    *etcdmembers.Membership
	Updates *updates.Rollout
	Access  *access.Authenticator
	// Rights tells which names callers may be told.
	Rights *policy.Decider
	Queues Queues
	// Inventory is what this node knows of minions, be it a part of them.
	Inventory minions.Inventory
	// Enrollment knows who may connect. Nil: connections are plain.
	Enrollment Enrollment
	// Unreadable tells which secrets that a notifier names this node cannot read. Nil: it
	// tells nothing.
	Unreadable func(*job.Notifier) []string
	// Past says why this node plans nothing from what etcd holds; empty: it does. Nil:
	// etcd is believed.
	Past func() string
	// Held is what the cluster is held by, if that is why this node plans nothing; nil: it
	// is not. Nil: no cluster is.
	Held func() *etcdkv.Hold
}

// Enrollment knows who may connect, and who asks to.
type Enrollment interface {
	Requests(ctx context.Context) ([]etcdkv.JoinRequest, error)
	Enrolled(ctx context.Context) ([]etcdkv.Enrollment, error)
}

// Checker looks for what is wrong. Use New. It may be used by many goroutines at once.
type Checker struct {
	db         *store.Store
	catalog    *catalog.Catalog
	runs       *runs.Book
	cluster    *cluster.Operator
	minions    *minions.Fleet
	enroll     *enroll.Registry
	etcd       *etcdmembers.Membership
	updates    *updates.Rollout
	access     *access.Authenticator
	rights     *policy.Decider
	queues     Queues
	inventory  minions.Inventory
	enrollment Enrollment
	unreadable func(*job.Notifier) []string
	past       func() string
	held       func() *etcdkv.Hold
}

// New returns a Checker.
func New(deps Deps) *Checker {
	return &Checker{
		db: deps.Store, catalog: deps.Catalog, runs: deps.Runs, cluster: deps.Cluster, minions: deps.Minions,
		enroll: deps.Enroll, etcd: deps.Etcd, updates: deps.Updates, access: deps.Access, rights: deps.Rights, queues: deps.Queues, inventory: deps.Inventory, enrollment: deps.Enrollment, unreadable: deps.Unreadable, past: deps.Past, held: deps.Held,
	}
}

// Doctor looks for what is wrong with the cluster, or will soon be. It returns
// an error only when ctx ends; an etcd that does not answer is a finding.
func (c *Checker) Doctor(ctx context.Context) ([]api.Check, error) {
	reach := c.checkReachable(ctx)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	checks := []api.Check{reach}
	if reach.Status == api.CheckFail {
		return checks, nil // all else would say the same
	}
	for _, look := range c.looks() {
		found, err := look(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("doctor: %w", ctx.Err())
		}
		checks = append(checks, found...)
		if err != nil {
			checks = append(checks, api.Check{
				Name: "etcd", Status: api.CheckFail, Detail: err.Error(),
				Hint: "look at etcd's own log; the checks that needed this answer are left out",
			})
		}
	}
	return checks, nil
}

// looks are the checks to be made, in order.
func (c *Checker) looks() []func(context.Context) ([]api.Check, error) {
	type look = func(context.Context) ([]api.Check, error)
	if h := c.idle(); h != nil { // what plans and fires is in another cluster
		role := func(ctx context.Context) ([]api.Check, error) { return c.checkIdle(ctx, h) }
		return []look{role, c.checkEtcd, c.checkOwnEtcd, c.checkAlarms, c.checkCompaction, c.checkMembers, c.checkAccess, c.checkHealth, c.checkClocks, c.checkSeal, c.checkUpdate}
	}
	return []look{
		c.checkPast, c.checkEtcd, c.checkOwnEtcd, c.checkAlarms, c.checkCompaction, c.checkMembers, c.checkAccess, c.checkHealth, c.checkClocks, c.checkCursors, c.checkShards, c.checkGroups, c.checkAsides, c.checkOperators, c.checkSlots, c.checkMinions, c.checkCertificates, c.checkSeal, c.checkSignatures, c.checkJobs, c.checkQueues, c.checkNotifiers, c.checkUpdate,
	}
}
