package httpapi

import (
	"context"
	"io"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/access"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/plans"
	"github.com/carillon-cron/carillon/internal/webhook"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

// Applying makes the cluster hold what a manifest says, and turns jobs on and off.
type Applying interface {
	Apply(ctx context.Context, file string, data []byte, dryRun bool) ([]api.ApplyResult, error)
	SetEnabled(ctx context.Context, key job.Key, on bool, o api.Order) (api.ApplyResult, error)
}

// Jobs shows jobs and what becomes of their instants.
type Jobs interface {
	Jobs(ctx context.Context, q api.JobQuery) ([]api.Job, error)
	JobPage(ctx context.Context, q api.JobQuery) (api.JobPage, error)
	Job(ctx context.Context, key job.Key) (api.Job, error)
	Delete(ctx context.Context, key job.Key) (time.Time, error)
	Fire(ctx context.Context, key job.Key, at time.Time) (api.Fire, error)
	Upcoming(ctx context.Context, key job.Key, after time.Time, n int) (api.Upcoming, error)
	Versions(ctx context.Context, key job.Key) ([]job.Former, error)
	RollBack(ctx context.Context, key job.Key, generation int64, o api.Order) (api.ApplyResult, error)
}

// Starting starts runs and takes orders for open ones.
type Starting interface {
	Start(ctx context.Context, key job.Key, req api.StartRequest) (job.FireID, error)
	Hook(ctx context.Context, key job.Key, call webhook.Call) (job.FireID, error)
	WebhookSecret(ctx context.Context, key job.Key, given string, o api.Order) (api.WebhookSecret, error)
	Exec(ctx context.Context, file string, data []byte, req api.StartRequest) (api.Exec, error)
	Backfill(ctx context.Context, key job.Key, req api.BackfillRequest) (api.Backfill, error)
	Backfills(ctx context.Context) ([]api.Backfill, error)
	EndBackfill(ctx context.Context, id string, o api.Order) error
	Cancel(ctx context.Context, id job.RunID, o api.Order) error
	Promote(ctx context.Context, id job.RunID, o api.Order) error
	Redo(ctx context.Context, id job.RunID, only []api.RedoPart, o api.Order) (api.Redo, error)
}

// Runs shows runs.
type Runs interface {
	Runs(ctx context.Context, q api.RunQuery) (api.RunPage, error)
	Run(ctx context.Context, id job.RunID) (job.Run, error)
	Results(ctx context.Context, id job.RunID, fn func(api.Result) error) error
	Output(ctx context.Context, id job.RunID, minion job.MinionID, follow bool, fn func(api.OutputLine) error) error
}

// Pauses pauses jobs.
type Pauses interface {
	Pause(ctx context.Context, p api.Paused, until time.Time, o api.Order) (time.Time, error)
	Resume(ctx context.Context, p api.Paused, o api.Order) (time.Time, error)
	Pauses(ctx context.Context) ([]api.Pause, error)
}

// Definitions shows and deletes what jobs name.
type Definitions interface {
	Calendars(ctx context.Context, namespace string) ([]job.Calendar, error)
	DeleteCalendar(ctx context.Context, key job.Key) error
	Scripts(ctx context.Context, namespace string) ([]job.SavedScript, error)
	Script(ctx context.Context, ref job.ScriptRef) (api.ScriptDetail, error)
	DeleteScript(ctx context.Context, key job.Key) error
	Secrets(ctx context.Context, namespace string) ([]job.Secret, error)
	Secret(ctx context.Context, key job.Key) (api.SecretDetail, error)
	DeleteSecret(ctx context.Context, key job.Key) error
	Defaults(ctx context.Context, namespace string) ([]job.Defaults, error)
	DeleteDefaults(ctx context.Context, key job.Key) error
}

// Notifiers shows, deletes and tries notifiers.
type Notifiers interface {
	Notifiers(ctx context.Context, namespace string) ([]api.Notifier, error)
	Notifier(ctx context.Context, key job.Key) (api.NotifierDetail, error)
	DeleteNotifier(ctx context.Context, key job.Key) error
	TestNotifier(ctx context.Context, key job.Key, o api.Order) error
	SendAgain(ctx context.Context, key job.Key, alert string, o api.Order) error
}

// Cluster shows nodes, shards and groups, and takes orders for them.
type Cluster interface {
	Nodes(ctx context.Context) ([]api.Node, error)
	Shards(ctx context.Context) ([]api.Shard, error)
	Groups(ctx context.Context, namespace string) ([]api.Group, error)
	Group(ctx context.Context, key job.Key) (api.Group, error)
	DeleteGroup(ctx context.Context, key job.Key) error
	DrainNode(ctx context.Context, node job.NodeID, o api.Order) error
	ForgetNode(ctx context.Context, node job.NodeID, o api.Order) error
	UndrainNode(ctx context.Context, node job.NodeID, o api.Order) error
	Sites(ctx context.Context) ([]api.Site, error)
	DrainSite(ctx context.Context, site string, o api.Order) error
	UndrainSite(ctx context.Context, site string, o api.Order) error
	MoveShard(ctx context.Context, ref string, node job.NodeID, o api.Order) error
	HoldShard(ctx context.Context, ref string, o api.Order) error
	ReleaseShard(ctx context.Context, ref string, o api.Order) error
	FailbackShard(ctx context.Context, ref string, o api.Order) error
	// Backup writes a backup of what etcd holds.
	Backup(ctx context.Context, w io.Writer) error
	// Recover has a cluster go on that is held since a restore.
	Recover(ctx context.Context, req api.RecoverRequest) (api.Recovery, error)
}

// Standing tells what the cluster is to another one, and changes that.
type Standing interface {
	Standby(ctx context.Context) (api.Standby, error)
	FollowActive(ctx context.Context, req api.FollowRequest) (api.Followed, error)
	StopFollowing(ctx context.Context, o api.Order) error
	PromoteCluster(ctx context.Context, req api.PromoteRequest) (api.Promotion, error)
	// Mirror writes all that etcd holds, and what changes, until ctx ends.
	Mirror(ctx context.Context, req api.MirrorRequest, w io.Writer) error
	HandOver(ctx context.Context, o api.Order) (api.HandedOver, error)
	Overtaken(ctx context.Context, req api.OvertakenRequest) (api.Standby, error)
}

// Minions shows minions and what is on its way to them, and labels them.
type Minions interface {
	Minions(ctx context.Context) ([]api.Minion, error)
	Minion(ctx context.Context, id job.MinionID) (api.MinionDetail, error)
	LabelMinion(ctx context.Context, id job.MinionID, req api.LabelRequest) (map[string]string, error)
	MatchMinions(ctx context.Context, expr string) (api.Match, error)
	HostGroups(ctx context.Context) ([]job.HostGroup, error)
	DeleteHostGroup(ctx context.Context, name string) error
	DispatchStatus(ctx context.Context, all bool) (api.Dispatch, error)
}

// Granting shows and deletes roles and bindings.
type Granting interface {
	Roles(ctx context.Context) ([]api.Role, error)
	DeleteRole(ctx context.Context, name string) error
	RoleBindings(ctx context.Context) ([]job.RoleBinding, error)
	DeleteRoleBinding(ctx context.Context, name string) error
}

// Enrollment decides who may connect as a minion.
type Enrollment interface {
	Authority() (api.Authority, error)
	CreateToken(ctx context.Context, req api.TokenRequest) (api.JoinToken, error)
	Tokens(ctx context.Context) ([]api.JoinToken, error)
	DeleteToken(ctx context.Context, id string, o api.Order) error
	JoinRequests(ctx context.Context) ([]api.JoinRequest, error)
	ApproveMinion(ctx context.Context, id job.MinionID, fingerprint string, labels map[string]string, o api.Order) error
	RejectMinion(ctx context.Context, id job.MinionID, o api.Order) error
	RevokeMinion(ctx context.Context, id job.MinionID, o api.Order) error
	Enrolled(ctx context.Context) ([]api.Enrollment, error)
	ForgetMinion(ctx context.Context, id job.MinionID, o api.Order) error
}

// Callers knows who may ask.
type Callers interface {
	// ByToken returns who shows the text of a token, from an address. A text that is
	// not good is a caller.RefusedError or a caller.BusyError.
	ByToken(ctx context.Context, text, from string) (caller.Caller, error)
	// BySession is ByToken for what a browser keeps of a session of the page.
	BySession(ctx context.Context, secret, from string) (caller.Caller, error)
	CreateAPIToken(ctx context.Context, req api.APITokenRequest) (api.APIToken, error)
	Bootstrap(ctx context.Context, text string, req api.APITokenRequest) (api.APIToken, error)
	APITokens(ctx context.Context) ([]api.APIToken, error)
	RotateAPIToken(ctx context.Context, ref string, req api.TokenRotation) (api.APIToken, error)
	RevokeAPIToken(ctx context.Context, ref string, o api.Order) error
	Self(ctx context.Context) (api.Self, error)
	// LoginWays tells how one may log in besides by a token; the next ones do it, by the
	// identity provider.
	LoginWays() api.LoginWays
	BeginLogin(ctx context.Context, req api.LoginRequest) (api.LoginURL, error)
	FinishLogin(ctx context.Context, in api.LoginAnswer) (api.Login, error)
	BeginDeviceLogin(ctx context.Context) (api.DeviceLogin, error)
	FinishDeviceLogin(ctx context.Context, code string) (api.Login, error)
	EndSession(ctx context.Context) error
	// CanStart tells whether the caller may have a command started by something.
	CanStart(ctx context.Context, req api.CanIRequest) (api.CanI, error)
	AccessState(ctx context.Context) (api.Access, error)
	SetAccess(ctx context.Context, state access.State, o api.Order) (api.Access, error)
}

// Auditing shows what was done.
type Auditing interface {
	Audit(ctx context.Context, q api.AuditQuery) (api.AuditPage, error)
	AuditFeed(ctx context.Context, after int64, since time.Time) (api.AuditFeed, error)
	VerifyAudit(ctx context.Context, segment int64, hash string) (api.AuditVerdict, error)
	// Refused notes that who asks was refused what it tried, an action on an object, and
	// why. It does not block.
	Refused(ctx context.Context, action, object, why string)
}

// Updates brings minions to another release.
type Updates interface {
	StartUpdate(ctx context.Context, req api.UpdateRequest) (api.Update, error)
	UpdateStatus(ctx context.Context) (api.Update, error)
	PauseUpdate(ctx context.Context, o api.Order) error
	ResumeUpdate(ctx context.Context, o api.Order) error
	StopUpdate(ctx context.Context, o api.Order) error
}

// Locks lets clients hold locks.
type Locks interface {
	OpenLockSession(ctx context.Context, holder string, ttl time.Duration) (api.LockSession, error)
	RenewLockSession(ctx context.Context, session string, key job.Key, place string) (api.LockRenewal, error)
	CloseLockSession(ctx context.Context, session string) error
	AcquireLock(ctx context.Context, key job.Key, req api.LockRequest) (api.LockAnswer, error)
	ReleaseLock(ctx context.Context, key job.Key, req api.LockRequest) error
	Locks(ctx context.Context, namespace string) ([]api.Lock, error)
	Lock(ctx context.Context, key job.Key) (api.Lock, error)
	BreakLock(ctx context.Context, key job.Key, token job.Token, o api.Order) error
}

// Queues puts items into queues, shows them, and holds them back.
type Queues interface {
	Queues(ctx context.Context, namespace string) ([]api.Queue, error)
	Queue(ctx context.Context, key job.Key) (api.Queue, error)
	DeleteQueue(ctx context.Context, key job.Key) error
	HoldQueue(ctx context.Context, key job.Key, how api.QueueOrder, o api.Order) error
	PutItems(ctx context.Context, key job.Key, items []api.NewItem, o api.Order) ([]api.PutItem, error)
	QueueItems(ctx context.Context, key job.Key, q api.ItemQuery) (api.ItemPage, error)
	QueueItem(ctx context.Context, key job.Key, id string) (api.QueueItem, error)
	CancelItem(ctx context.Context, key job.Key, id string, o api.Order) (bool, error)
	Redrive(ctx context.Context, key job.Key, id string, o api.Order) (api.ItemsChanged, error)
	Purge(ctx context.Context, key job.Key, dead bool, o api.Order) (api.ItemsChanged, error)
}

// Plans takes plans of other systems, and tells of them.
type Plans interface {
	SendPlan(ctx context.Context, in plans.Sending, o api.Order) (api.PlanReceipt, error)
	Plans(ctx context.Context, namespace string) ([]api.Plan, error)
	Plan(ctx context.Context, namespace, upstream, id string) (api.Plan, error)
	AskPlan(ctx context.Context, namespace string, read func() (plan.Query, error)) (api.Plan, plan.Query, error)
	PlanTasks(ctx context.Context, namespace, upstream, id string, q api.PlanTaskQuery) (api.PlanTaskPage, error)
	PlanSecret(ctx context.Context, namespace, upstream, given string, o api.Order) (api.WebhookSecret, error)
	CancelPlan(ctx context.Context, namespace, upstream, id string, which api.PlanCancel, o api.Order) error
}

// Observing tells how the cluster is, and what changes.
type Observing interface {
	Doctor(ctx context.Context) ([]api.Check, error)
	Version() api.Version
	Changes(ctx context.Context, since string) <-chan api.Change
}
