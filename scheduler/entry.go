package scheduler

import (
	"time"
	"unique"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
	"github.com/carillon-cron/carillon/scheduler/fair"
	"github.com/carillon-cron/carillon/scheduler/timers"
)

// entry is a job as its shard's owner holds it: small, because there may be a
// million. The spec stays in its stored bytes until a fire needs it.
type entry struct {
	key job.Key
	uid job.UID
	raw []byte
	set schedule.Set

	overlap job.Overlap
	misfire job.Misfire
	// rare is what few jobs have; nil: nothing.
	rare *rare
	// decoded is the spec of a job that fires often, by the timer's period. Others
	// have it while it is among the last that were read (see specs).
	decoded *job.Spec

	// timer is when it is planned next.
	timer timers.Timer[*entry]
	// done is the last instant planned.
	done int64

	// ready are its fires that wait for a turn.
	ready fair.Queue[*fire]

	// own is the lane of occurrences that are not shared out; shares are those
	// of the nodes' shares.
	own    lane
	shares map[uint32]*lane
	// from is the shard that the job was moved from last; nil: none.
	from *job.ShardID
	// foreign: fires of the job may be open in the shard that it was moved from.
	foreign bool
	// recording counts fires that have ended and are not in history yet.
	recording int32
	// gone: the job was deleted; the entry lives on for its open fires.
	gone bool
}

// rare is what few jobs have.
type rare struct {
	// calendars are those that the job keeps to; moves: what they exclude is
	// moved, by the clock of zone.
	calendars []job.Key
	moves     bool
	zone      string
	// since is from when its schedule holds, with calendars. aside is why the job
	// is set aside; empty: it is not.
	since int64
	aside string
	// start and end bound the schedule; 0 and never are no bounds.
	start, end int64
	// earlier are the schedules that the job had before, as far as that matters
	// still; its own holds after holds. deleted, unless 0, is when it was deleted:
	// what was due before is planned, to be recorded.
	earlier        []timed
	holds, deleted int64
	// catchUp is how far back misfires are run, jitter spreads starts; 0: not
	// bounded, and not spread.
	catchUp, jitter time.Duration
	// after are the jobs for whose ends the job waits, if for more than one.
	after []job.Key
	// watch is the key that it watches; nil: none.
	watch *job.Watch
	// pauseAfter is after how many failures in a row it is paused; 0: never.
	pauseAfter int
}

func (e *entry) waitsFor() []job.Key {
	if e.rare == nil {
		return nil
	}
	return e.rare.after
}

func (e *entry) watches() *job.Watch {
	if e.rare == nil {
		return nil
	}
	return e.rare.watch
}

// lane returns the lane of a share; 0 is the lane of what is not shared out.
func (e *entry) lane(share uint32) *lane {
	if share == 0 {
		return &e.own
	}
	l := e.shares[share]
	if l == nil {
		if e.shares == nil {
			e.shares = map[uint32]*lane{}
		}
		l = &lane{}
		e.shares[share] = l
	}
	return l
}

// lanes calls fn for each lane.
func (e *entry) lanes(fn func(*lane)) {
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
	e.lanes(func(l *lane) { busy = busy || l.open > 0 || len(l.waiting) > 0 })
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

	Calendars  []string       `json:"calendars"`
	OnExcluded job.OnExcluded `json:"onExcluded"`
}

func (p *plannedSpec) spec() job.Spec {
	return job.Spec{
		Schedules: p.Schedules, TimeZone: p.TimeZone, Dialect: p.Dialect, DST: p.DST, Enabled: p.Enabled,
		Overlap: p.Overlap, Misfire: p.Misfire, StartAt: p.StartAt, EndAt: p.EndAt, Jitter: p.Jitter, CatchUp: p.CatchUp,
		Count: p.Count, PauseAfterFailures: p.PauseAfterFailures, After: p.After, Watch: p.Watch,
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
		key: job.Key{Namespace: unique.Make(stored.Namespace).Value(), Name: stored.Name}, uid: stored.UID, raw: stored.Spec,
		overlap: spec.EffectiveOverlap(), misfire: spec.EffectiveMisfire(),
		timer: timers.Timer[*entry]{Next: never}, from: stored.MovedFrom,
	}
	r := rare{
		end: never, watch: spec.Watch, pauseAfter: spec.PauseAfterFailures,
		catchUp: time.Duration(spec.CatchUp), jitter: time.Duration(spec.Jitter),
	}
	if spec.After != nil && spec.After.Match != job.MatchAny && len(spec.After.Jobs) > 1 {
		r.after = spec.After.Keys(stored.Namespace)
	}
	e.rare = &r
	if err := e.readTiming(&spec, stored.CountedFrom, cache); err != nil {
		return nil, 0, err
	}
	e.rare = nil
	if r.watch != nil || r.pauseAfter > 0 || r.after != nil || r.start != 0 || r.end != never || r.catchUp != 0 || r.jitter != 0 || len(r.calendars) > 0 {
		e.rare = &r
	}
	if err := e.readEarlier(stored.Earlier, stored.After.UnixNano(), cache); err != nil {
		return nil, 0, err
	}
	return e, etcdkv.Begins(stored.After, stored.Earlier).UnixNano(), nil
}

// nextAfter returns the first instant of the entry's own schedule after t, or never.
func (e *entry) nextAfter(t int64) int64 {
	if len(e.set) == 0 || e.gone && (e.rare == nil || e.rare.deleted == 0) {
		return never
	}
	end := never
	if e.rare != nil {
		t, end = max(t, e.rare.start-1), e.rare.end
	}
	n, ok := e.set.Next(time.Unix(0, t))
	if !ok || n.UnixNano() > end {
		return never
	}
	return n.UnixNano()
}

// read decodes the job's spec.
func (e *entry) read() (*job.Spec, error) {
	spec, err := etcdkv.Decode[job.Spec](e.key.String(), e.raw)
	if err != nil {
		return nil, err
	}
	return &spec, nil
}
