package plans

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/audit"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	running "github.com/carillon-cron/carillon/internal/plans"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
	"github.com/carillon-cron/carillon/queue"
)

// Deps is what a Desk stands on. All must be set.
type Deps struct {
	Store *store.Store
	Audit *audit.Log
	// Bounds returns what bounds each of some items of a queue by who ctx is of, or refuses
	// them.
	Bounds func(ctx context.Context, q *job.Queue, items []queue.Item) ([]job.Bounds, error)
	// Takers returns who may do the items of a queue.
	Takers func(ctx context.Context, q *job.Queue) (minions.Takers, error)
	Logger *zap.Logger
}

// Desk does what is asked of plans. Use New. It may be used by many goroutines at once.
type Desk struct {
	db     *store.Store
	audit  *audit.Log
	bounds func(ctx context.Context, q *job.Queue, items []queue.Item) ([]job.Bounds, error)
	takers func(ctx context.Context, q *job.Queue) (minions.Takers, error)
	log    *zap.Logger
	// sending are the places of plans that are being read.
	sending places
}

// New returns a Desk.
func New(deps Deps) *Desk {
	return &Desk{db: deps.Store, audit: deps.Audit, bounds: deps.Bounds, takers: deps.Takers, log: deps.Logger}
}

// object names a plan in the audit and in messages.
func object(ns, upstream, id string) string {
	return "plan " + ns + "/" + upstream + "/" + id
}

func invalid(path, message string) error {
	return &job.InvalidError{Problems: []job.Problem{{Path: path, Message: message}}}
}

// stored reads the description of a plan.
func (d *Desk) stored(ctx context.Context, ns, upstream, id string) (*etcdkv.StoredPlan, error) {
	p, _, err := d.read(ctx, ns, upstream, id)
	return p, err
}

func (d *Desk) read(ctx context.Context, ns, upstream, id string) (*etcdkv.StoredPlan, int64, error) {
	what := object(ns, upstream, id)
	if strings.ContainsRune(ns+upstream+id, '/') {
		return nil, 0, fmt.Errorf("%s: %w", what, job.ErrNotFound)
	}
	kv, err := d.db.Get(ctx, "read "+what, d.db.Keys.Plan(ns, upstream, id))
	if err != nil {
		return nil, 0, err
	}
	if kv == nil {
		return nil, 0, fmt.Errorf("%s: %w", what, job.ErrNotFound)
	}
	p, err := store.Decode[etcdkv.StoredPlan](kv)
	return &p, kv.ModRevision, err
}

// status reads what the owner of a plan has told of it; nil: nothing yet.
func (d *Desk) status(ctx context.Context, p *etcdkv.StoredPlan) (*etcdkv.PlanStatus, error) {
	kv, err := d.db.Get(ctx, "read the status of a plan", d.db.Keys.PlanData(p.UID).Status())
	if err != nil || kv == nil {
		return nil, err
	}
	s, err := store.Decode[etcdkv.PlanStatus](kv)
	return &s, err
}

func view(p *etcdkv.StoredPlan, s *etcdkv.PlanStatus) api.Plan {
	v := api.Plan{
		Namespace: p.Namespace, Upstream: p.Upstream, ID: p.ID, UID: p.UID.String(), Callback: p.Callback, Digest: p.Digest,
		Tasks: p.Tasks, Types: p.Types, AcceptedAt: p.AcceptedAt, By: p.By, EndedAt: p.EndedAt, Counts: map[string]int{string(plan.Pending): p.Tasks},
		Cancelling: len(p.Orders) > 0,
	}
	v.Amending = p.Amendment != nil
	if a := p.Amended; a != nil {
		v.Amended = &api.PlanAmended{Count: a.Count, At: a.At, By: a.By, Begun: a.Begun, Kept: a.Kept}
	}
	if s != nil {
		v.Counts, v.Owner, v.ToldAt = s.Counts, job.NodeID(s.Node), s.At
		if p.EndedAt.IsZero() {
			v.Trouble = s.Trouble
		}
	}
	v.Telling = p.Untold
	return v
}

// callback reads why the upstream of a plan is not told now.
func (d *Desk) callback(ctx context.Context, p *etcdkv.StoredPlan, v *api.Plan) error {
	if !p.Untold {
		return nil
	}
	kv, err := d.db.Get(ctx, "read what hinders callbacks", d.db.Keys.PlanData(p.UID).Callback())
	if err != nil || kv == nil {
		return err
	}
	c, err := store.Decode[etcdkv.PlanCallback](kv)
	v.CallbackTrouble = fmt.Sprintf("%s (%d tries)", c.Error, c.Tries)
	return err
}

// Plans lists the plans of a namespace, or of all when it is empty, the newest first.
func (d *Desk) Plans(ctx context.Context, namespace string) ([]api.Plan, error) {
	prefix := d.db.Keys.Plans()
	if namespace != "" {
		prefix += namespace + "/"
	}
	all, err := store.ListAll[etcdkv.StoredPlan](ctx, d.db, "list plans", prefix)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b etcdkv.StoredPlan) int { return b.AcceptedAt.Compare(a.AcceptedAt) })
	out := make([]api.Plan, len(all))
	for i := range all {
		s, err := d.status(ctx, &all[i])
		if err != nil {
			return nil, err
		}
		out[i] = view(&all[i], s)
	}
	return out, nil
}

// Plan shows a plan.
func (d *Desk) Plan(ctx context.Context, ns, upstream, id string) (api.Plan, error) {
	p, err := d.stored(ctx, ns, upstream, id)
	if err != nil {
		return api.Plan{}, err
	}
	s, err := d.status(ctx, p)
	if err != nil {
		return api.Plan{}, err
	}
	v := view(p, s)
	return v, d.callback(ctx, p, &v)
}

// AskPlan shows the plan that a query asks for.
func (d *Desk) AskPlan(ctx context.Context, ns string, read func() (plan.Query, error)) (api.Plan, plan.Query, error) {
	q, err := read()
	if err != nil {
		return api.Plan{}, q, err
	}
	p, err := d.Plan(ctx, ns, q.Upstream, q.Plan)
	return p, q, err
}

// maxChunksRead bounds the chunks that are read for one page of tasks.
const maxChunksRead = 200

// PlanTasks lists tasks of a plan, in its order.
func (d *Desk) PlanTasks(ctx context.Context, ns, upstream, id string, q api.PlanTaskQuery) (api.PlanTaskPage, error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	from := 0
	if q.Cursor != "" {
		var err error
		if from, err = strconv.Atoi(q.Cursor); err != nil || from < 0 {
			return api.PlanTaskPage{}, invalid("cursor", "is not one that a page has ended with")
		}
	}
	if q.Limit < 0 || q.Limit > api.MaxPlanTasks {
		return api.PlanTaskPage{}, invalid("limit", fmt.Sprintf("%d is out of range; 1 to %d are allowed", q.Limit, api.MaxPlanTasks))
	}
	p, err := d.stored(ctx, ns, upstream, id)
	if err != nil {
		return api.PlanTaskPage{}, err
	}
	page := api.PlanTaskPage{Tasks: []api.PlanTask{}}
	for range maxChunksRead {
		tasks, states, first, err := d.chunk(ctx, p.UID, from)
		if err != nil {
			return page, err
		}
		if from >= first+len(tasks) {
			return page, nil // there are no more
		}
		for ; from < first+len(tasks); from++ {
			t, s := &tasks[from-first], etcdkv.PlanState{}
			if from-first < len(states) {
				s = states[from-first]
			}
			v := taskView(p.UID, from, t, &s)
			if q.ID != "" && v.ID != q.ID || q.Group != "" && v.Group != q.Group || q.State != "" && v.State != q.State {
				continue
			}
			if len(page.Tasks) == q.Limit {
				page.Next = strconv.Itoa(from)
				return page, nil
			}
			page.Tasks = append(page.Tasks, v)
		}
	}
	page.Next = strconv.Itoa(from)
	return page, nil
}

// chunk reads the chunk of a task, and its states.
func (d *Desk) chunk(ctx context.Context, uid job.UID, number int) ([]etcdkv.PlanTask, []etcdkv.PlanState, int, error) {
	keys := d.db.Keys.PlanData(uid)
	ask, cancel := d.db.Bounded(ctx)
	defer cancel()
	resp, err := d.db.Client.Get(ask, keys.Chunks(), clientv3.WithRange(keys.Chunk(number+1)), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(1))
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read tasks of a plan: %w", etcdkv.Unavailable(err))
	}
	if len(resp.Kvs) == 0 {
		return nil, nil, 0, nil // it is being removed
	}
	key := string(resp.Kvs[0].Key)
	first, _ := keys.ParseChunk(key)
	tasks, err := etcdkv.DecodePlanTasks(key, resp.Kvs[0].Value)
	if err != nil {
		return nil, nil, 0, err
	}
	kv, err := d.db.Get(ctx, "read states of tasks", keys.States(first))
	if err != nil || kv == nil {
		return tasks, nil, first, err
	}
	states, err := store.Decode[etcdkv.PlanStates](kv)
	return tasks, states.Tasks, first, err
}

func taskView(uid job.UID, number int, t *etcdkv.PlanTask, s *etcdkv.PlanState) api.PlanTask {
	v := api.PlanTask{
		ID: t.ID, Type: t.Type, Priority: t.Priority, NotBefore: t.NotBefore, Deadline: t.Deadline, Group: t.Group, After: t.After,
		State: string(plan.Pending), Since: s.At, Reason: s.Reason, Minion: s.Minion, Attempt: s.Attempt, RunID: s.RunID,
	}
	if s.State != "" {
		v.State = s.State
	}
	if v.State != string(plan.Pending) && v.State != string(plan.Skipped) {
		v.Item = running.ItemID(uid, number)
	}
	return v
}

// maxOrders bounds the orders to cancel that wait for the owner of a plan.
const maxOrders = 100

// CancelPlan cancels tasks of a plan: some, those of a group, or all.
func (d *Desk) CancelPlan(ctx context.Context, ns, upstream, id string, which api.PlanCancel, o api.Order) error {
	if len(which.Tasks) > api.MaxPlanCancel || len(which.Tasks) > 0 && which.Group != "" {
		return invalid("tasks", fmt.Sprintf("are at most %d, and not given together with a group", api.MaxPlanCancel))
	}
	what := object(ns, upstream, id)
	for range store.Tries {
		p, rev, err := d.read(ctx, ns, upstream, id)
		switch {
		case err != nil:
			return err
		case !p.EndedAt.IsZero():
			return fmt.Errorf("%s has ended: %w", what, job.ErrConflict)
		case len(p.Orders) >= maxOrders:
			return fmt.Errorf("%s has %d orders that are not done yet; try again soon: %w", what, maxOrders, job.ErrConflict)
		}
		if err := d.present(ctx, p.UID, which); err != nil {
			return err
		}
		target := what
		switch {
		case which.Group != "":
			target += " group " + which.Group
		case len(which.Tasks) == 1:
			target += " task " + which.Tasks[0]
		case len(which.Tasks) > 1:
			target += fmt.Sprintf(" (%d tasks)", len(which.Tasks))
		}
		rec := d.audit.Record(ctx, "plan.cancel", target, o)
		op, err := d.audit.Op(rec)
		if err != nil {
			return err
		}
		p.Orders = append(p.Orders, etcdkv.PlanOrder{Tasks: which.Tasks, Group: which.Group, By: caller.Of(ctx, o.By), Reason: rec.Reason, At: d.db.Now().UTC()})
		value, err := etcdkv.Encode(p)
		if err != nil {
			return err
		}
		name := d.db.Keys.Plan(ns, upstream, id)
		resp, err := d.db.Do(ctx, "cancel "+what, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", rev)}, []clientv3.Op{clientv3.OpPut(name, value), op})
		if err != nil {
			return err
		}
		if resp.Succeeded {
			return nil
		}
	}
	return fmt.Errorf("%s keeps changing; try again: %w", what, job.ErrConflict)
}

// present returns an error if a plan has not all of the tasks that are named.
func (d *Desk) present(ctx context.Context, uid job.UID, which api.PlanCancel) error {
	if len(which.Tasks) == 0 && which.Group == "" {
		return nil
	}
	missing := map[string]bool{}
	for _, id := range which.Tasks {
		missing[id] = true
	}
	for from := 0; ; {
		tasks, _, first, err := d.chunk(ctx, uid, from)
		if err != nil {
			return err
		}
		if from >= first+len(tasks) {
			break
		}
		for i := range tasks {
			if delete(missing, tasks[i].ID); which.Group != "" && tasks[i].Group == which.Group {
				return nil
			}
		}
		if which.Group == "" && len(missing) == 0 {
			return nil
		}
		from = first + len(tasks)
	}
	if which.Group != "" {
		return invalid("group", fmt.Sprintf("the plan has no task of the group %q", which.Group))
	}
	var problems []job.Problem
	for i, id := range which.Tasks {
		if missing[id] {
			problems = append(problems, job.Problem{Path: fmt.Sprintf("tasks[%d]", i), Message: fmt.Sprintf("the plan has no task %q", id)})
		}
	}
	return &job.InvalidError{Problems: problems}
}
