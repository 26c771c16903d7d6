package catalog

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/history"
	"github.com/carillon-cron/carillon/internal/control/apiview"
	"github.com/carillon-cron/carillon/internal/control/store"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/job"
)

// JobPage returns a page of the jobs that q selects. What it costs grows with the page and
// with how many jobs there are in memory, not with what is stored of them.
func (c *Catalog) JobPage(ctx context.Context, q api.JobQuery) (api.JobPage, error) {
	l, err := newListing(q)
	if err != nil {
		return api.JobPage{}, err
	}
	all, err := c.index.all(ctx)
	if err != nil {
		return api.JobPage{}, err
	}
	if err := l.read(ctx, c); err != nil {
		return api.JobPage{}, err
	}
	found := l.find(all)
	page := api.JobPage{Jobs: []api.Job{}, Total: len(found), Missing: l.missing}
	if q.Facets {
		page.Facets = facetsOf(found)
	}
	views, err := l.sorted(ctx, c, found)
	if err != nil {
		return api.JobPage{}, err
	}
	rest := l.after(found)
	if q.Limit > 0 && len(rest) > q.Limit {
		rest = rest[:q.Limit]
		page.NextCursor = l.cursor(&rest[len(rest)-1])
	}
	if views == nil {
		if views, err = c.viewsOf(ctx, l, rest); err != nil {
			return api.JobPage{}, err
		}
	}
	for i := range rest {
		if v := views[rest[i].at]; v != nil { // else it was deleted meanwhile
			page.Jobs = append(page.Jobs, *v)
		}
	}
	return page, nil
}

// listing is one list of jobs in the making.
type listing struct {
	q     api.JobQuery
	words query.Jobs
	sort  string
	down  bool
	from  *place

	latest           history.Latest
	running, waiting map[job.UID]int
	late             map[job.UID]bool
	missing          []api.MissingRuns
	unknown          map[job.ShardID]bool
	paused           pausedJobs
	asides           map[job.Key]*etcdkv.Aside
}

// listed is a job that a query selects, with what decides where it stands in the list.
type listed struct {
	*entry

	now query.Job
	by  int64
}

// place is where a page begins: after a job.
type place struct {
	Sort string  `json:"s"`
	By   int64   `json:"v"`
	Key  job.Key `json:"k"`
}

// newListing checks a query, and tells all that is wrong with it.
func newListing(q api.JobQuery) (*listing, error) {
	var problems []job.Problem
	words, err := query.ParseJobs(q.Words)
	if err != nil {
		problems = append(problems, err.(*job.InvalidError).Problems...) //nolint:errorlint // documented type
	}
	l := &listing{q: q, words: words, sort: strings.TrimPrefix(q.Sort, "-"), down: strings.HasPrefix(q.Sort, "-")}
	l.sort = cmp.Or(l.sort, "name")
	if !slices.Contains(api.JobSorts(), l.sort) {
		problems = append(problems, job.Problem{Path: "sort", Message: fmt.Sprintf("%q is not an order; want one of %s, or one with a minus before it", q.Sort, strings.Join(api.JobSorts(), ", "))})
	}
	if q.Limit < 0 || q.Limit > api.MaxJobLimit {
		problems = append(problems, job.Problem{Path: "limit", Message: fmt.Sprintf("%d is out of range; want 1 to %d, or 0 for all", q.Limit, api.MaxJobLimit)})
	}
	if q.Cursor != "" {
		if l.from = parsePlace(q.Cursor); l.from == nil || l.from.Sort != l.order() {
			problems = append(problems, job.Problem{Path: "cursor", Message: strconv.Quote(q.Cursor) + " is no cursor of this list; use the one that came with the page before, or none"})
		}
	}
	if problems != nil {
		return nil, &job.InvalidError{Problems: problems}
	}
	return l, nil
}

func (l *listing) order() string {
	if l.down {
		return "-" + l.sort
	}
	return l.sort
}

func parsePlace(s string) *place {
	text, err := base64.RawURLEncoding.DecodeString(s)
	var p place
	if err != nil || json.Unmarshal(text, &p) != nil {
		return nil
	}
	return &p
}

func (l *listing) cursor(last *listed) string {
	text, err := json.Marshal(place{l.order(), last.by, last.Key})
	if err != nil {
		return "" // it is text and numbers
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// read reads what is asked by that is not of the jobs themselves.
func (l *listing) read(ctx context.Context, c *Catalog) error {
	pauses, err := c.pauses.Now(ctx)
	if err != nil {
		return err
	}
	l.paused = pausedBy(pauses)
	asides, err := store.ListAll[etcdkv.Aside](ctx, c.db, "list jobs that are set aside", c.db.Keys.Asides())
	if err != nil {
		return err
	}
	l.asides = make(map[job.Key]*etcdkv.Aside, len(asides))
	for i := range asides {
		l.asides[job.Key{Namespace: asides[i].Namespace, Name: asides[i].Name}] = &asides[i]
	}
	live, missing, err := c.runs.LiveRuns(ctx, l.q.Namespace, "")
	if err != nil {
		return err
	}
	l.missing, l.unknown = missing, map[job.ShardID]bool{}
	for _, m := range missing {
		for _, s := range m.Shards {
			l.unknown[s] = true
		}
	}
	l.running, l.waiting, l.late = map[job.UID]int{}, map[job.UID]int{}, map[job.UID]bool{}
	now := c.db.Now()
	for i := range live {
		uid := live[i].FireID.Job
		switch {
		case live[i].State == job.StateRunning:
			l.running[uid]++
		case !live[i].State.Final():
			l.waiting[uid]++
		}
		if live[i].FirstStartedAt().IsZero() && query.Late(&live[i], now) {
			l.late[uid] = true
		}
	}
	if l.latest, err = history.LatestOf(ctx, c.history); err != nil {
		return fmt.Errorf("last runs: %w", err)
	}
	return nil
}

// find returns the jobs that the query selects, by name.
func (l *listing) find(all []*entry) []listed {
	var found []listed
	outcomes := l.q.Facets || l.sort == "last" || l.words.Asks("last")
	for _, e := range all {
		switch {
		case l.q.Namespace != "" && e.Key.Namespace != l.q.Namespace:
			continue
		case e.passing && !l.q.Passing, !hasLabels(e.Labels, l.q.Labels):
			continue
		case l.q.Only != nil && !l.q.Only(e.Key.Namespace, e.Labels):
			continue
		}
		one := listed{entry: e, now: e.Job}
		now := &one.now
		now.Running, now.Waiting, now.Late = l.running[e.uid], l.waiting[e.uid], l.late[e.uid]
		now.Paused = l.paused.has(e)
		if a := l.asides[e.Key]; a != nil && (a.Job.IsZero() || a.Job == e.uid) {
			now.Aside = true
		}
		if outcomes {
			if last := l.lastOf(e); len(last) > 0 {
				now.Last = last[0].State
				if l.sort == "last" {
					one.by = -last[0].At
				}
			}
		}
		if l.sort == "running" {
			one.by = -int64(now.Running)
		}
		if l.words.Selects(now) {
			found = append(found, one)
		}
	}
	return found
}

// lastOf returns how the latest runs of a job ended, as far as they may be told.
func (l *listing) lastOf(e *entry) []history.Outcome {
	if l.q.Outcomes != nil && !l.q.Outcomes(e.Key.Namespace, e.Labels) {
		return nil
	}
	return l.latest(e.uid)
}

// sorted brings jobs into the order that is asked for. It returns what it had to read for
// that; nil: nothing.
func (l *listing) sorted(ctx context.Context, c *Catalog, found []listed) (map[string]*api.Job, error) {
	var views map[string]*api.Job
	if l.sort == "next" {
		if len(found) > api.MaxSorted {
			return nil, apiview.Invalid("sort", fmt.Sprintf("%d jobs are selected, and at most %d are sorted by when they are due next: ask for fewer", len(found), api.MaxSorted))
		}
		var err error
		if views, err = c.viewsOf(ctx, l, found); err != nil {
			return nil, err
		}
		for i := range found {
			found[i].by = never
			if v := views[found[i].at]; v != nil && !v.NextAt.IsZero() {
				found[i].by = v.NextAt.UnixNano()
			}
		}
	}
	if l.order() != "name" { // that is the order in which they are found
		slices.SortStableFunc(found, func(a, b listed) int { return l.compare(a.by, a.Key, b.by, b.Key) })
	}
	return views, nil
}

// never is after all instants.
const never = 1<<63 - 1

func (l *listing) compare(x int64, a job.Key, y int64, b job.Key) int {
	order := cmp.Or(cmp.Compare(x, y), a.Compare(b))
	if l.down {
		return -order
	}
	return order
}

// after returns the jobs of a list that come after the place where the page begins.
func (l *listing) after(found []listed) []listed {
	if l.from == nil {
		return found
	}
	i, _ := slices.BinarySearchFunc(found, *l.from, func(f listed, p place) int {
		return cmp.Or(l.compare(f.by, f.Key, p.By, p.Key), -1) // the place itself is before it
	})
	return found[i:]
}

// viewsOf reads the jobs of a page, by their keys in etcd.
func (c *Catalog) viewsOf(ctx context.Context, l *listing, page []listed) (map[string]*api.Job, error) {
	keys := make([]string, len(page))
	for i := range page {
		keys[i] = page[i].at
	}
	kvs, err := c.db.GetAll(ctx, "list jobs", keys)
	if err != nil {
		return nil, err
	}
	views := make([]api.Job, 0, len(page))
	at := make([]string, 0, len(page))
	for i, kv := range kvs {
		if kv == nil {
			continue
		}
		stored, err := store.Decode[etcdkv.StoredJob](kv)
		if err != nil {
			c.log.Warn("job unreadable", zap.Error(err))
			continue
		}
		one := &page[i]
		v := c.view(&stored.Job, one.shard)
		v.Running, v.Waiting = one.now.Running, one.now.Waiting
		v.RunningUnknown = l.unknown[one.shard] || one.from != nil && l.unknown[*one.from]
		if a := l.asides[one.Key]; a != nil && one.now.Aside {
			v.Aside = apiview.Aside(a)
		}
		for _, o := range l.lastOf(one.entry) {
			v.Last = append(v.Last, job.Run{
				RunID: o.ID, FireID: fireOf(one.uid, o), Namespace: one.Key.Namespace, Job: one.Key.Name, State: o.State,
				ScheduledAt: time.Unix(0, o.At).UTC(), Count: 1, Tasks: []job.Task{},
			})
		}
		views, at = append(views, v), append(at, one.at)
	}
	if err := c.addNext(ctx, views); err != nil {
		return nil, err
	}
	out := make(map[string]*api.Job, len(views))
	for i := range views {
		out[at[i]] = &views[i]
	}
	return out, nil
}

// fireOf returns the fire of a run of which the id and the instant are known. Of one that is
// the share of a node, the kind of trigger is not.
func fireOf(uid job.UID, o history.Outcome) job.FireID {
	fire := job.FireID{Job: uid, At: o.At, Trigger: job.TriggerSchedule}
	for ; fire.Trigger.Known(); fire.Trigger++ {
		if fire.RunID() == o.ID {
			return fire
		}
	}
	fire.Trigger = job.TriggerSchedule
	return fire
}

// pausedJobs tells quickly whether a job is paused.
type pausedJobs struct {
	all        bool
	namespaces map[string]bool
	jobs       map[job.Key]bool
	groups     map[job.Key]bool
}

func pausedBy(pauses []etcdkv.Pause) pausedJobs {
	p := pausedJobs{namespaces: map[string]bool{}, jobs: map[job.Key]bool{}, groups: map[job.Key]bool{}}
	for i := range pauses {
		key := job.Key{Namespace: pauses[i].Namespace, Name: pauses[i].Name}
		switch pauses[i].Scope {
		case etcdkv.ScopeNamespace:
			p.namespaces[key.Namespace] = true
		case etcdkv.ScopeJob:
			p.jobs[key] = true
		case etcdkv.ScopeGroup:
			p.groups[key] = true
		default:
			p.all = true
		}
	}
	return p
}

func (p *pausedJobs) has(e *entry) bool {
	return p.all || p.namespaces[e.Key.Namespace] || p.jobs[e.Key] ||
		e.Group != "" && p.groups[job.Key{Namespace: e.Key.Namespace, Name: e.Group}]
}

// facetValues is how many values of a facet are told; the jobs of the others are counted.
const facetValues = 30

// facetsOf counts jobs by what the words can ask for.
func facetsOf(found []listed) []api.Facet {
	yesNo := map[bool]string{true: "yes", false: "no"}
	of := []struct {
		key   string
		value func(*query.Job) string
	}{
		{"namespace", func(j *query.Job) string { return j.Key.Namespace }},
		{"group", func(j *query.Job) string { return cmp.Or(j.Group, query.None) }},
		{"state", (*query.Job).State},
		{"last", func(j *query.Job) string { return cmp.Or(string(j.Last), query.None) }},
		{"late", func(j *query.Job) string { return yesNo[j.Late] }},
		{"paused", func(j *query.Job) string { return yesNo[j.Paused] }},
		{"enabled", func(j *query.Job) string { return yesNo[j.Enabled] }},
		{"aside", func(j *query.Job) string { return yesNo[j.Aside] }},
	}
	out := make([]api.Facet, len(of))
	for n, f := range of {
		counts := map[string]int{}
		for i := range found {
			counts[f.value(&found[i].now)]++
		}
		values := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
		out[n] = api.Facet{Key: f.key, Values: []api.FacetValue{}}
		for i, v := range values {
			if i < facetValues {
				out[n].Values = append(out[n].Values, api.FacetValue{Value: v, Jobs: counts[v]})
			} else {
				out[n].More += counts[v]
			}
		}
	}
	return out
}
