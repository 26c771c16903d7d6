package guarded

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/plans"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/httpapi"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// errReached is what a use case answers that was let through to control: 409.
var errReached = fmt.Errorf("reached control: %w", job.ErrConflict)

// behind has a thing of each kind in the namespaces own and foreign, and answers
// whatever is asked of it with errReached.
type behind struct {
	httpapi.Control // what a test does not reach

	changes chan api.Change
	// still is what Still returns; output, unless nil, is what Output and Results do.
	still  atomic.Pointer[error]
	asked  atomic.Pointer[atomic.Int32] // how often Still was asked
	output func(context.Context) error
	// labels are those of the jobs called x.
	labels map[string]string
	// spec is that of the jobs called x.
	spec job.Spec
	// uid is that of the jobs called x.
	uid job.UID
	// remade: the jobs called x are others than those whose runs there are.
	remade atomic.Bool
	// vain is how long a run is looked for that there is not.
	vain time.Duration
	// passing: the jobs called x were made for one run.
	passing bool
	// shards are what there are; nil: errReached.
	shards []api.Shard
	// hook is the token of the webhooks of the jobs called x; empty: any is.
	hook string
	// used is what keeps calendars and scripts.
	used error
	// pauses are those beside the usual ones.
	pauses []api.Pause
	// meanwhile, unless nil, is done between two transactions of a manifest.
	meanwhile func()
	// ended is why what callers showed is good no more.
	ended error
	// looked counts how often one of its things was looked at, or a manifest was read.
	looked atomic.Int64
}

func (b *behind) meta(ns string) job.Metadata {
	b.looked.Add(1)
	return job.Metadata{Namespace: ns, Name: "x", Labels: b.labels}
}

func uidOf(ns string) job.UID {
	if ns == "own" {
		return job.UID{1}
	}
	return job.UID{2}
}

// runOf is the id of the run of a namespace.
func runOf(ns string) job.RunID {
	return job.FireID{Job: uidOf(ns), At: 1_700_000_000_000_000_000, Trigger: job.TriggerManual}.RunID()
}

func (b *behind) run(ns string) job.Run {
	return job.Run{RunID: runOf(ns), Namespace: ns, Job: "x", State: job.StateSucceeded, Tasks: []job.Task{{
		Minion: "m1", Stdout: job.Output{Head: "a secret", Bytes: 8}, Stderr: job.Output{Tail: "a secret", Bytes: 8},
	}}}
}

// both makes one for each namespace.
func both[T any](of func(ns string) T) []T { return []T{of("own"), of("foreign")} }

func in(ns, asked string) bool { return asked == "" || asked == ns }

func (b *behind) Stored(_ context.Context, key job.Key) (etcdkv.StoredJob, jobstore.Place, error) {
	if key.Name != "x" {
		b.looked.Add(1)
		return etcdkv.StoredJob{}, jobstore.Place{}, jobstore.NoJob(key)
	}
	stored := etcdkv.StoredJob{Job: job.Job{Metadata: b.meta(key.Namespace), Spec: b.spec, UID: b.uid}}
	if b.remade.Load() {
		stored.UID = job.UID{9}
	}
	if b.passing {
		stored.ExpiresAt = time.Now().Add(time.Hour)
	}
	return stored, jobstore.Place{}, nil
}

func (b *behind) Objects(file string, data []byte) ([]manifest.Object, error) {
	b.looked.Add(1)
	return manifest.Decode(file, data)
}

func (b *behind) Apply(context.Context, string, []byte, bool) ([]api.ApplyResult, error) {
	return nil, errReached
}

func (b *behind) ApplyWhile(_ context.Context, _ string, _ []byte, _ bool, may func(from, to int) error) ([]api.ApplyResult, error) {
	if b.meanwhile != nil {
		b.meanwhile()
		if err := may(0, 1); err != nil {
			return nil, err
		}
	}
	return nil, errReached
}

func (b *behind) SetEnabled(context.Context, job.Key, bool, api.Order) (api.ApplyResult, error) {
	return api.ApplyResult{}, errReached
}

func (b *behind) Jobs(_ context.Context, q api.JobQuery) ([]api.Job, error) {
	var out []api.Job
	for _, v := range both(func(ns string) api.Job {
		return api.Job{Job: job.Job{Metadata: b.meta(ns)}, Last: []job.Run{b.run(ns)}}
	}) {
		if in(v.Namespace, q.Namespace) {
			out = append(out, v)
		}
	}
	return out, nil
}

func (b *behind) JobPage(ctx context.Context, q api.JobQuery) (api.JobPage, error) {
	all, err := b.Jobs(ctx, q)
	page := api.JobPage{Jobs: []api.Job{}}
	for _, v := range all {
		if q.Only != nil && !q.Only(v.Namespace, v.Labels) {
			continue
		}
		if q.Outcomes != nil && !q.Outcomes(v.Namespace, v.Labels) {
			v.Last = nil
		}
		page.Jobs, page.Total = append(page.Jobs, v), page.Total+1
	}
	return page, err
}

func (b *behind) Job(_ context.Context, key job.Key) (api.Job, error) {
	if key.Name != "x" {
		return api.Job{}, jobstore.NoJob(key)
	}
	return api.Job{Job: job.Job{Metadata: b.meta(key.Namespace)}, Last: []job.Run{b.run(key.Namespace)}}, nil
}

func (b *behind) Delete(context.Context, job.Key) (time.Time, error) { return time.Time{}, errReached }

func (b *behind) Fire(_ context.Context, key job.Key, _ time.Time) (api.Fire, error) {
	return api.Fire{Namespace: key.Namespace, Job: key.Name, Runs: []job.Run{b.run(key.Namespace)}}, nil
}

func (b *behind) Versions(context.Context, job.Key) ([]job.Former, error) { return nil, errReached }
func (b *behind) FormerObject(_ context.Context, key job.Key, _ int64) (manifest.Object, error) {
	return manifest.Object{Kind: job.KindJob, Metadata: b.meta(key.Namespace), Spec: job.Spec{Command: []string{"true"}}}, nil
}

func (b *behind) RollBack(context.Context, job.Key, int64, api.Order) (api.ApplyResult, error) {
	return api.ApplyResult{}, errReached
}

func (b *behind) Upcoming(context.Context, job.Key, time.Time, int) (api.Upcoming, error) {
	return api.Upcoming{}, errReached
}

func (b *behind) Start(context.Context, job.Key, api.StartRequest) (job.FireID, error) {
	return job.FireID{}, errReached
}

func (b *behind) WebhookSecret(context.Context, job.Key, string, api.Order) (api.WebhookSecret, error) {
	return api.WebhookSecret{}, errReached
}

func (b *behind) Hook(_ context.Context, key job.Key, call webhook.Call) (job.FireID, error) {
	switch {
	case key.Name != "x":
		return job.FireID{}, jobstore.NoJob(key)
	case b.hook != "" && call.Token != b.hook:
		return job.FireID{}, fmt.Errorf("webhook of job %s: the token is not the job's: %w", key, job.ErrForbidden)
	}
	return job.FireID{}, errReached
}

func (b *behind) Exec(context.Context, string, []byte, api.StartRequest) (api.Exec, error) {
	return api.Exec{}, errReached
}

func (b *behind) Backfill(context.Context, job.Key, api.BackfillRequest) (api.Backfill, error) {
	return api.Backfill{}, errReached
}

func (b *behind) Backfills(context.Context) ([]api.Backfill, error) {
	return both(func(ns string) api.Backfill {
		return api.Backfill{ID: "b-" + ns, Key: job.Key{Namespace: ns, Name: "x"}}
	}), nil
}

func (b *behind) EndBackfill(context.Context, string, api.Order) error     { return errReached }
func (b *behind) Cancel(context.Context, job.RunID, api.Order) error       { return errReached }
func (b *behind) Promote(context.Context, job.RunID, api.Order) error      { return errReached }
func (b *behind) DeleteGroup(context.Context, job.Key) error               { return errReached }
func (b *behind) DeleteHostGroup(context.Context, string) error            { return errReached }
func (b *behind) DeleteRole(context.Context, string) error                 { return errReached }
func (b *behind) DeleteRoleBinding(context.Context, string) error          { return errReached }
func (b *behind) DrainNode(context.Context, job.NodeID, api.Order) error   { return errReached }
func (b *behind) ForgetNode(context.Context, job.NodeID, api.Order) error  { return errReached }
func (b *behind) Sites(context.Context) ([]api.Site, error)                { return nil, errReached }
func (b *behind) DrainSite(context.Context, string, api.Order) error       { return errReached }
func (b *behind) UndrainSite(context.Context, string, api.Order) error     { return errReached }
func (b *behind) UndrainNode(context.Context, job.NodeID, api.Order) error { return errReached }
func (b *behind) HoldShard(context.Context, string, api.Order) error       { return errReached }
func (b *behind) ReleaseShard(context.Context, string, api.Order) error    { return errReached }
func (b *behind) FailbackShard(context.Context, string, api.Order) error   { return errReached }
func (b *behind) MoveShard(context.Context, string, job.NodeID, api.Order) error {
	return errReached
}

func (b *behind) Redo(context.Context, job.RunID, []api.RedoPart, api.Order) (api.Redo, error) {
	return api.Redo{}, errReached
}

func (b *behind) DeleteCalendar(context.Context, job.Key) error { return b.used }
func (b *behind) DeleteScript(context.Context, job.Key) error   { return b.used }
func (b *behind) DeleteSecret(context.Context, job.Key) error   { return b.used }

func (b *behind) Runs(_ context.Context, q api.RunQuery) (api.RunPage, error) {
	var page api.RunPage
	for _, r := range both(b.run) {
		if in(r.Namespace, q.Namespace) && (q.Only == nil || q.Only(&r)) {
			page.Runs = append(page.Runs, r)
		}
	}
	page.Total = len(page.Runs)
	return page, nil
}

func (b *behind) Run(_ context.Context, id job.RunID) (job.Run, error) {
	for _, r := range both(b.run) {
		if r.RunID == id {
			return r, nil
		}
	}
	time.Sleep(b.vain)
	return job.Run{}, fmt.Errorf("run %s: %w", id, job.ErrNotFound)
}

func (b *behind) Results(ctx context.Context, id job.RunID, fn func(api.Result) error) error {
	if b.output != nil {
		return b.output(ctx)
	}
	r, err := b.Run(ctx, id)
	if err != nil {
		return err
	}
	return fn(api.Result{Task: &r.Tasks[0]})
}

func (b *behind) Output(ctx context.Context, _ job.RunID, _ job.MinionID, _ bool, _ func(api.OutputLine) error) error {
	if b.output != nil {
		return b.output(ctx)
	}
	return errReached
}

func (b *behind) Pause(context.Context, api.Paused, time.Time, api.Order) (time.Time, error) {
	return time.Time{}, errReached
}

func (b *behind) Resume(context.Context, api.Paused, api.Order) (time.Time, error) {
	return time.Time{}, errReached
}

func (b *behind) Pauses(context.Context) ([]api.Pause, error) {
	return append(append(both(func(ns string) api.Pause { return api.Pause{Scope: api.ScopeNamespace, Namespace: ns} }),
		both(func(ns string) api.Pause { return api.Pause{Scope: api.ScopeJob, Namespace: ns, Name: "x"} })...), b.pauses...), nil
}

func (b *behind) Calendars(context.Context, string) ([]job.Calendar, error) {
	return both(func(ns string) job.Calendar { return job.Calendar{Metadata: b.meta(ns)} }), nil
}

func (b *behind) Scripts(context.Context, string) ([]job.SavedScript, error) {
	return both(func(ns string) job.SavedScript { return job.SavedScript{Metadata: b.meta(ns)} }), nil
}

func (b *behind) Secrets(context.Context, string) ([]job.Secret, error) {
	return both(func(ns string) job.Secret { return job.Secret{Metadata: b.meta(ns)} }), nil
}

func (b *behind) Notifiers(context.Context, string) ([]api.Notifier, error) {
	return both(func(ns string) api.Notifier { return api.Notifier{Notifier: job.Notifier{Metadata: b.meta(ns)}} }), nil
}

func (b *behind) Notifier(_ context.Context, key job.Key) (api.NotifierDetail, error) {
	return api.NotifierDetail{Notifier: api.Notifier{Notifier: job.Notifier{Metadata: b.meta(key.Namespace)}}, Deliveries: both(func(ns string) job.Delivery {
		return job.Delivery{Alert: job.Alert{Job: job.Key{Namespace: ns, Name: "x"}}}
	})}, nil
}

func (b *behind) DeleteNotifier(context.Context, job.Key) error          { return errReached }
func (b *behind) TestNotifier(context.Context, job.Key, api.Order) error { return errReached }
func (b *behind) SendAgain(context.Context, job.Key, string, api.Order) error {
	return errReached
}

func (b *behind) Defaults(context.Context, string) ([]job.Defaults, error) {
	return both(func(ns string) job.Defaults { return job.Defaults{Metadata: b.meta(ns)} }), nil
}
func (b *behind) DeleteDefaults(context.Context, job.Key) error { return errReached }

func (b *behind) Secret(_ context.Context, key job.Key) (api.SecretDetail, error) {
	keys := both(func(ns string) job.Key { return job.Key{Namespace: ns, Name: "x"} })
	return api.SecretDetail{Secret: job.Secret{Metadata: b.meta(key.Namespace)}, Jobs: keys, Queues: keys}, nil
}

func (b *behind) Script(_ context.Context, ref job.ScriptRef) (api.ScriptDetail, error) {
	return api.ScriptDetail{SavedScript: job.SavedScript{Metadata: b.meta(ref.Key.Namespace)}, Jobs: both(func(ns string) api.ScriptUser {
		return api.ScriptUser{Job: job.Key{Namespace: ns, Name: "x"}}
	})}, nil
}

func (b *behind) Groups(context.Context, string) ([]api.Group, error) {
	return both(func(ns string) api.Group { return api.Group{Group: job.Group{Metadata: b.meta(ns)}} }), nil
}

func (b *behind) Shards(context.Context) ([]api.Shard, error) {
	if b.shards == nil {
		return nil, errReached
	}
	return slices.Clone(b.shards), nil
}

func (b *behind) Group(_ context.Context, key job.Key) (api.Group, error) {
	return api.Group{Group: job.Group{Metadata: b.meta(key.Namespace), Shard: job.FirstGroupShard}}, nil
}

func (b *behind) Roles(context.Context) ([]api.Role, error)               { return nil, errReached }
func (b *behind) RoleBindings(context.Context) ([]job.RoleBinding, error) { return nil, errReached }
func (b *behind) Nodes(context.Context) ([]api.Node, error)               { return nil, errReached }
func (b *behind) Audit(context.Context, api.AuditQuery) (api.AuditPage, error) {
	return api.AuditPage{}, errReached
}
func (b *behind) AuditFeed(context.Context, int64, time.Time) (api.AuditFeed, error) {
	return api.AuditFeed{}, errReached
}
func (b *behind) VerifyAudit(context.Context, int64, string) (api.AuditVerdict, error) {
	return api.AuditVerdict{}, errReached
}
func (b *behind) Refused(context.Context, string, string, string)         {}
func (b *behind) Tokens(context.Context) ([]api.JoinToken, error)         { return nil, errReached }
func (b *behind) JoinRequests(context.Context) ([]api.JoinRequest, error) { return nil, errReached }
func (b *behind) Enrolled(context.Context) ([]api.Enrollment, error)      { return nil, errReached }
func (b *behind) Doctor(context.Context) ([]api.Check, error)             { return nil, errReached }
func (b *behind) UpdateStatus(context.Context) (api.Update, error)        { return api.Update{}, errReached }
func (b *behind) Authority() (api.Authority, error)                       { return api.Authority{}, errReached }
func (b *behind) Version() api.Version                                    { return api.Version{Version: "1.2.3"} }
func (b *behind) MatchMinions(context.Context, string) (api.Match, error) {
	return api.Match{}, errReached
}
func (b *behind) DispatchStatus(context.Context, bool) (api.Dispatch, error) {
	return api.Dispatch{}, errReached
}

func (b *behind) Minions(context.Context) ([]api.Minion, error) {
	return []api.Minion{{Minion: job.Minion{ID: "m1", Labels: map[string]string{"site": "a"}}}, {Minion: job.Minion{ID: "m2"}}}, nil
}

func (b *behind) Minion(_ context.Context, id job.MinionID) (api.MinionDetail, error) {
	all, _ := b.Minions(context.Background())
	for i := range all {
		if all[i].ID == id {
			return api.MinionDetail{Minion: all[i]}, nil
		}
	}
	return api.MinionDetail{}, fmt.Errorf("minion %s: %w", id, job.ErrNotFound)
}

func (b *behind) LabelMinion(context.Context, job.MinionID, api.LabelRequest) (map[string]string, error) {
	return nil, errReached
}

func (b *behind) HostGroups(context.Context) ([]job.HostGroup, error) {
	return []job.HostGroup{{Metadata: b.meta(job.DefaultNamespace)}}, nil
}

func (b *behind) CreateToken(context.Context, api.TokenRequest) (api.JoinToken, error) {
	return api.JoinToken{}, errReached
}

func (b *behind) CreateNodeToken(context.Context, api.TokenRequest) (api.JoinToken, error) {
	return api.JoinToken{}, errReached
}

func (b *behind) EtcdMembers(context.Context) ([]api.EtcdMember, error) { return nil, errReached }

func (b *behind) RemoveEtcdMember(context.Context, string, api.Order) error { return errReached }

func (b *behind) AddEtcdMember(context.Context, job.NodeID, api.Order) error { return errReached }

func (b *behind) MoveEtcdLeader(context.Context, string, api.Order) error { return errReached }

func (b *behind) DefragEtcd(context.Context, string, api.Order) error { return errReached }

func (b *behind) DeleteToken(context.Context, string, api.Order) error { return errReached }

func (b *behind) ApproveMinion(context.Context, job.MinionID, string, map[string]string, api.Order) error {
	return errReached
}

func (b *behind) RejectMinion(context.Context, job.MinionID, api.Order) error { return errReached }
func (b *behind) RevokeMinion(context.Context, job.MinionID, api.Order) error { return errReached }
func (b *behind) ForgetMinion(context.Context, job.MinionID, api.Order) error { return errReached }

func (b *behind) StartUpdate(context.Context, api.UpdateRequest) (api.Update, error) {
	return api.Update{}, errReached
}

func (b *behind) PauseUpdate(context.Context, api.Order) error  { return errReached }
func (b *behind) ResumeUpdate(context.Context, api.Order) error { return errReached }
func (b *behind) StopUpdate(context.Context, api.Order) error   { return errReached }

func (b *behind) OpenLockSession(context.Context, string, time.Duration) (api.LockSession, error) {
	return api.LockSession{}, errReached
}

func (b *behind) RenewLockSession(context.Context, string, job.Key, string) (api.LockRenewal, error) {
	return api.LockRenewal{}, errReached
}

func (b *behind) CloseLockSession(context.Context, string) error { return errReached }

func (b *behind) AcquireLock(context.Context, job.Key, api.LockRequest) (api.LockAnswer, error) {
	return api.LockAnswer{}, errReached
}

func (b *behind) ReleaseLock(context.Context, job.Key, api.LockRequest) error { return errReached }

func (b *behind) Queues(context.Context, string) ([]api.Queue, error) {
	return both(func(ns string) api.Queue { return api.Queue{Queue: job.Queue{Metadata: b.meta(ns)}} }), nil
}

func (b *behind) Queue(_ context.Context, key job.Key) (api.Queue, error) {
	return api.Queue{Queue: job.Queue{Metadata: b.meta(key.Namespace)}}, nil
}

func (b *behind) DeleteQueue(context.Context, job.Key) error { return errReached }

func (b *behind) HoldQueue(context.Context, job.Key, api.QueueOrder, api.Order) error {
	return errReached
}

func (b *behind) PutItems(context.Context, job.Key, []api.NewItem, api.Order) ([]api.PutItem, error) {
	return nil, errReached
}

func (b *behind) QueueItems(context.Context, job.Key, api.ItemQuery) (api.ItemPage, error) {
	return api.ItemPage{}, errReached
}

func (b *behind) QueueItem(_ context.Context, key job.Key, id string) (api.QueueItem, error) {
	r := b.run(key.Namespace)
	return api.QueueItem{ID: id, Payload: "a secret", Run: &r}, nil
}

func (b *behind) CancelItem(context.Context, job.Key, string, api.Order) (bool, error) {
	return false, errReached
}

func (b *behind) Redrive(context.Context, job.Key, string, api.Order) (api.ItemsChanged, error) {
	return api.ItemsChanged{}, errReached
}

func (b *behind) Purge(context.Context, job.Key, bool, api.Order) (api.ItemsChanged, error) {
	return api.ItemsChanged{}, errReached
}

func (b *behind) Locks(context.Context, string) ([]api.Lock, error) {
	return both(func(ns string) api.Lock { return api.Lock{Namespace: ns, Name: "x"} }), nil
}

func (b *behind) Lock(_ context.Context, key job.Key) (api.Lock, error) {
	return api.Lock{Namespace: key.Namespace, Name: key.Name}, nil
}

func (b *behind) BreakLock(context.Context, job.Key, job.Token, api.Order) error { return errReached }

func (b *behind) CreateAPIToken(context.Context, api.APITokenRequest) (api.APIToken, error) {
	return api.APIToken{}, errReached
}

func (b *behind) APITokens(context.Context) ([]api.APIToken, error) { return nil, errReached }
func (b *behind) LoginWays() api.LoginWays                          { return api.LoginWays{} }
func (b *behind) BeginLogin(context.Context, api.LoginRequest) (api.LoginURL, error) {
	return api.LoginURL{}, errReached
}

func (b *behind) FinishLogin(context.Context, api.LoginAnswer) (api.Login, error) {
	return api.Login{}, errReached
}

func (b *behind) BeginDeviceLogin(context.Context) (api.DeviceLogin, error) {
	return api.DeviceLogin{}, errReached
}

func (b *behind) FinishDeviceLogin(context.Context, string) (api.Login, error) {
	return api.Login{}, errReached
}

func (b *behind) EndSession(context.Context) error { return errReached }
func (b *behind) Bootstrap(context.Context, string, api.APITokenRequest) (api.APIToken, error) {
	return api.APIToken{}, errReached
}

func (b *behind) AccessState(context.Context) (api.Access, error) { return api.Access{}, errReached }

func (b *behind) SetAccess(context.Context, access.State, api.Order) (api.Access, error) {
	return api.Access{}, errReached
}

func (b *behind) Backup(context.Context, io.Writer) error { return errReached }

func (b *behind) Standby(context.Context) (api.Standby, error) { return api.Standby{}, errReached }

func (b *behind) FollowActive(context.Context, api.FollowRequest) (api.Followed, error) {
	return api.Followed{}, errReached
}

func (b *behind) StopFollowing(context.Context, api.Order) error { return errReached }

func (b *behind) PromoteCluster(context.Context, api.PromoteRequest) (api.Promotion, error) {
	return api.Promotion{}, errReached
}

func (b *behind) Mirror(context.Context, api.MirrorRequest, io.Writer) error { return errReached }

func (b *behind) HandOver(context.Context, api.Order) (api.HandedOver, error) {
	return api.HandedOver{}, errReached
}

func (b *behind) Overtaken(context.Context, api.OvertakenRequest) (api.Standby, error) {
	return api.Standby{}, errReached
}

func (b *behind) Recover(context.Context, api.RecoverRequest) (api.Recovery, error) {
	return api.Recovery{}, errReached
}

func (b *behind) RotateAPIToken(context.Context, string, api.TokenRotation) (api.APIToken, error) {
	return api.APIToken{}, errReached
}

func (b *behind) RevokeAPIToken(context.Context, string, api.Order) error { return errReached }
func (b *behind) Self(context.Context) (api.Self, error)                  { return api.Self{}, nil }

// Still tells what a test has it tell.
func (b *behind) Still(context.Context) error {
	if n := b.asked.Load(); n != nil {
		n.Add(1)
	}
	if err := b.still.Load(); err != nil {
		return *err
	}
	return b.ended
}

func (b *behind) Changes(context.Context, string) <-chan api.Change { return b.changes }

func (b *behind) SendPlan(context.Context, plans.Sending, api.Order) (api.PlanReceipt, error) {
	return api.PlanReceipt{}, errReached
}

func (b *behind) Plans(context.Context, string) ([]api.Plan, error) {
	return both(func(ns string) api.Plan { return api.Plan{Namespace: ns} }), nil
}

func (b *behind) Plan(context.Context, string, string, string) (api.Plan, error) {
	return api.Plan{}, errReached
}

func (b *behind) AskPlan(context.Context, string, func() (plan.Query, error)) (api.Plan, plan.Query, error) {
	return api.Plan{}, plan.Query{}, errReached
}

func (b *behind) PlanTasks(context.Context, string, string, string, api.PlanTaskQuery) (api.PlanTaskPage, error) {
	return api.PlanTaskPage{}, errReached
}

func (b *behind) CancelPlan(context.Context, string, string, string, api.PlanCancel, api.Order) error {
	return errReached
}

func (b *behind) PlanSecret(context.Context, string, string, string, api.Order) (api.WebhookSecret, error) {
	return api.WebhookSecret{}, errReached
}
