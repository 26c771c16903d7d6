package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// ledger is what somebody asked of the cluster while it was disturbed, and what it
// answered.
type ledger struct {
	verbs  int
	pauses []*rest
	// starts are the starts by hand that were accepted; backfills those that were.
	// unsure counts, by job, requests of both kinds that were not answered: each may
	// have been done.
	starts    []job.FireID
	backfills []backfill
	unsure    map[job.UID]int
}

// rest is a pause.
type rest struct {
	scope etcdkv.Scope
	key   job.Key // of the group, job or namespace
	// asked is when it was asked for, holds what the answer said.
	asked, holds time.Time
	// until is when it ends by itself; zero: it does not.
	until time.Time
	// resumed is when its end was asked for; over is when that had been done for
	// certain. Zero: not yet.
	resumed, over time.Time
}

func (r *rest) String() string {
	return fmt.Sprintf("the pause of %s %s, which holds from %s on", r.scope, strings.Trim(r.key.String(), "/"), r.holds.Format(time.RFC3339Nano))
}

// of reports whether a job is paused by it.
func (r *rest) of(p *plan) bool {
	switch r.scope {
	case etcdkv.ScopeAll:
		return true
	case etcdkv.ScopeNamespace:
		return p.key.Namespace == r.key.Namespace
	case etcdkv.ScopeGroup:
		return p.key.Namespace == r.key.Namespace && p.group == r.key.Name
	case etcdkv.ScopeJob:
		return p.key == r.key
	}
	return false
}

// must reports whether nothing that is due at an instant may run for it.
func (r *rest) must(t time.Time) bool {
	return t.After(r.holds) && (r.until.IsZero() || t.Before(r.until)) && (r.resumed.IsZero() || t.Before(r.resumed))
}

// may reports whether it may be why something that is due at an instant did not run.
// slack is by how much clocks differ.
func (r *rest) may(t time.Time, slack time.Duration) bool {
	return !t.Before(r.asked.Add(-slack)) && (r.until.IsZero() || t.Before(r.until.Add(slack))) && (r.over.IsZero() || !t.After(r.over.Add(slack)))
}

// backfill is one that was accepted.
type backfill struct {
	id  string
	job job.UID
	// instants are those that it is to run.
	instants []time.Time
	overlap  bool
}

// fire returns what an instant of the backfill is called.
func (b *backfill) fire(t time.Time) job.FireID {
	return job.FireID{Job: b.job, At: t.UnixNano(), Trigger: job.TriggerBackfill, Share: max(job.ShareOf(job.NodeID(b.id)), 1)}
}

// pausedFor returns the pause that forbids what is due of a job at an instant.
func (l *ledger) pausedFor(p *plan, t time.Time) *rest {
	for _, r := range l.pauses {
		if r.of(p) && r.must(t) {
			return r
		}
	}
	return nil
}

// mayRest reports whether a job may have been paused at an instant.
func (l *ledger) mayRest(p *plan, t time.Time, slack time.Duration) bool {
	for _, r := range l.pauses {
		if r.of(p) && r.may(t, slack) {
			return true
		}
	}
	return false
}
