package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/control/definitions"
	"github.com/carillon-cron/carillon/internal/control/jobstore"
	"github.com/carillon-cron/carillon/internal/control/minions"
	"github.com/carillon-cron/carillon/internal/control/roles"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// purpose is what objects are planned for.
type purpose uint8

const (
	// applying: they are what somebody has written.
	applying purpose = iota
	// switching: jobs are switched on or off, and nothing else of them changes.
	switching
	// restoring: they are what was stored. Defaults are not filled in again.
	restoring
)

// planner works out what applying objects changes. All its changes may go into
// one transaction: what they share, such as the counter of groups' shards, is
// in each of them that needs it.
type planner struct {
	c   *Applier
	now time.Time
	// groups are those that the objects are, or name, as they are stored; jobs
	// are put into shards by it. A group of the file that is new is in it once
	// it is planned.
	groups map[job.Key]groupPlace
	// next is the counter from which new groups get their shards.
	next    job.ShardID
	nextRev int64
	// hosts are the saved groups of hosts, with those of the file.
	hosts *minions.HostGroups
	// left are the shards that jobs are moved out of.
	left map[job.ShardID]*leftShard
	// states are those of shards whose jobs change their schedules.
	states map[job.ShardID]etcdkv.ShardState
	// calendars are those that the objects are, or name; nil: there is none.
	calendars map[job.Key]*mvccpb.KeyValue
	// scripts are the ones that the objects are, or name; named are all names.
	scripts *definitions.ScriptIndex
	// secrets are those that the objects are, or name; nil: there is none. given are
	// those that the objects are.
	secrets map[job.Key]*mvccpb.KeyValue
	given   map[job.Key]bool
	// notifiers are those that the objects are; nil: there is none.
	notifiers map[job.Key]*mvccpb.KeyValue
	// defaults are those of the objects' namespaces, as they are stored; nil: there are
	// none. givenDefaults are the namespaces whose defaults are among the objects, filled
	// what jobs get of defaults, by their places.
	defaults      map[string]*mvccpb.KeyValue
	givenDefaults map[string]bool
	filled        map[int][]string
	// queues are those to which jobs are dispatched; nil: there is none.
	queues map[job.Key]*mvccpb.KeyValue
	// who are the takers of queues, and of jobs by their handlers and targets.
	who map[string]minions.Takers
	// roles are all roles and bindings if an object is one of them; else nil.
	roles *roles.Stored
	named []job.ScriptRef
	// created counts the jobs that are new.
	created int
	// ending are jobs whose schedule has changed to one that never fires again.
	ending  []job.Problem
	purpose purpose
	// beyond tells what objects would start that the caller may not have started;
	// beyondKind is the kind of the first.
	beyond     []string
	beyondKind rights.Kind
}

// plan reads what is stored and works out what applying the objects changes.
func (ap *Applier) plan(ctx context.Context, objects []manifest.Object) ([]change, error) {
	return ap.planAs(ctx, objects, applying)
}

// planAs is plan for a purpose.
func (ap *Applier) planAs(ctx context.Context, objects []manifest.Object, why purpose) ([]change, error) {
	if caller.RequestOf(ctx).IfMatch != 0 && (len(objects) != 1 || objects[0].Kind != job.KindJob) {
		return nil, apiview.Invalid("If-Match", "is of one job: apply that alone, or leave it out")
	}
	p := &planner{c: ap, purpose: why, now: ap.db.Now().UTC(), who: map[string]minions.Takers{}, groups: map[job.Key]groupPlace{}, left: map[job.ShardID]*leftShard{}, states: map[job.ShardID]etcdkv.ShardState{}}
	if err := p.readDefaults(ctx, objects); err != nil {
		return nil, err
	}
	objects = slices.Clone(objects) // where it is worked out anew, what is filled in is, too
	unfit, err := p.fill(objects)
	if err != nil {
		return nil, err
	}
	if err := p.readGroups(ctx, objects); err != nil {
		return nil, err
	}
	if err := p.readHosts(ctx, objects); err != nil {
		return nil, err
	}
	if err := p.readCalendars(ctx, objects); err != nil {
		return nil, err
	}
	if err := p.readScripts(ctx, objects); err != nil {
		return nil, err
	}
	if err := p.readSecrets(ctx, objects); err != nil {
		return nil, err
	}
	if err := p.readNotifiers(ctx, objects); err != nil {
		return nil, err
	}
	if err := p.readQueues(ctx, objects); err != nil {
		return nil, err
	}
	if err := p.readRoles(ctx, objects); err != nil {
		return nil, err
	}
	var keys []job.Key
	for i := range objects {
		if objects[i].Kind == job.KindJob {
			keys = append(keys, objects[i].Metadata.Key())
		}
	}
	places, err := ap.jobs.LocateAll(ctx, "apply", keys)
	if err != nil {
		return nil, err
	}
	changes := make([]change, len(objects))
	problems := slices.Concat(unfit, p.checkTargets(ctx, objects), p.checkCalendars(objects))
	problems = append(problems, p.checkBindings(objects)...)
	problems = append(problems, p.checkSearches(objects)...)
	problems = append(problems, p.checkSecrets(objects)...)
	for i := range objects {
		o := &objects[i]
		if o.Kind != job.KindJob {
			if changes[i], err = p.other(ctx, objects, o); err != nil {
				return nil, fmt.Errorf("apply %s %s: %w", strings.ToLower(o.Kind), o.Metadata.Key(), err)
			}
			p.usesSecrets(&changes[i], o)
			continue
		}
		at := places[0]
		places = places[1:]
		if g := groupOf(o); g.Name != "" {
			if _, ok := p.groups[g]; !ok {
				problem, err := ap.noGroup(ctx, o, p.groups)
				if err != nil {
					return nil, err
				}
				problems = append(problems, problem)
				continue
			}
		}
		if changes[i], err = p.job(ctx, o, at); err != nil {
			return nil, fmt.Errorf("apply job %s: %w", o.Metadata.Key(), err)
		}
		p.scripted(&changes[i], o)
		p.usesSecrets(&changes[i], o)
		p.usesDefaults(&changes[i], o)
		p.queued(&changes[i], o)
	}
	problems = append(problems, p.checkSteps(objects)...)
	undone, err := p.checkDispatch(ctx, objects, changes)
	if err != nil {
		return nil, err
	}
	problems = append(problems, undone...)
	untaken, err := p.checkInputs(ctx, objects, changes)
	if err != nil {
		return nil, err
	}
	problems = append(problems, untaken...)
	if p.created > 0 {
		if err := ap.RoomForJobs(ctx); err != nil {
			return nil, fmt.Errorf("apply: %w", err)
		}
	}
	chained, err := p.checkConditions(ctx, objects)
	if err != nil {
		return nil, err
	}
	if problems = append(problems, chained...); len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	if err := p.refuseBeyond(ctx); err != nil {
		return nil, err
	}
	if err := p.warn(ctx, objects, changes); err != nil {
		return nil, err
	}
	return changes, nil
}

// other works out what applying an object changes that is no job.
func (p *planner) other(ctx context.Context, objects []manifest.Object, o *manifest.Object) (change, error) {
	switch o.Kind {
	case job.KindCalendar:
		return p.calendar(o)
	case job.KindScript:
		return p.script(ctx, o)
	case job.KindQueue:
		return p.queue(ctx, o)
	case job.KindSecret:
		return p.secret(ctx, o)
	case job.KindNotifier:
		return p.notifier(o)
	case job.KindDefaults:
		return p.defaultsObject(o)
	case job.KindHostGroup:
		return p.hostGroup(o)
	case job.KindRole:
		return p.giveRole(ctx, o)
	case job.KindRoleBinding:
		return p.giveBinding(ctx, objects, o)
	}
	return p.group(o)
}

// job works out what applying a job changes. Its group is known.
func (p *planner) job(ctx context.Context, o *manifest.Object, at jobstore.Place) (change, error) {
	key := o.Metadata.Key()
	to := p.c.jobs.HashShard(key)
	if o.Spec.Group != "" {
		to = p.groups[groupOf(o)].shard
	}
	ch := change{result: api.ApplyResult{Kind: o.Kind, Namespace: key.Namespace, Name: key.Name, Action: api.ActionUpdated}}
	next := etcdkv.StoredJob{Schema: etcdkv.Schema, Job: job.Job{Metadata: o.Metadata, Spec: o.Spec, UpdatedAt: p.now, AppliedBy: p.author(ctx)}}
	if at.KV == nil {
		err := caller.Unchanged(ctx, "job "+key.String(), 0)
		if err != nil {
			return change{}, err
		}
		if next.Bounds, err = p.jobBounds(ctx, o, nil); err != nil {
			return change{}, err
		}
		ch.result.Warnings = p.c.boundWarnings(ctx, next.Spec.Target, next.Bounds)
		p.checkEnding(o, &next.Job)
		ch.result.Action = api.ActionCreated
		uid, err := job.NewUID()
		if err != nil {
			return change{}, err
		}
		next.UID, next.Generation, next.After, next.CreatedAt = uid, 1, p.now, p.now
		if next.Spec.Count > 0 {
			next.CountedFrom = p.now
		}
		if err := p.putDependencies(&ch.Txn, key, nil, &o.Spec); err != nil {
			return change{}, err
		}
		p.created++
		ch.SameAs(p.c.db.Keys.Job(p.c.jobs.HashShard(key), key), 0)
		ch.SameAs(p.c.db.Keys.GroupedJob(key), 0)
		value, err := etcdkv.Encode(next)
		if err != nil {
			return change{}, err
		}
		ch.store(p.c.db.Keys.Job(to, key), value)
		return ch, p.settle(&ch.Txn, key, groupOf(o))
	}

	// The job stays where it is as long as this very key is there.
	name := string(at.KV.Key)
	ch.SameAs(name, at.KV.ModRevision)
	ch.before = at.KV.Value
	old, err := store.Decode[etcdkv.StoredJob](at.KV)
	if err != nil {
		return change{}, err
	}
	if err := caller.Unchanged(ctx, "job "+key.String(), old.Generation); err != nil {
		return change{}, err
	}
	same, err := sameObject(old.Metadata, old.Spec, next.Metadata, next.Spec)
	if err != nil {
		return change{}, err
	}
	if next.Bounds, err = p.jobBounds(ctx, o, old.Bounds); err != nil {
		return change{}, err
	}
	if p.purpose == switching { // as for bounds
		next.AppliedBy = old.AppliedBy
	}
	if same && at.Shard == to && old.Bounds.Same(next.Bounds) && vouched(old.AppliedBy, next.AppliedBy) {
		ch.result.Action = api.ActionUnchanged
		return ch, nil
	}
	ch.result.Warnings = p.c.boundWarnings(ctx, next.Spec.Target, next.Bounds)
	next.UID, next.Generation, next.CreatedAt = old.UID, old.Generation+1, old.CreatedAt
	next.After, next.Earlier, next.Committed, next.MovedFrom = old.After, old.Earlier, old.Committed, old.MovedFrom
	next.CountedFrom = old.CountedFrom
	if !old.Spec.SameSchedule(&next.Spec) {
		counts := old.Spec.Count > 0 && sameButEnabled(&old.Spec, &next.Spec)
		if !counts {
			next.CountedFrom = time.Time{}
		}
		if err := p.reschedule(ctx, &next, &old, at); err != nil {
			return change{}, err
		}
		ch.rescheduled, ch.at, ch.shard, ch.uid = true, p.now, at.Shard, next.UID
		edits := p.c.db.Keys.Edits(at.Shard)
		ch.Do(edits, p.c.db.Edited(edits))
		p.checkEnding(o, &next.Job)
		if next.Spec.Count > 0 && !counts {
			next.CountedFrom = p.now
		}
	}
	if err := p.putDependencies(&ch.Txn, key, old.Spec.After, &next.Spec); err != nil {
		return change{}, err
	}
	next.Schema = max(old.Schema, next.Schema)
	if !same {
		if err := p.keepVersion(&ch, &old); err != nil {
			return change{}, err
		}
	}
	if at.Shard != to {
		if err := p.move(ctx, &ch, at, to, &next, &old); err != nil {
			return change{}, err
		}
		return ch, p.settle(&ch.Txn, key, groupOf(o))
	}
	value, err := etcdkv.MergeUnknown(at.KV.Value, next)
	ch.store(name, value)
	return ch, err
}

// author is who applies, as minions' lists know it.
func (p *planner) author(ctx context.Context) string {
	return caller.Subject(ctx, caller.RequestOf(ctx).By)
}

// vouched reports whether what is applied as it was has somebody who stands behind it.
// That stays who changed it last; where nobody is known, it is who applies it again.
func vouched(old, next string) bool { return old != "" || next == "" }

// sameButEnabled reports whether two specs differ in nothing that says when the
// job is due but in whether it is enabled: its count goes on then.
func sameButEnabled(a, b *job.Spec) bool {
	x := *b
	x.Enabled = a.Enabled
	return a.SameSchedule(&x)
}

// reschedule has the schedule of a job hold from now on, and the old one up to now,
// as far as an owner may not have come to its instants.
func (p *planner) reschedule(ctx context.Context, next, old *etcdkv.StoredJob, at jobstore.Place) error {
	state, read := p.states[at.Shard]
	if !read {
		kv, err := p.c.db.Get(ctx, "read shard "+at.Shard.String(), p.c.db.Keys.State(at.Shard))
		if err != nil {
			return err
		}
		if kv != nil {
			if state, err = store.Decode[etcdkv.ShardState](kv); err != nil {
				return err
			}
		}
		p.states[at.Shard] = state
	}
	var reached time.Time // the cursor speaks of the jobs that the last commit was planned from
	if at.KV.CreateRevision <= state.JobsRev {
		reached = state.Cursor
	}
	err := next.Replace(old, p.now, reached, func(e *etcdkv.Earlier) bool { return p.c.isIdle(next.Key(), e) })
	if errors.Is(err, etcdkv.ErrTooManyEarlier) {
		return fmt.Errorf("its schedule was changed %d times, and no node has planned what was due before: pause the job, or wait until a node owns shard %s and has come so far: %w",
			etcdkv.MaxEarlier, at.Shard, job.ErrConflict)
	}
	return err
}

// isIdle reports whether a schedule that a job had has no instants left.
func (ap *Applier) isIdle(key job.Key, e *etcdkv.Earlier) bool {
	if e.Spec.OnExcluded == job.ExcludedNext {
		return false // they are moved about
	}
	set, err := ap.schedules.ParseSet(e.Spec.Schedules, schedule.OptionsOf(key, &e.Spec))
	if err != nil {
		return false
	}
	next, ok := set.Next(e.Since)
	return !ok || next.After(e.Until)
}

// checkEnding notes a problem with a new schedule that will never fire.
func (p *planner) checkEnding(o *manifest.Object, j *job.Job) {
	if len(j.Spec.Schedules) == 0 || !j.Spec.IsEnabled() {
		return
	}
	set, err := p.c.jobs.SetOf(j)
	if err != nil {
		return // told when it was read
	}
	from := p.now
	if j.Spec.StartAt != nil && j.Spec.StartAt.After(from) {
		from = j.Spec.StartAt.Add(-1)
	}
	next, ok := set.Next(from)
	path, text := "spec.schedules", "never comes due again: all its instants lie in the past"
	switch {
	case ok && j.Spec.EndAt != nil && next.After(*j.Spec.EndAt):
		path, text = "spec.endAt", fmt.Sprintf("lies before the first instant of the schedule, %s: the job would never fire", next.Format(time.RFC3339))
	case ok:
		return
	}
	p.ending = append(p.ending, o.Problem(path, text))
}

// settle puts down where a job lies that is new in its shard: with a group, the
// key that tells its shard, and the group must not be deleted meanwhile.
func (p *planner) settle(d *store.Txn, key, group job.Key) error {
	if group.Name == "" {
		return nil
	}
	at := p.groups[group]
	d.StillThere(p.c.db.Keys.Group(group), at.created())
	text, err := etcdkv.Encode(etcdkv.Grouped{Schema: etcdkv.Schema, Shard: at.shard})
	d.Put(p.c.db.Keys.GroupedJob(key), text)
	return err
}

// store puts the object itself.
func (ch *change) store(key, value string) {
	ch.Put(key, value)
	ch.size, ch.after = len(value), []byte(value)
}

// edit has an object that is stored as kv become next, which follow gives what it keeps of
// the old one; that reports whether both say the same, and nothing is changed then.
func edit[T any](ch *change, kv *mvccpb.KeyValue, next *T, follow func(old *T) (bool, error)) (bool, error) {
	ch.result.Action, ch.before = api.ActionUpdated, kv.Value
	old, err := store.Decode[T](kv)
	if err != nil {
		return false, err
	}
	same, err := follow(&old)
	if same || err != nil {
		ch.result.Action = api.ActionUnchanged
		return false, err
	}
	value, err := etcdkv.MergeUnknown(kv.Value, next)
	ch.store(string(kv.Key), value)
	return err == nil, err
}

// sameObject reports whether two objects say the same where users write.
func sameObject[Spec any](a job.Metadata, x Spec, b job.Metadata, y Spec) (bool, error) {
	type written struct {
		Metadata job.Metadata
		Spec     Spec
	}
	return store.SameJSON(written{a, x}, written{b, y})
}
