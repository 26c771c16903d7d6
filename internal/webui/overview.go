package webui

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/query"
	"github.com/carillon-cron/carillon/internal/rights"
	"github.com/carillon-cron/carillon/job"
)

// overviewData is what is wrong now, what runs and what is next.
type overviewData struct {
	// Jobs is how many there are that the reader may see.
	Jobs  int
	Wrong []wrong
	Runs  []job.Run
	Bad   []job.Run
	Next  []api.Job
	// MoreBad: not all of the last day was looked at for Bad.
	MoreBad bool
	// NoNext tells why what is next is not told.
	NoNext string
	Gap    string
}

// wrong is a line of what is wrong now.
type wrong struct{ What, Detail, Link string }

// rowsOfOverview is how many rows each part of the overview has.
const rowsOfOverview = 10

func (u *UI) overview(w http.ResponseWriter, r *http.Request) {
	d, err := u.overviewData(r.Context())
	u.show(w, r, "overview", page{Title: "Overview", Nav: "overview", Topics: "jobs runs nodes minions", Data: d}, err)
}

func (u *UI) overviewData(ctx context.Context) (*overviewData, error) {
	d := &overviewData{}
	// Whoever is not known is told so by control, here too.
	if err := u.jobsNow(ctx, d); err != nil {
		return nil, err
	}
	if u.may(ctx, rights.Read, rights.Runs) {
		open, err := u.control.Runs(ctx, api.RunQuery{Words: "state:open", Limit: rowsOfOverview})
		if err != nil {
			return nil, err
		}
		bad, err := u.control.Runs(ctx, api.RunQuery{Words: "state:bad since:24h", Limit: rowsOfOverview})
		if err != nil {
			return nil, err
		}
		d.Runs, d.Bad, d.Gap = open.Runs, bad.Runs, open.Gap()
		d.MoreBad = bad.NextCursor != ""
	}
	return d, u.clusterNow(ctx, d)
}

// jobsNow tells what is wrong with jobs, and which is next.
func (u *UI) jobsNow(ctx context.Context, d *overviewData) error {
	all, err := u.control.JobPage(ctx, api.JobQuery{Limit: 1, Facets: true})
	if err != nil {
		return err
	}
	d.Jobs = all.Total
	counts := map[string]int{}
	for _, f := range all.Facets {
		for _, v := range f.Values {
			switch {
			case v.Value == "yes":
				counts[f.Key] = v.Jobs
			case f.Key == "last" && v.Value != query.None && job.State(v.Value).Bad():
				counts["bad"] += v.Jobs
			}
		}
	}
	d.add(counts["bad"], "failing", "their last run did not end as it should", list(jobsPath, "last:bad", "last", ""))
	d.add(counts["late"], "late", "should have started more than a minute ago", list(jobsPath, "late:yes", "", ""))
	d.add(counts["aside"], "set aside", "nothing can be planned of them", list(jobsPath, "aside:yes", "", ""))
	alone := "do not start by themselves"
	if counts["paused"] == 1 {
		alone = "does not start by itself"
	}
	d.add(counts["paused"], "paused", alone, list(jobsPath, "paused:yes", "", ""))
	next, err := u.control.JobPage(ctx, api.JobQuery{Words: "by:schedule enabled:yes", Sort: "next", Limit: rowsOfOverview})
	var invalid *job.InvalidError
	if errors.As(err, &invalid) {
		d.NoNext = invalid.Problems[0].Message
		return nil
	}
	d.Next = next.Jobs
	return err
}

func (d *overviewData) add(n int, what, detail, link string) {
	if n > 0 {
		d.Wrong = append(d.Wrong, wrong{What: counted(n, "job") + " " + what, Detail: detail, Link: link})
	}
}

// clusterNow tells what is wrong with nodes and minions.
func (u *UI) clusterNow(ctx context.Context, d *overviewData) error {
	if u.may(ctx, rights.Read, rights.Nodes) {
		nodes, err := u.control.Nodes(ctx)
		if err != nil {
			return err
		}
		for i := range nodes {
			for _, t := range nodes[i].Trouble {
				d.Wrong = append(d.Wrong, wrong{What: "node " + string(nodes[i].Name), Detail: t, Link: "/nodes"})
			}
		}
	}
	if u.may(ctx, rights.Read, rights.Minions) {
		minions, err := u.control.Minions(ctx)
		if err != nil {
			return err
		}
		away := 0
		for i := range minions {
			if minions[i].State != api.MinionConnected || minions[i].Trouble != "" {
				away++
			}
		}
		if away > 0 {
			d.Wrong = append(d.Wrong, wrong{What: counted(away, "minion") + " out of reach", Detail: "of " + strconv.Itoa(len(minions)) + ": disconnected, or uncontrollable", Link: "/minions"})
		}
	}
	return nil
}
