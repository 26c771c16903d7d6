package scheduler

import (
	"time"
	"unique"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/fair"
	"github.com/carillon-cron/carillon/scheduler/plan"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// entry is a job as its shard's owner holds it: small, because there may be a
// million. The spec stays in its stored bytes until a fire needs it.
type entry struct {
	key job.Key
	uid job.UID
	raw string
	// origin is what many jobs have alike.
	origin unique.Handle[origin]
	// Timing is when it is due, and whether it was deleted: the entry lives on for its
	// open fires then.
	plan.Timing

	overlap job.Overlap
	misfire job.Misfire
	// decoded is the spec of a job that fires often, by the timer's period. Others
	// have it while it is among the last that were read (see specs).
	decoded *job.Spec

	// timer is when it is planned next.
	timer timers.Timer[*entry]
	// done is the last instant planned.
	done int64

	// ready are its fires that wait for a turn.
	ready fair.Queue[*fire]

	// own is the overlap queue of occurrences that are not shared out; shares are those
	// of the nodes' shares.
	own    overlapQueue
	shares map[uint32]*overlapQueue
	// from is the shard that the job was moved from last; nil: none.
	from *job.ShardID
	// migrating: fires of the job may be open in the shard that it was moved from.
	migrating bool
	// recording counts fires that have ended and are not in history yet.
	recording int32
}

// origin is who applied a job, and its labels as JSON; a million jobs have few of both.
type origin struct{ author, labels string }

// alike is the origin of the job; that of a job that is gone is empty.
func (e *entry) alike() origin {
	if e.origin == (unique.Handle[origin]{}) {
		return origin{}
	}
	return e.origin.Value()
}

// appliedBy is who applied the job. Empty: it is not known.
func (e *entry) appliedBy() string { return e.alike().author }

func (e *entry) waitsFor() []job.Key {
	if e.Optional == nil {
		return nil
	}
	return e.Optional.After
}

// bounds are what those who stored the job may have started. Empty: anything.
func (e *entry) bounds() job.Bounds {
	if e.Optional == nil {
		return nil
	}
	return e.Optional.Bounds
}

func (e *entry) watches() *job.Watch {
	if e.Optional == nil {
		return nil
	}
	return e.Optional.Watch
}

// queue returns the overlap queue of a share; 0 is that of what is not shared out.
func (e *entry) queue(share uint32) *overlapQueue {
	if share == 0 {
		return &e.own
	}
	l := e.shares[share]
	if l == nil {
		if e.shares == nil {
			e.shares = map[uint32]*overlapQueue{}
		}
		l = &overlapQueue{}
		e.shares[share] = l
	}
	return l
}

// queues calls fn for each overlap queue.
func (e *entry) queues(fn func(*overlapQueue)) {
	fn(&e.own)
	for _, l := range e.shares {
		fn(l)
	}
}

// open reports whether fires of the job are open, or not in history yet.
func (e *entry) open() bool { return e.recording > 0 || e.busy() }

// busy reports whether fires of the job are open.
func (e *entry) busy() bool {
	busy := false
	e.queues(func(l *overlapQueue) { busy = busy || l.open > 0 || len(l.waiting) > 0 })
	return busy
}

// plannedSpec is what of a job's spec is read to plan it. Reading no more makes
// loading a million jobs faster, and leaves less behind.
type plannedSpec struct {
	Schedules          []string     `json:"schedules"`
	TimeZone           string       `json:"timeZone"`
	Dialect            job.Dialect  `json:"dialect"`
	DST                job.DST      `json:"dst"`
	Enabled            *bool        `json:"enabled"`
	Overlap            job.Overlap  `json:"overlap"`
	Misfire            job.Misfire  `json:"misfire"`
	StartAt            *time.Time   `json:"startAt"`
	EndAt              *time.Time   `json:"endAt"`
	Jitter             job.Duration `json:"jitter"`
	CatchUp            job.Duration `json:"catchUp"`
	Count              int          `json:"count"`
	PauseAfterFailures int          `json:"pauseAfterFailures"`
	After              *job.After   `json:"after"`
	Watch              *job.Watch   `json:"watch"`
	OnStart            bool         `json:"onStart"`
	Ping               *job.Ping    `json:"ping"`

	Calendars  []string       `json:"calendars"`
	OnExcluded job.OnExcluded `json:"onExcluded"`
}

func (p *plannedSpec) spec() job.Spec {
	return job.Spec{
		Schedules: p.Schedules, TimeZone: p.TimeZone, Dialect: p.Dialect, DST: p.DST, Enabled: p.Enabled,
		Overlap: p.Overlap, Misfire: p.Misfire, StartAt: p.StartAt, EndAt: p.EndAt, Jitter: p.Jitter, CatchUp: p.CatchUp,
		Count: p.Count, PauseAfterFailures: p.PauseAfterFailures, After: p.After, Watch: p.Watch, OnStart: p.OnStart, Ping: p.Ping,
		Calendars: p.Calendars, OnExcluded: p.OnExcluded,
	}
}

// newEntry reads a stored job and returns it with the instant from which its
// schedule holds. Its place in time is set by the caller.
func newEntry(key string, value []byte, cache *schedule.Cache) (*entry, int64, error) {
	stored, err := etcdkv.Decode[etcdkv.PlannedJob](key, value)
	if err != nil {
		return nil, 0, err
	}
	planned, err := etcdkv.Decode[plannedSpec](key, stored.Spec)
	if err != nil {
		return nil, 0, err
	}
	spec := planned.spec()
	e := &entry{
		key: job.Key{Namespace: unique.Make(stored.Namespace).Value(), Name: stored.Name}, uid: stored.UID, raw: string(stored.Spec),
		origin:  unique.Make(origin{stored.AppliedBy, string(stored.Labels)}),
		overlap: spec.EffectiveOverlap(), misfire: spec.EffectiveMisfire(),
		timer: timers.Timer[*entry]{Next: never}, from: stored.MovedFrom,
	}
	r := plan.Optional{
		End: never, Watch: spec.Watch, OnStart: spec.OnStart, Disabled: spec.OnStart && !spec.IsEnabled(), Ping: spec.Ping, PauseAfter: spec.PauseAfterFailures,
		CatchUp: time.Duration(spec.CatchUp), Jitter: time.Duration(spec.Jitter), Bounds: stored.Bounds,
	}
	if spec.After != nil && spec.After.Match != job.MatchAny && len(spec.After.Jobs) > 1 {
		r.After = spec.After.Keys(stored.Namespace)
	}
	e.Optional = &r
	if err := e.Read(e.key, &spec, stored.CountedFrom, cache); err != nil {
		return nil, 0, err
	}
	e.Optional = nil
	if r.Watch != nil || r.OnStart || r.Ping != nil || r.PauseAfter > 0 || r.After != nil || r.Start != 0 || r.End != never || r.CatchUp != 0 || r.Jitter != 0 || len(r.Calendars)+len(r.Bounds) > 0 {
		e.Optional = &r
	}
	if err := e.readEarlier(stored.Earlier, stored.After.UnixNano(), cache); err != nil {
		return nil, 0, err
	}
	return e, etcdkv.Begins(stored.After, stored.Earlier).UnixNano(), nil
}

// readEarlier reads the schedules that a job had before, which the edits stored beside
// the present one for as long as an owner may not have come to all of their instants.
// So an instant has an end also if it was due while nobody owned the shard, or the
// owner was slow, and the job was edited, moved or deleted before it was committed.
func (e *entry) readEarlier(stored []etcdkv.Earlier, after int64, cache *schedule.Cache) error {
	if len(stored) == 0 {
		return nil
	}
	if e.Optional == nil {
		e.Optional = &plan.Optional{End: never}
	}
	e.Optional.Holds = after
	for i := range stored {
		p := &stored[i]
		old, err := plan.ReadEarlier(e.key, &p.Spec, p.CountedFrom, p.Until, cache)
		if err != nil {
			return err
		}
		t := plan.Earlier{Timing: old, Since: p.Since.UnixNano(), Until: p.Until.UnixNano()}
		if !p.Disabled.IsZero() {
			t.Disabled = p.Disabled.UnixNano()
		}
		e.Optional.Earlier = append(e.Optional.Earlier, t)
	}
	return nil
}

// read decodes the job's spec.
func (e *entry) read() (*job.Spec, error) {
	spec, err := etcdkv.Decode[job.Spec](e.key.String(), []byte(e.raw))
	if err != nil {
		return nil, err
	}
	if d := spec.Dispatch; d != nil { // the queue stands in the place of a minion
		spec.Target = job.Target{Names: []string{string(job.Key{Namespace: e.key.Namespace, Name: d.Queue}.AsMinion())}}
	}
	return &spec, nil
}
