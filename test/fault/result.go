package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// result is what a run of a scenario showed.
type result struct {
	options  options
	faults   int
	work     workload
	operator *operator
	// files are the manifests of all jobs that nobody edits, as they are or disabled.
	files     func(enabled bool) [][]byte
	evidence  evidence
	verdict   verdict
	takeovers map[cause][]time.Duration
	// moves and least are how many hash shards moved in a scenario that scales,
	// and how many had to; gaps is how often a shard had no owner though nobody
	// had crashed.
	moves, least, gaps int
	// shards are those of the steady jobs; rto is how long they were without a start when a
	// site was lost, sorted.
	shards map[job.UID]job.ShardID
	rto    []time.Duration
	// gauges are what was measured in a soak.
	gauges gauges
	// notes are things that went wrong on the way.
	notes []string
	dir   string // empty when it is removed
}

func (r *result) good() bool { return r.verdict.good() }

// shown is how many findings of a kind are printed.
const shown = 20

// print writes the findings, and the result as the last line.
func (r *result) print(w io.Writer) {
	for _, kind := range r.verdict.figures() {
		for i, f := range kind.list {
			if i == shown {
				fmt.Fprintf(w, "%s: %d more\n", kind.name, len(kind.list)-shown)
				break
			}
			fmt.Fprintf(w, "%s: %s %v\n", kind.name, f.what, f.fire)
			r.detail(w, f.fire)
		}
	}
	for name, list := range map[string][]string{"stuck": r.verdict.stuck, "unready": r.verdict.unready} {
		for _, what := range list[:min(shown, len(list))] {
			fmt.Fprintf(w, "%s: %s\n", name, what)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.gauges)) {
		fmt.Fprintf(w, "%s: %.1f\n", name, r.gauges[name])
	}
	for _, what := range r.verdict.grew {
		fmt.Fprintln(w, what)
	}
	for _, n := range r.notes {
		fmt.Fprintln(w, "note:", n)
	}
	if r.dir != "" {
		fmt.Fprintln(w, "kept:", r.dir)
	}
	fmt.Fprintf(w, "faults=%d late_ms_p50=%d", r.faults, millis(quantile(r.verdict.late, .5)))
	for _, s := range slices.Sorted(maps.Keys(r.verdict.states)) {
		fmt.Fprintf(w, " %s=%d", s, r.verdict.states[s])
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "FAULT scenario=%s seed=%d load=%d fires=%d verbs=%d", r.options.scenario, r.options.seed, r.options.load, r.verdict.fires, r.evidence.ledger.verbs)
	for _, kind := range r.verdict.figures() {
		fmt.Fprintf(w, " %s=%d", kind.name, len(kind.list))
	}
	fmt.Fprintf(w, " stuck=%d unready=%d late_ms_p99=%d", len(r.verdict.stuck), len(r.verdict.unready), millis(quantile(r.verdict.late, .99)))
	for _, why := range slices.Sorted(maps.Keys(r.takeovers)) {
		took := r.takeovers[why]
		fmt.Fprintf(w, " takeovers_%[1]s=%[2]d takeover_ms_%[1]s_p50=%[3]d takeover_ms_%[1]s_p99=%[4]d takeover_ms_%[1]s_max=%[5]d",
			why, len(took), millis(quantile(took, .5)), millis(quantile(took, .99)), millis(quantile(took, 1)))
	}
	if r.options.scenario == "scale" {
		fmt.Fprintf(w, " moves=%d moves_min=%d unowned_gaps=%d", r.moves, r.least, r.gaps)
	}
	if r.options.scenario == siteScenario {
		fmt.Fprintf(w, " rto_jobs=%d rto_ms_p50=%d rto_ms_max=%d", len(r.rto), millis(quantile(r.rto, .5)), millis(quantile(r.rto, 1)))
	}
	if r.work.herd > 0 {
		fmt.Fprintf(w, " herd=%d herd_drain_ms=%d", r.work.herd, millis(r.drained()))
	}
	fmt.Fprintln(w)
}

// drained returns how long after the herd's second the last of its orders was
// sent.
func (r *result) drained() time.Duration {
	var last time.Duration
	for i := range r.evidence.runs {
		if run := &r.evidence.runs[i]; run.ScheduledAt.Equal(r.work.herdAt) && strings.HasPrefix(run.Job, "herd-") {
			last = max(last, run.DispatchedAt.Sub(r.work.herdAt))
		}
	}
	return last
}

// detail writes all that is known of a fire.
func (r *result) detail(w io.Writer, fire job.FireID) {
	if p := r.evidence.plans[fire.Job]; p != nil {
		fmt.Fprintf(w, "    job %v, in the trace %d times\n", p.key, r.evidence.trace[fire])
		for _, s := range p.spans[1:] {
			fmt.Fprintf(w, "    %s after %s, which holds from %s on\n", s.what, s.after.Format(time.RFC3339Nano), s.holds.Format(time.RFC3339Nano))
		}
	}
	for i := range r.evidence.runs {
		if run := &r.evidence.runs[i]; run.FireID == fire {
			if text, err := json.Marshal(run); err == nil {
				fmt.Fprintf(w, "    record %s\n", text)
			}
		}
	}
}

// quantile returns the q-quantile of sorted times; 0 when there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func millis(d time.Duration) int64 { return d.Round(time.Millisecond).Milliseconds() }
