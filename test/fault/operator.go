package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// operator is somebody who edits, pauses, starts and backfills probes while the
// cluster is disturbed. It asks any node, again until one answers, and keeps what it
// asked and was told.
type operator struct {
	c      *cluster
	rnd    *rand.Rand
	trace  string
	ledger ledger
	plans  map[job.UID]*plan
	// closed are the calendars that an edit may give to a job.
	closed map[string]*closing
	edited []*subject
	// slack is by how much the clocks of nodes may be wrong.
	slack time.Duration
	// uids are those of the probes that nobody edits, by name.
	uids map[string]job.UID
}

// subject is a probe that is edited.
type subject struct {
	name string
	// spec is as it was applied last. deleted: it is not there.
	spec    map[string]any
	deleted bool
	version int
	uid     job.UID
	// plan is of the job that has the name now.
	plan *plan
}

// Of what it does, and how many jobs it edits.
const (
	subjects         = 6
	verbMin, verbMax = 200 * time.Millisecond, 600 * time.Millisecond
	restMin, restMax = 500 * time.Millisecond, 4 * time.Second
	// An end that passes before an edit is answered would be refused.
	endMin, endMax       = 8 * time.Second, 14 * time.Second
	backfillLeast        = 5
	backfillMost         = 15
	backfillEvery        = 300 * time.Millisecond
	untold               = 5 * time.Second // how long after an answer that does not tell it an edit holds at the latest
	deletedWord, offWord = "it was deleted", "it was disabled"
)

func newOperator(c *cluster, seed uint64, trace string, begun time.Time, plans map[job.UID]*plan) *operator {
	_, closed := calendarsOf(begun)
	o := &operator{
		c: c, rnd: rand.New(rand.NewPCG(seed, 1)), trace: trace, plans: plans, closed: closed, uids: map[string]job.UID{},
		ledger: ledger{unsure: map[job.UID]int{}},
	}
	for uid, p := range plans {
		if p.key.Namespace == probeSpace {
			o.uids[p.key.Name] = uid
			if cal := closed[p.key.Name]; cal != nil {
				p.spans[0].closed = cal
			}
		}
	}
	return o
}

// begin makes the jobs that are edited.
func (o *operator) begin(ctx context.Context) error {
	for i := range subjects {
		s := &subject{name: fmt.Sprintf("edited-%d", i+1)}
		o.edited = append(o.edited, s)
		if err := o.create(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// work does one thing after another until ctx ends; what is begun then is finished
// under life.
func (o *operator) work(ctx, life context.Context) error {
	verbs := []func(context.Context) error{
		o.edit, o.edit, o.edit, o.edit, o.pause, o.pause, o.start, o.start, o.backfill,
	}
	for sleep(ctx, between(o.rnd, verbMin, verbMax)) == nil {
		o.ledger.verbs++
		if err := verbs[o.rnd.IntN(len(verbs))](life); err != nil {
			return err
		}
		if err := o.resume(life, false); err != nil {
			return err
		}
	}
	return o.resume(life, true)
}

// ask sends a request to the nodes, in any order, until one answers. again counts
// those that may have been done though nobody said so.
func (o *operator) ask(ctx context.Context, method, path string, body []byte, out any) (holds time.Time, again int, err error) {
	var wrong error
	err = until(ctx, func() error {
		var errs []error
		for _, i := range o.rnd.Perm(len(o.c.api.nodes)) {
			if !o.c.schedulers[i].runs() {
				continue
			}
			head, err := o.c.api.askFor(ctx, o.c.api.nodes[i], method, path, body, out)
			if err == nil {
				if text := head.Get("Carillon-Holds-From"); text != "" {
					holds, wrong = time.Parse(time.RFC3339Nano, text)
				}
				return nil
			}
			var refused *refusedError
			switch {
			case !errors.As(err, &refused):
			case refused.status == http.StatusNotFound && method != http.MethodGet:
				return nil // it was done before, and that was not answered
			case refused.status == http.StatusUnprocessableEntity || refused.status == http.StatusBadRequest:
				wrong = err
				return nil
			}
			errs = append(errs, err)
			again++
		}
		return errors.Join(append(errs, errNobodyAnswers)...)
	})
	return holds, again, errors.Join(err, wrong)
}

var errNobodyAnswers = errors.New("no node answers")

// apply applies a subject's spec, and returns the job and from where on that holds.
func (o *operator) apply(ctx context.Context, s *subject) (api.Job, time.Time, error) {
	var file bytes.Buffer
	documentIn(&file, probeSpace, job.KindJob, s.name, s.spec)
	var done struct{ Results []api.ApplyResult }
	if _, _, err := o.ask(ctx, http.MethodPost, "/v1/apply?file=probe", file.Bytes(), &done); err != nil {
		return api.Job{}, time.Time{}, err
	}
	var view api.Job
	if _, _, err := o.ask(ctx, http.MethodGet, "/v1/namespaces/"+probeSpace+"/jobs/"+s.name, nil, &view); err != nil {
		return view, time.Time{}, err
	}
	var holds time.Time
	if len(done.Results) == 1 {
		holds = done.Results[0].HoldsFrom
	}
	if holds.IsZero() {
		holds = time.Now().Add(untold)
	}
	return view, holds, nil
}

// create makes a job under the subject's name.
func (o *operator) create(ctx context.Context, s *subject) error {
	s.version, s.deleted = 1, false
	s.spec = probeSpec(o.trace, s.version)
	s.spec["schedules"], s.spec["enabled"], s.spec["overlap"] = []string{every}, true, job.OverlapQueueAll
	view, _, err := o.apply(ctx, s)
	if err != nil {
		return err
	}
	made, err := plans([]api.Job{view})
	if err != nil {
		return err
	}
	s.uid, s.plan = view.UID, made[view.UID]
	s.plan.versions = s.version
	o.plans[s.uid] = s.plan
	return nil
}

// edit edits a job, in any of the ways that there are.
func (o *operator) edit(ctx context.Context) error {
	s := o.edited[o.rnd.IntN(len(o.edited))]
	if s.deleted {
		o.c.event("%s is made anew", s.name)
		return o.create(ctx, s)
	}
	if end, has := s.spec["endAt"].(time.Time); has && end.Before(time.Now().Add(endMin)) {
		delete(s.spec, "endAt")
	}
	switch o.rnd.IntN(9) {
	case 0:
		return o.remove(ctx, s)
	case 1, 2:
		on := s.spec["enabled"] == true
		s.spec["enabled"] = !on
		return o.reschedule(ctx, s, map[bool]string{true: offWord, false: "it was enabled"}[on])
	case 3:
		all := []string{every, probeEvery, "*/3 * * * * *", "@every 1500ms"}
		s.spec["schedules"] = []string{all[o.rnd.IntN(len(all))]}
		return o.reschedule(ctx, s, fmt.Sprintf("its schedule became %v", s.spec["schedules"]))
	case 4:
		if delete(s.spec, "endAt"); o.rnd.IntN(2) == 0 {
			s.spec["endAt"] = time.Now().Add(time.Second + between(o.rnd, endMin, endMax)).UTC().Truncate(time.Second)
		}
		return o.reschedule(ctx, s, fmt.Sprintf("its end became %v", s.spec["endAt"]))
	case 5:
		if _, has := s.spec["calendars"]; has {
			delete(s.spec, "calendars")
		} else {
			s.spec["calendars"] = []string{windowed}
		}
		return o.reschedule(ctx, s, fmt.Sprintf("its calendars became %v", s.spec["calendars"]))
	case 6:
		s.version++
		s.plan.versions = s.version // before it may run
		s.spec["command"] = probeSpec(o.trace, s.version)["command"]
		return o.reschedule(ctx, s, "its command was changed")
	case 7:
		if delete(s.spec, "group"); o.rnd.IntN(3) > 0 {
			s.spec["group"] = []string{"here", "there"}[o.rnd.IntN(2)]
		}
		return o.reschedule(ctx, s, fmt.Sprintf("its group became %v", s.spec["group"]))
	}
	o.anyField(s)
	return o.reschedule(ctx, s, "another field was changed")
}

// anyField changes a field that has nothing to do with when a job is due.
func (o *operator) anyField(s *subject) {
	pick := func(field string, values ...any) { s.spec[field] = values[o.rnd.IntN(len(values))] }
	switch o.rnd.IntN(8) {
	case 0:
		pick("overlap", job.OverlapSkip, job.OverlapQueueOne, job.OverlapQueueAll)
	case 1:
		pick("misfire", job.MisfireLatest, job.MisfireAll, job.MisfireSkip)
	case 2:
		pick("misfire", job.MisfireLatest, job.MisfireAll)
		pick("catchUp", "10s", "1h")
	case 3:
		pick("misfire", job.MisfireAll)
		pick("catchUpEvery", "50ms", "300ms")
	case 4:
		pick("timeout", "1m", "90s")
	case 5:
		pick("lostAfter", "5m", "6m")
	case 6:
		pick("overlap", job.OverlapQueueAll)
		pick("overlapLimit", 10, 50)
	case 7:
		pick("params", []any{map[string]any{"name": "day", "default": "today"}}, []any{map[string]any{"name": "night", "default": "last"}})
	}
	// What has no effect beside the others is refused.
	if s.spec["overlap"] != job.OverlapQueueAll {
		delete(s.spec, "overlapLimit")
	}
	if s.spec["misfire"] != job.MisfireAll {
		delete(s.spec, "catchUpEvery")
	}
	if s.spec["misfire"] == job.MisfireSkip {
		delete(s.spec, "catchUp")
	}
}

// reschedule applies an edit, and notes from where on the job is due by it.
func (o *operator) reschedule(ctx context.Context, s *subject, what string) error {
	view, holds, err := o.apply(ctx, s)
	if err != nil {
		return err
	}
	o.c.event("%s: %s, from %s", s.name, what, holds.Format(time.StampMilli))
	if view.UID != s.uid {
		return fmt.Errorf("job %s has another uid after an edit: %v, was %v", s.name, view.UID, s.uid)
	}
	set, err := setOf(&view)
	if err != nil {
		return err
	}
	next := span{set: set, after: view.After, holds: holds, what: what}
	if view.Spec.EndAt != nil {
		next.to = *view.Spec.EndAt
	}
	if len(view.Spec.Calendars) > 0 {
		next.closed = o.closed[view.Spec.Calendars[0]]
	}
	s.plan.group, s.plan.shard = view.Spec.Group, view.Shard
	if last := &s.plan.spans[len(s.plan.spans)-1]; last.sameAs(&next) {
		return nil // what is due did not change
	}
	s.plan.spans = append(s.plan.spans, next)
	return nil
}

// sameAs reports whether two schedules have the same instants.
func (s *span) sameAs(o *span) bool {
	return fmt.Sprint(s.set.Words()) == fmt.Sprint(o.set.Words()) && s.to.Equal(o.to) && s.closed == o.closed
}

// remove deletes a job.
func (o *operator) remove(ctx context.Context, s *subject) error {
	asked := time.Now()
	holds, _, err := o.ask(ctx, http.MethodDelete, "/v1/namespaces/"+probeSpace+"/jobs/"+s.name, nil, nil)
	if err != nil {
		return err
	}
	if holds.IsZero() {
		holds = time.Now().Add(untold)
	}
	o.c.event("%s: %s, from %s", s.name, deletedWord, holds.Format(time.StampMilli))
	s.deleted = true
	s.plan.spans = append(s.plan.spans, span{after: asked.Add(-o.slack), holds: holds, what: deletedWord})
	return nil
}

// pause pauses a job, a group, a namespace or all, for good or for a while.
func (o *operator) pause(ctx context.Context) error {
	r := &rest{scope: etcdkv.ScopeJob, key: job.Key{Namespace: probeSpace, Name: restingJob}}
	switch o.rnd.IntN(8) {
	case 0, 1, 2:
		r.scope, r.key.Name = etcdkv.ScopeGroup, restGroup
	case 3:
		r.scope, r.key.Name = etcdkv.ScopeNamespace, ""
	case 4:
		r.scope, r.key = etcdkv.ScopeAll, job.Key{}
	}
	for _, old := range o.ledger.pauses {
		if old.scope == r.scope && old.over.IsZero() {
			return nil
		}
	}
	r.asked = time.Now()
	if r.scope != etcdkv.ScopeAll && o.rnd.IntN(3) == 0 {
		r.until = r.asked.Add(between(o.rnd, endMin, endMax)).UTC()
	}
	holds, _, err := o.ask(ctx, http.MethodPost, "/v1/pause", r.body(r.until), nil)
	if err != nil {
		return err
	}
	if r.holds = holds; holds.IsZero() {
		r.holds = time.Now().Add(untold)
	}
	o.c.event("%v; until %v", r, r.until)
	o.ledger.pauses = append(o.ledger.pauses, r)
	return nil
}

func (r *rest) body(until time.Time) []byte {
	text := fmt.Sprintf(`{"scope":%q,"by":"fault"`, r.scope)
	if r.key.Namespace != "" {
		text += fmt.Sprintf(`,"namespace":%q`, r.key.Namespace)
	}
	if r.key.Name != "" {
		text += fmt.Sprintf(`,"name":%q`, r.key.Name)
	}
	if !until.IsZero() {
		text += fmt.Sprintf(`,"until":%q`, until.Format(time.RFC3339Nano))
	}
	return []byte(text + "}")
}

// resume ends pauses that have held for a while; all: whatever holds.
func (o *operator) resume(ctx context.Context, all bool) error {
	for _, r := range o.ledger.pauses {
		now := time.Now()
		if !r.over.IsZero() || !all && now.Before(r.asked.Add(between(o.rnd, restMin, restMax))) {
			continue
		}
		if !r.until.IsZero() {
			if now.After(r.until) {
				r.over = r.until
			}
			continue
		}
		r.resumed = now
		holds, _, err := o.ask(ctx, http.MethodPost, "/v1/resume", r.body(time.Time{}), nil)
		if err != nil {
			return err
		}
		r.over = later(time.Now(), holds)
		if holds.IsZero() {
			r.over = time.Now().Add(untold)
		}
		o.c.event("the pause of %s is over at %s", r.scope, r.over.Format(time.StampMilli))
	}
	return nil
}

// start starts a job by hand: one that has no schedule, or one of an ordered group.
func (o *operator) start(ctx context.Context) error {
	name := []string{askedJob, orderedUp + "-a"}[o.rnd.IntN(2)]
	var done struct{ FireID job.FireID }
	_, again, err := o.ask(ctx, http.MethodPost, "/v1/namespaces/"+probeSpace+"/jobs/"+name+"/run", []byte(`{"by":"fault"}`), &done)
	if err != nil {
		return err
	}
	o.c.event("%s is started: %v", name, done.FireID)
	o.ledger.starts = append(o.ledger.starts, done.FireID)
	o.ledger.unsure[o.uids[name]] += again
	return nil
}

// backfill has instants of an hour ago run again.
func (o *operator) backfill(ctx context.Context) error {
	uid := o.uids[filledJob]
	from := time.Now().Add(-time.Hour - time.Duration(o.rnd.IntN(600))*time.Second).UTC().Truncate(time.Second)
	b := backfill{job: uid, overlap: o.rnd.IntN(2) == 0}
	to := from.Add(time.Duration(backfillLeast+o.rnd.IntN(backfillMost-backfillLeast)) * 2 * time.Second)
	body := fmt.Appendf(nil, `{"from":%q,"to":%q,"overlap":%v,"every":%q,"by":"fault"}`,
		from.Format(time.RFC3339), to.Format(time.RFC3339), b.overlap, backfillEvery)
	var v api.Backfill
	_, again, err := o.ask(ctx, http.MethodPost, "/v1/namespaces/"+probeSpace+"/jobs/"+filledJob+"/backfill", body, &v)
	if err != nil {
		return err
	}
	b.id, b.instants = v.ID, o.plans[uid].spans[0].set.Between(from, to, maxOccurrences)
	o.c.event("%s is backfilled: %d instants from %v", filledJob, len(b.instants), from.Format(time.TimeOnly))
	o.ledger.backfills = append(o.ledger.backfills, b)
	o.ledger.unsure[uid] += again * len(b.instants)
	return nil
}

// finish makes all jobs that are edited due every second: once their shards have come
// up to now, all is decided that was due before.
func (o *operator) finish(ctx context.Context) error {
	for _, s := range o.edited {
		if s.deleted {
			group := s.spec["group"]
			if err := o.create(ctx, s); err != nil {
				return err
			}
			if group == nil {
				continue
			}
			s.spec["group"] = group // where the one before may have left something
		}
		s.spec["schedules"], s.spec["enabled"] = []string{every}, true
		delete(s.spec, "endAt")
		delete(s.spec, "calendars")
		if err := o.reschedule(ctx, s, "it was made due every second"); err != nil {
			return err
		}
	}
	return nil
}

// disable disables the jobs that are edited, and are there.
func (o *operator) disable(ctx context.Context) error {
	for _, s := range o.edited {
		if s.deleted {
			continue
		}
		s.spec["enabled"] = false
		if err := o.reschedule(ctx, s, offWord); err != nil {
			return err
		}
	}
	return nil
}
