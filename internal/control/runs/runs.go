package runs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/job"
)

// ReasonWaiting is the reason of a run that nobody has committed yet.
const ReasonWaiting = "waiting for its shard's owner"

// cursor tells where a page begins: after a place in the order of runs. Because
// that names no count, runs that come and end meanwhile do not shift it.
//
// uid is the job's when the query names a job that exists: history then reads
// one bucket instead of all, and later pages must stay with the same job.
type cursor struct {
	after history.Position
	uid   job.UID
}

// String returns "POSITION" or "UID~POSITION".
func (c cursor) String() string {
	if c.uid.IsZero() {
		return c.after.Cursor()
	}
	return c.uid.String() + "~" + c.after.Cursor()
}

func parseCursor(s string) (cursor, error) {
	var c cursor
	var err error
	uid, position, ok := strings.Cut(s, "~")
	if !ok {
		uid, position = "", s
	}
	if uid != "" {
		if c.uid, err = job.ParseUID(uid); err != nil {
			return c, apiview.Invalid("cursor", fmt.Sprintf("%q is not a cursor; use the one that came with the page before, or none", s))
		}
	}
	c.after, err = history.ParseCursor(position)
	return c, err
}

// comesAfter reports whether the run lies after the cursor.
func (c cursor) comesAfter(r *job.Run) bool {
	return c.after.ID == "" || history.PositionOf(r).Compare(c.after) > 0
}

// checkedQuery returns the query with its defaults filled in.
func checkedQuery(q api.RunQuery) (api.RunQuery, error) {
	if q.Limit == 0 {
		q.Limit = api.DefaultRunLimit
	}
	if q.Limit < 0 || q.Limit > api.MaxRunLimit {
		return q, apiview.Invalid("limit", fmt.Sprintf("%d is out of range; want 1 to %d", q.Limit, api.MaxRunLimit))
	}
	if q.Job != "" && q.Namespace == "" {
		q.Namespace = job.DefaultNamespace
	}
	if q.State != "" && !slices.Contains(job.States(), q.State) {
		names := make([]string, 0, len(job.States()))
		for _, s := range job.States() {
			names = append(names, string(s))
		}
		return q, apiview.Invalid("state", fmt.Sprintf("%q is not a state; want one of %s", q.State, strings.Join(names, ", ")))
	}
	return q, nil
}

// Runs returns a page of runs, in flight and ended, newest instant first. A
// query that names a job shows the runs of the job that has the name now; those
// of deleted ones only when there is none.
func (book *Book) Runs(ctx context.Context, q api.RunQuery) (api.RunPage, error) {
	q, err := checkedQuery(q)
	if err != nil {
		return api.RunPage{}, err
	}
	var words query.Runs
	if q.Words != "" {
		if words, err = query.ParseRuns(q.Words, book.db.Now()); err != nil {
			return api.RunPage{}, err
		}
	}
	if may := q.Only; words.Any() {
		q.Words, q.Only = "", func(r *job.Run) bool { return words.Selects(r) && (may == nil || may(r)) }
	}
	at, err := book.startOf(ctx, q)
	if err != nil {
		return api.RunPage{}, err
	}
	// In flight first: a run that ends in between is then seen twice, not never.
	live, missing, err := book.liveAfter(ctx, q, at)
	if err != nil {
		return api.RunPage{}, err
	}
	ended := &endedRuns{store: book.history, only: q.Only, since: words.Since(), left: mostPages, query: history.Query{
		Namespace: q.Namespace, Job: q.Job, UID: at.uid, State: q.State, Limit: q.Limit,
	}}
	if q.Only != nil {
		ended.query.Limit = max(q.Limit, foreignPage)
	}
	if at.after.ID != "" {
		ended.query.Cursor = at.after.Cursor()
	}
	runs, live, err := merge(ctx, q.Limit, live, ended)
	if err != nil {
		return api.RunPage{}, err
	}
	page := api.RunPage{Runs: runs, Missing: missing}
	switch {
	case ended.paused && len(runs) < q.Limit:
		at.after = ended.reached
		page.NextCursor = at.String()
	case len(live) > 0 || !ended.done():
		at.after = history.PositionOf(&runs[len(runs)-1])
		page.NextCursor = at.String()
	}
	if q.Count {
		return page, book.countRuns(ctx, q, &page)
	}
	return page, nil
}

// countRuns counts what the query of a page selects in all, and what it does not
// because of its state.
func (book *Book) countRuns(ctx context.Context, q api.RunQuery, page *api.RunPage) error {
	if page.NextCursor == "" && q.State == "" && q.Cursor == "" {
		page.Total = len(page.Runs)
		return nil
	}
	all := q
	all.State, all.Limit, all.Cursor, all.Count = "", api.MaxRunLimit, "", false
	page.Others = map[job.State]int{}
	for seen, pages := 0, 0; ; pages++ {
		part, err := book.Runs(ctx, all)
		if err != nil {
			return err
		}
		for i := range part.Runs {
			if r := &part.Runs[i]; q.State == "" || r.State == q.State {
				page.Total++
			} else {
				page.Others[r.State] += max(r.Count, 1)
			}
		}
		seen += len(part.Runs)
		if all.Cursor = part.NextCursor; all.Cursor == "" {
			return nil
		}
		if seen >= api.MaxCounted || pages >= api.MaxCounted/api.MaxRunLimit {
			page.AtLeast = true
			return nil
		}
	}
}

// startOf returns where the page begins that q asks for.
func (book *Book) startOf(ctx context.Context, q api.RunQuery) (cursor, error) {
	if q.Cursor != "" {
		return parseCursor(q.Cursor)
	}
	if q.Job == "" {
		return cursor{}, nil
	}
	stored, _, err := book.jobs.Stored(ctx, job.Key{Namespace: q.Namespace, Name: q.Job})
	if err != nil && !errors.Is(err, job.ErrNotFound) {
		return cursor{}, err
	}
	return cursor{uid: stored.UID}, nil
}

// merge takes up to limit runs from both, in order, each run once; fewer where no more
// of ended is read for this page. It returns them and what is left of live.
func merge(ctx context.Context, limit int, live []job.Run, ended *endedRuns) (runs, rest []job.Run, err error) {
	runs = make([]job.Run, 0, limit)
	for len(runs) < limit {
		head, err := ended.peek(ctx)
		if err != nil {
			return nil, nil, err
		}
		if head == nil && (len(live) == 0 || ended.paused && history.PositionOf(&live[0]).Compare(ended.reached) > 0) {
			break
		}
		order := 0
		switch {
		case head == nil:
			order = -1
		case len(live) == 0:
			order = 1
		default:
			order = history.PositionOf(&live[0]).Compare(history.PositionOf(head))
		}
		next := head
		if order < 0 || order == 0 && !head.State.Final() {
			next = &live[0]
		}
		runs = append(runs, *next)
		if order <= 0 {
			live = live[1:]
		}
		if order >= 0 {
			ended.pop()
		}
	}
	return runs, live, nil
}

// liveAfter returns the runs in flight that q selects and that come after a
// position, in order, and what is missing from them.
func (book *Book) liveAfter(ctx context.Context, q api.RunQuery, at cursor) ([]job.Run, []api.MissingRuns, error) {
	all, missing, err := book.LiveRuns(ctx, q.Namespace, q.Job)
	if err != nil {
		return nil, nil, err
	}
	live := make([]job.Run, 0, len(all))
	for i := range all {
		r := &all[i]
		switch {
		case q.State != "" && r.State != q.State:
		case !at.uid.IsZero() && r.FireID.Job != at.uid:
		case !at.comesAfter(r):
		case q.Only != nil && !q.Only(r):
		default:
			live = append(live, *r)
		}
	}
	byPosition := func(a, b job.Run) int { return history.PositionOf(&a).Compare(history.PositionOf(&b)) }
	slices.SortFunc(live, byPosition)
	return slices.CompactFunc(live, func(a, b job.Run) bool { return a.RunID == b.RunID }), missing, nil
}

// LiveRuns returns the runs in flight, and what is missing from them.
func (book *Book) LiveRuns(ctx context.Context, namespace, name string) ([]job.Run, []api.MissingRuns, error) {
	all, err := book.live.LiveRuns(ctx, namespace, name)
	var partial *api.PartialError
	if errors.As(err, &partial) {
		return all, partial.Missing, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("runs in flight: %w", err)
	}
	return all, nil, nil
}

// endedRuns walks over history.
type endedRuns struct {
	store history.Store
	query history.Query // for the page after those that were read
	only  func(*job.Run) bool
	// since, unless zero, is the instant before which no run is wanted.
	since time.Time
	runs  []job.Run // what is left of the page read last
	last  bool      // that page was the last one
	// left is how many pages may still be read; paused: there are more, and all up to
	// reached were looked at.
	left    int
	paused  bool
	reached history.Position
}

// Of the runs that a caller may not see, a page of those that it may passes so many at
// most: in pages of history's of foreignPage or more. Then it ends early, and has a cursor.
const (
	mostPages   = 20
	foreignPage = 200
)

// peek returns the next run, or nil at the end.
func (e *endedRuns) peek(ctx context.Context) (*job.Run, error) {
	for len(e.runs) == 0 {
		if e.last || e.paused {
			return nil, nil
		}
		if e.left--; e.left < 0 && e.only != nil {
			var err error
			if e.reached, err = history.ParseCursor(e.query.Cursor); err != nil {
				return nil, fmt.Errorf("ended runs: %w", err)
			}
			e.paused = true
			return nil, nil
		}
		page, err := e.store.List(ctx, e.query)
		if err != nil {
			return nil, fmt.Errorf("ended runs: %w", err)
		}
		e.runs, e.query.Cursor, e.last = page.Runs, page.Next, page.Next == ""
		if n := len(page.Runs); n > 0 && page.Runs[n-1].ScheduledAt.Before(e.since) {
			e.last = true // they come newest first
		}
		if e.only != nil {
			e.runs = slices.DeleteFunc(e.runs, func(r job.Run) bool { return !e.only(&r) })
		}
	}
	return &e.runs[0], nil
}

func (e *endedRuns) pop() { e.runs = e.runs[1:] }

// done reports whether nothing is left.
func (e *endedRuns) done() bool { return e.last && len(e.runs) == 0 }

// Run returns one run, with the output that its record holds.
func (book *Book) Run(ctx context.Context, id job.RunID) (job.Run, error) {
	return book.FindRun(ctx, id, job.Key{})
}

// FindRun looks for a run of the job at key, or of any when key is zero.
// A run moves from trigger to flight to history; when the triggers have been
// searched in vain it may have moved on meanwhile, so the others are asked again.
func (book *Book) FindRun(ctx context.Context, id job.RunID, key job.Key) (job.Run, error) {
	if !id.Valid() {
		return job.Run{}, fmt.Errorf("run %q: %w", id, job.ErrNotFound)
	}
	r, err := book.startedRun(ctx, id, key)
	if !errors.Is(err, job.ErrNotFound) && !isPartial(err) {
		return r, err
	}
	r, err = book.WaitingRun(ctx, id)
	if !errors.Is(err, job.ErrNotFound) {
		return r, err
	}
	// The store may tell that a start was committed before its owner has heard so,
	// and who has just got a shard is about to have read it.
	for range findTries {
		if r, err = book.startedRun(ctx, id, key); !errors.Is(err, job.ErrNotFound) && !isPartial(err) {
			return r, err
		}
		if !backoff.Sleep(ctx, findPause) {
			return r, ctx.Err()
		}
	}
	return r, err
}

// findTries is how often a run is looked for that has just been started or is
// unknown, and findPause the time after each.
const (
	findTries = 4
	findPause = 100 * time.Millisecond
)

// isPartial reports whether an error says that not all open runs are known.
func isPartial(err error) bool { return errors.As(err, new(*api.PartialError)) }

// BearUnknown is for how long it is borne that nobody can tell of a run which was
// seen before: while its shard changes hands, or its owner is slow.
const BearUnknown = 30 * time.Second

// Sighting is a run that is looked at again and again.
type Sighting struct {
	Run job.Run
	// Gap tells people why run is as it was when it could be had last; empty: it is
	// as it is now. since is from when on that is so.
	Gap   string
	Since time.Time
}

// LookAgain looks at a run again. What cannot be told for a moment is no error:
// the run stays as it was, and gap says so.
func (book *Book) LookAgain(ctx context.Context, s *Sighting) error {
	run, err := book.FindRun(ctx, s.Run.RunID, s.Run.Key())
	switch {
	case err == nil:
		*s = Sighting{Run: run}
	case !errors.Is(err, job.ErrUnavailable) || ctx.Err() != nil:
		return err
	case s.Gap == "":
		s.Since = time.Now()
		s.Gap = "how it is now is not known: " + err.Error()
	case time.Since(s.Since) > BearUnknown:
		return err
	}
	return nil
}

// startedRun looks for a run in flight, then for its record. Where it is neither
// and not all runs in flight are known, the error is a *PartialError that wraps
// job.ErrUnavailable, and not job.ErrNotFound.
func (book *Book) startedRun(ctx context.Context, id job.RunID, key job.Key) (job.Run, error) {
	live, missing, err := book.LiveRuns(ctx, key.Namespace, key.Name)
	if err != nil {
		return job.Run{}, err
	}
	for i := range live {
		if live[i].RunID == id {
			return live[i], nil
		}
	}
	r, err := book.history.Get(ctx, id)
	switch {
	case errors.Is(err, job.ErrNotFound) && len(missing) > 0:
		return job.Run{}, fmt.Errorf("run %s may be open: %w", id, &api.PartialError{Missing: missing})
	case err != nil:
		return job.Run{}, fmt.Errorf("run %s: %w", id, err)
	}
	return r, nil
}

// WaitingRun looks for a start that no owner has committed yet.
func (book *Book) WaitingRun(ctx context.Context, id job.RunID) (job.Run, error) {
	var found *job.Run
	err := book.db.Shards(ctx, store.MaxOps, func(shards []job.ShardID) error {
		if found != nil {
			return nil
		}
		ops := make([]clientv3.Op, 0, len(shards))
		for _, s := range shards {
			ops = append(ops, clientv3.OpGet(book.db.Keys.Triggers(s), clientv3.WithPrefix()))
		}
		resp, err := book.db.Do(ctx, "waiting starts", nil, ops)
		if err != nil {
			return err
		}
		for i, part := range resp.Responses {
			for _, kv := range part.GetResponseRange().GetKvs() {
				t, err := store.Decode[etcdkv.Trigger](kv)
				if err != nil {
					book.log.Warn("trigger unreadable", zap.Error(err))
					continue
				}
				if t.Fire.RunID() == id {
					r := waiting(t, shards[i])
					found = &r
				}
			}
		}
		return nil
	})
	if err != nil {
		return job.Run{}, err
	}
	if found == nil {
		return job.Run{}, fmt.Errorf("run %s: %w", id, job.ErrNotFound)
	}
	return *found, nil
}

func waiting(t etcdkv.Trigger, shard job.ShardID) job.Run {
	return job.Run{
		RunID:       t.Fire.RunID(),
		FireID:      t.Fire,
		Namespace:   t.Key.Namespace,
		Job:         t.Key.Name,
		Trigger:     t.Fire.Trigger.String(),
		State:       job.StatePending,
		Reason:      ReasonWaiting,
		Attempt:     1,
		Shard:       shard,
		ScheduledAt: t.Fire.Time(),
		Count:       1,
		Tasks:       []job.Task{},
	}
}
