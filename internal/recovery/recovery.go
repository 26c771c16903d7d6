package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/plan"
)

const (
	// askedAtOnce bounds the minions that are asked at a time, askTimeout one of them.
	askedAtOnce = 32
	askTimeout  = time.Minute
	// callTimeout bounds one request to etcd.
	callTimeout = 30 * time.Second
	pageKeys    = 500
	// maxInstants bounds how many occurrences of one job are looked at.
	maxInstants = 100_000
	// slotFires bounds the fires of a slot, slotsAtOnce the slots of a transaction.
	slotFires   = 2000
	slotsAtOnce = 50
	// recordsAtOnce bounds the records that are written at a time.
	recordsAtOnce = 1000
)

// Minions are asked what they have run.
type Minions interface {
	// Fires calls fn with what a minion knows of fires that were due, or have ended, after
	// an instant.
	Fires(ctx context.Context, minion job.MinionID, after time.Time, fn func(agentpb.KnownFire) error) error
	// Reach returns the minions that a target matches, and those of them that get no orders.
	Reach(t job.Target) (ready []job.MinionID, away []job.Uncontrollable)
	// Minions returns all that are known.
	Minions() []job.Minion
}

// Deps is what a Recoverer works with. All fields must be set.
type Deps struct {
	Client    *clientv3.Client
	Keys      etcdkv.Keys
	Node      job.NodeID
	Minions   Minions
	History   history.Store
	Calendars plan.Calendars
	Now       func() time.Time
	Logger    *zap.Logger
	// Audit returns the write of what was done.
	Audit func(ctx context.Context, action, object string, o api.Order) (clientv3.Op, error)
	// Seen is the highest epoch that this node has seen.
	Seen func() int64
}

// Recoverer recovers clusters. Use New. One recovery runs at a time.
type Recoverer struct {
	Deps
	mu sync.Mutex
}

// New returns a Recoverer.
func New(d Deps) *Recoverer { return &Recoverer{Deps: d} }

// work is one recovery.
type work struct {
	*Recoverer
	req     api.RecoverRequest
	now     time.Time
	hold    etcdkv.Hold
	holdRev int64
	shards  map[job.ShardID]*shard
	jobs    map[job.UID]*known
	lost    map[job.UID]*api.LostJob
	silent  map[job.MinionID]bool
	// awaited are jobs for whose ends others wait.
	awaited map[job.Key]bool
	out     api.Recovery
}

// shard is one as the backup has it.
type shard struct {
	state    etcdkv.ShardState
	stateRev int64
	// open are fires of its slots.
	open map[job.FireID]bool
	// found are fires that are in no slot, as minions know them.
	found map[job.FireID]map[job.MinionID]told
}

// told is what a minion knows of its last attempt of a fire.
type told struct {
	attempt int
	state   job.State // empty: it goes on
	endedAt int64
}

// known is a job of the backup.
type known struct {
	key    job.Key
	uid    job.UID
	shard  job.ShardID
	target job.Target
	timing plan.Timing
	// from is after what its owner plans it, as package scheduler does.
	from int64
	row  api.RecoveredJob
	// doubt are instants that are to be recorded as indeterminate.
	doubt []int64
}

// Recover finds out what has run, and, unless it is a dry run, has the cluster go on.
func (r *Recoverer) Recover(ctx context.Context, req api.RecoverRequest) (api.Recovery, error) {
	if !r.mu.TryLock() {
		return api.Recovery{}, fmt.Errorf("a recovery is under way on this node: %w", job.ErrConflict)
	}
	defer r.mu.Unlock()
	if req.Adopt {
		return r.adopt(ctx, req)
	}
	w := &work{
		Recoverer: r, req: req, now: r.Now().UTC(), shards: map[job.ShardID]*shard{}, jobs: map[job.UID]*known{},
		lost: map[job.UID]*api.LostJob{}, silent: map[job.MinionID]bool{}, awaited: map[job.Key]bool{},
	}
	if err := w.read(ctx); err != nil {
		return w.out, err
	}
	if err := w.ask(ctx); err != nil {
		return w.out, err
	}
	if err := w.decide(ctx); err != nil {
		return w.out, err
	}
	if req.DryRun {
		return w.out, nil
	}
	if len(w.out.Silent) > 0 && !req.AcceptUnknown { // R3
		return w.out, fmt.Errorf("%d minions have not told what they ran, such as %s (%s): wait for them, revoke those that are gone for good, or accept that what they may have run is recorded as indeterminate (--accept-unknown): %w",
			len(w.out.Silent), w.out.Silent[0].Minion, w.out.Silent[0].Reason, job.ErrConflict)
	}
	if err := w.write(ctx); err != nil {
		return w.out, err
	}
	w.out.Done = true
	r.Logger.Warn("the cluster goes on after a restore", zap.Int("ran", w.out.Ran), zap.Int("indeterminate", w.out.Indeterminate), zap.Int("left", w.out.Left), zap.Int("lost_jobs", len(w.out.Lost)))
	return w.out, nil
}

// read reads what etcd holds: the hold, and all shards and jobs.
func (w *work) read(ctx context.Context) error {
	kv, rev, err := w.get(ctx, w.Keys.Hold())
	if err != nil {
		return err
	}
	if kv == nil {
		return fmt.Errorf("the cluster is not held: there is nothing to recover: %w", job.ErrConflict)
	}
	if w.hold, err = etcdkv.Decode[etcdkv.Hold](w.Keys.Hold(), kv); err != nil {
		return err
	}
	w.holdRev = rev
	switch w.hold.State {
	case etcdkv.HoldRestored:
	case etcdkv.HoldHandedOver:
		if err := w.takeBack(ctx); err != nil {
			return err
		}
	case etcdkv.HoldStandby:
		return fmt.Errorf("the cluster is a standby of %s: have it take over with `carillon promote`: %w", w.hold.Site, job.ErrConflict)
	case etcdkv.HoldOvertaken:
		return fmt.Errorf("the cluster was overtaken by epoch %d of %s, which goes on: make it the standby of that one with `carillon demote`: %w", w.hold.Epoch, w.hold.Site, job.ErrConflict)
	case etcdkv.HoldRestoring:
		if w.hold.Then != nil {
			return fmt.Errorf("the promotion is not complete: begin it again with `carillon promote`: %w", job.ErrConflict)
		}
		return fmt.Errorf("the restore is not complete: begin it again with `carillon restore --replace`: %w", job.ErrConflict)
	}
	w.out.Epoch, w.out.TakenAt, w.out.LostAt = w.hold.Epoch, w.hold.TakenAt, w.hold.Since
	if !w.req.LostAt.IsZero() {
		if w.req.LostAt.Before(w.hold.TakenAt) || w.req.LostAt.After(w.now) {
			return &job.InvalidError{Problems: []job.Problem{{Path: "lostAt", Message: fmt.Sprintf("%s is not between the backup (%s) and now", w.req.LostAt.UTC().Format(time.RFC3339), w.hold.TakenAt.UTC().Format(time.RFC3339))}}}
		}
		w.out.LostAt = w.req.LostAt.UTC()
	}
	if err := w.list(ctx, w.Keys.Shards(), w.readShard); err != nil {
		return err
	}
	if err := w.list(ctx, w.Keys.Dependencies(), func(kv *mvccpb.KeyValue) error {
		d, err := etcdkv.Decode[etcdkv.Dependency](string(kv.Key), kv.Value)
		w.awaited[d.From] = true
		return err
	}); err != nil {
		return err
	}
	cache := schedule.NewCache()
	return w.list(ctx, w.Keys.Jobs(), func(kv *mvccpb.KeyValue) error { return w.readJob(kv, cache) })
}

func (w *work) shard(id job.ShardID) *shard {
	s := w.shards[id]
	if s == nil {
		s = &shard{open: map[job.FireID]bool{}, found: map[job.FireID]map[job.MinionID]told{}}
		s.state = etcdkv.ShardState{Schema: etcdkv.Schema, Cursor: w.hold.TakenAt}
		w.shards[id] = s
	}
	return s
}

func (w *work) readShard(kv *mvccpb.KeyValue) error {
	key, value := string(kv.Key), kv.Value
	id, rest, err := w.Keys.ParseShardKey(key)
	if err != nil {
		return nil //nolint:nilerr // another key
	}
	if rest == "state" {
		s := w.shard(id)
		s.stateRev = kv.ModRevision
		s.state, err = etcdkv.Decode[etcdkv.ShardState](key, value)
		return err
	}
	if _, err := etcdkv.ParseSlot(rest); err != nil || key < w.Keys.Slots(id) {
		return nil //nolint:nilerr // another key
	}
	slot, err := etcdkv.DecodeSlot(value)
	if err != nil {
		return fmt.Errorf("slot %s: %w", key, err)
	}
	s := w.shard(id)
	for i := range slot.Entries {
		s.open[slot.Entries[i].Fire] = true
	}
	return nil
}

func (w *work) readJob(kv *mvccpb.KeyValue, cache *schedule.Cache) error {
	key, value := string(kv.Key), kv.Value
	id, name, err := w.Keys.ParseJob(key)
	if err != nil {
		return nil //nolint:nilerr // another key
	}
	stored, err := etcdkv.Decode[etcdkv.StoredJob](key, value)
	if err != nil {
		w.Logger.Warn("job cannot be read", zap.Stringer("job", name), zap.Error(err))
		return nil // it does not fire either
	}
	j := &known{
		key: name, uid: stored.UID, shard: id, target: stored.Spec.Target, from: etcdkv.Begins(stored.After, stored.Earlier).UnixNano(),
		row: api.RecoveredJob{Namespace: name.Namespace, Name: name.Name, Policy: string(stored.Spec.EffectiveMisfire())},
	}
	j.timing.Optional = &plan.Optional{End: plan.Never}
	if err := j.timing.Read(name, &stored.Spec, stored.CountedFrom, cache); err != nil {
		w.Logger.Warn("schedule cannot be read", zap.Stringer("job", name), zap.Error(err))
		return nil // it does not fire either
	}
	if err := j.readEarlier(&stored, cache); err != nil {
		w.Logger.Warn("schedule cannot be read", zap.Stringer("job", name), zap.Error(err))
		return nil // it does not fire either
	}
	if s := w.shard(id); s.stateRev != 0 && kv.CreateRevision <= s.state.JobsRev {
		j.from = max(j.from, s.state.Cursor.UnixNano())
	}
	w.jobs[stored.UID] = j
	return nil
}

// readEarlier reads the schedules that a job had before, as far as they may not be planned.
func (j *known) readEarlier(stored *etcdkv.StoredJob, cache *schedule.Cache) error {
	r := j.timing.Optional
	for i := range stored.Earlier {
		e := &stored.Earlier[i]
		t, err := plan.ReadEarlier(j.key, &e.Spec, e.CountedFrom, e.Until, cache)
		if err != nil {
			return err
		}
		r.Holds = stored.After.UnixNano()
		r.Earlier = append(r.Earlier, plan.Earlier{Timing: t, Since: e.Since.UnixNano(), Until: e.Until.UnixNano()})
	}
	return nil
}

// ask asks all minions what they have run.
func (w *work) ask(ctx context.Context) error {
	after := w.hold.TakenAt
	for _, s := range w.shards {
		if s.state.Cursor.Before(after) {
			after = s.state.Cursor
		}
	}
	for _, j := range w.jobs {
		if j.from < after.UnixNano() {
			after = time.Unix(0, j.from)
		}
	}
	minions := w.Minions.Minions()
	type answer struct {
		minion job.MinionID
		fires  []agentpb.KnownFire
		err    error
	}
	answers := make(chan answer)
	places := make(chan struct{}, askedAtOnce)
	var wg sync.WaitGroup
	for _, m := range minions {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			a := answer{minion: m.ID}
			bounded, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			a.err = w.Minions.Fires(bounded, m.ID, after, func(f agentpb.KnownFire) error {
				a.fires = append(a.fires, f)
				return nil
			})
			answers <- a
		})
	}
	go func() {
		wg.Wait()
		close(answers)
	}()
	for a := range answers {
		if a.err != nil && !w.always(a.minion, a.err) {
			w.silent[a.minion] = true
			w.out.Silent = append(w.out.Silent, api.SilentMinion{Minion: a.minion, Reason: a.err.Error()})
		} else {
			w.out.Answered++
		}
		for i := range a.fires { // also of one that has broken off: what it said is so
			if err := w.note(ctx, a.minion, &a.fires[i]); err != nil {
				for range answers { //nolint:revive // the others end
				}
				return err
			}
		}
	}
	slices.SortFunc(w.out.Silent, func(a, b api.SilentMinion) int { return cmp.Compare(a.Minion, b.Minion) })
	return ctx.Err()
}

// sinceSlack is by how much the clock of a minion and that of a node may differ.
const sinceSlack = 10 * time.Second

// always reports whether a journal that does not know all goes back as far as its minion
// is known: nothing of it is lost.
func (w *work) always(id job.MinionID, err error) bool {
	var gap *agentpb.IncompleteError
	if !errors.As(err, &gap) || gap.Gap != agentpb.GapNew {
		return false
	}
	all := w.Minions.Minions()
	i := slices.IndexFunc(all, func(m job.Minion) bool { return m.ID == id })
	return i >= 0 && !all[i].Since.IsZero() && gap.Since.Before(all[i].Since.Add(sinceSlack))
}

// note takes what a minion knows of a fire.
func (w *work) note(ctx context.Context, m job.MinionID, f *agentpb.KnownFire) error {
	j := w.jobs[f.Fire.Job]
	if j == nil {
		l := w.lost[f.Fire.Job]
		if l == nil {
			l = &api.LostJob{UID: f.Fire.Job}
			w.lost[f.Fire.Job] = l
		}
		l.Runs++
		if f.Job != (job.Key{}) {
			l.Namespace, l.Name = f.Job.Namespace, f.Job.Name
		}
		return nil
	}
	s := w.shard(j.shard)
	if s.open[f.Fire] {
		return nil // its owner asks
	}
	if f.Fire.Trigger == job.TriggerSchedule {
		if f.Fire.At <= j.from {
			return nil // it was closed before the backup
		}
	} else if f.Waiting {
		return nil // it is not started: no owner orders it
	}
	if _, seen := s.found[f.Fire]; !seen {
		if f.Fire.Trigger != job.TriggerSchedule {
			_, err := w.History.Get(ctx, f.Fire.RunID())
			if err == nil {
				return nil // recorded before the backup
			}
			if !errors.Is(err, job.ErrNotFound) {
				return fmt.Errorf("history: %w", err)
			}
		}
		s.found[f.Fire] = map[job.MinionID]told{}
	}
	if f.Attempt > s.found[f.Fire][m].attempt {
		s.found[f.Fire][m] = told{f.Attempt, f.State, f.EndedAt}
	}
	return nil
}

// count counts the runs that were found.
func (w *work) count() {
	for _, s := range w.shards {
		for fire, minions := range s.found {
			row := &w.jobs[fire.Job].row
			row.Ran++
			for _, t := range minions {
				if t.state == "" {
					row.Open++
					break
				}
			}
		}
	}
}

// direct reports whether a fire is recorded as minions know it, and not put into a slot:
// a share of a node, whose name nobody knows, and the end of a run that others wait for,
// which may have been told to them before: they would start once more.
func (w *work) direct(fire job.FireID, minions map[job.MinionID]told) bool {
	if fire.Share != 0 {
		return true
	}
	for _, t := range minions {
		if t.state == "" {
			return false
		}
	}
	return w.awaited[w.jobs[fire.Job].key]
}

// decide finds out what is not known, and counts what is left to the policies.
func (w *work) decide(ctx context.Context) error {
	w.count()
	shares := map[job.FireID]bool{} // without the share
	for _, s := range w.shards {
		for fire := range s.found {
			if fire.Share != 0 {
				fire.Share = 0
				shares[fire] = true
			}
		}
	}
	look := &plan.Look{Calendars: w.Calendars}
	until := w.now.UnixNano()
	lostAt := w.out.LostAt.UnixNano()
	for _, j := range w.jobs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s := w.shard(j.shard)
		doubtful := w.doubtful(j)
		look.Steps = 0
		at := j.timing.NextAfter(look, j.from)
		for n := 0; at <= until && n < maxInstants; n++ {
			id := job.FireID{Job: j.uid, At: at, Trigger: job.TriggerSchedule}
			switch {
			case s.open[id] || s.found[id] != nil || shares[id]:
			case doubtful && at <= lostAt:
				j.doubt = append(j.doubt, at)
				j.row.Indeterminate++
			default:
				j.row.Left++
			}
			at = j.timing.NextAfter(look, at)
		}
		w.out.Ran += j.row.Ran
		w.out.Open += j.row.Open
		w.out.Indeterminate += j.row.Indeterminate
		w.out.Left += j.row.Left
		if j.row.Ran+j.row.Indeterminate+j.row.Left > 0 {
			w.out.Jobs = append(w.out.Jobs, j.row)
		}
	}
	slices.SortFunc(w.out.Jobs, func(a, b api.RecoveredJob) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if over := len(w.out.Jobs) - api.MaxRecoveredJobs; over > 0 {
		w.out.Jobs, w.out.MoreJobs = w.out.Jobs[:api.MaxRecoveredJobs], over
	}
	for _, l := range w.lost {
		w.out.Lost = append(w.out.Lost, *l)
	}
	slices.SortFunc(w.out.Lost, func(a, b api.LostJob) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID.String(), b.UID.String()))
	})
	return nil
}

// doubtful reports whether a silent minion may have run a job.
func (w *work) doubtful(j *known) bool {
	if len(w.silent) == 0 {
		return false
	}
	ready, away := w.Minions.Reach(j.target)
	return slices.ContainsFunc(ready, func(m job.MinionID) bool { return w.silent[m] }) ||
		slices.ContainsFunc(away, func(u job.Uncontrollable) bool { return w.silent[u.Minion] })
}

func newClaim() (string, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("new claim: %w", err)
	}
	return id.String(), nil
}
