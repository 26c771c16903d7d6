package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var tryMutants = flag.Bool("mutants", false, "build the programs with one known mistake after another, and expect the scenarios to tell")

// mutant is the product with one known mistake.
type mutant struct {
	name string
	// program is the one that has the mistake.
	program string
	file    string // from the module's root
	// was and is: the text that is replaced; it must occur exactly once.
	was, is string
	// caught is the test, or the scenario, that must fail, and told what it must say.
	caught, told string
}

// mutants are mistakes that a scenario has told of; doc.go names those that none
// has.
func mutants() []mutant {
	return []mutant{
		{
			name: "the gate of ordered and bounded groups stands open", program: "scheduler", file: "scheduler/admit/admit.go",
			was: "return a.enter(r) && a.lock.pass(r, g)", is: "return a.enter(r) || a.lock.pass(r, g) || true", caught: "TestNodesAndMinions", told: "crowded",
		},
		{
			name: "the cursor passes what is not committed", program: "scheduler", file: "scheduler/commit.go",
			was: "s.gatherState(w, max(b.cursor, s.state.Cursor.UnixNano())); err", is: "s.gatherState(w, max(b.cursor+int64(3*time.Second), s.state.Cursor.UnixNano())); err",
			caught: "TestNodesAndMinions", told: "missing",
		},
		{
			name: "orders are not journaled", program: "worker", file: "worker/admission.go",
			was: "a.add(&record{Kind: kindAccepted, Order: o})", is: "", caught: "TestDispatch", told: "double:",
		},
		{
			name: "runs that are taken over have no record", program: "scheduler", file: "scheduler/ending.go",
			was: "func (s *shard) writeRecord(f *fire) {\n", is: "func (s *shard) writeRecord(f *fire) {\n\tif f.recovered {\n\t\ts.close(f)\n\t\treturn\n\t}\n",
			caught: "TestNodesAndMinions", told: "no record",
		},
		{
			name: "the end of a lease is ignored", program: "worker", file: "worker/admission.go",
			was: "o.HoldUntil = time.Duration(agentpb.Translate(int64(o.HoldUntil), offer.Ahead))", is: "o.HoldUntil = 0",
			caught: "TestNodesAndMinions", told: "stale",
		},
		{
			name: "ordered groups have no order", program: "scheduler", file: "scheduler/admit/gate.go",
			was: "return g.First() == r", is: "return true", caught: "TestNodesAndMinions", told: "out_of_order:",
		},
		{
			name: "fires start before their instant", program: "scheduler", file: "scheduler/fire.go",
			was: "func (f *fire) due() int64 {\n", is: "func (f *fire) due() int64 {\n\tif f.id.Trigger == job.TriggerSchedule {\n\t\treturn f.id.At - int64(400*time.Millisecond)\n\t}\n",
			caught: "TestNodesAndMinions", told: "early:",
		},
		{
			name: "the jitter is forgotten", program: "scheduler", file: "scheduler/fire.go",
			was: "return max(f.id.At+int64(s.Delay(f.id)), f.notBefore)", is: "_ = s\n\treturn max(f.id.At, f.notBefore)",
			caught: "TestNodesAndMinions", told: "early:",
		},
		{
			name: "one at a time is not kept", program: "scheduler", file: "scheduler/overlap.go",
			was: "e.Gone || !e.migrating && !s.inTheWay(f)", is: "e.Gone || !e.migrating", caught: "TestNodesAndMinions", told: "crowded: is number 2 under way in job",
		},
		{
			name: "an edit is said to hold at once", program: "scheduler", file: "internal/control/jobstore/holds.go",
			was: "at = Later(at, state.Cursor)", is: "at = Later(at, time.Time{})", caught: "TestNodesAndMinions", told: "forbidden:",
		},
		{
			name: "a pause begins late", program: "scheduler", file: "internal/etcdkv/pause.go",
			was: "return !t.Before(p.Since) &&", is: "return !t.Before(p.Since.Add(2*time.Second)) &&", caught: "TestNodesAndMinions", told: "in spite of the pause",
		},
		{
			name: "calendars are not looked at", program: "scheduler", file: "scheduler/plan/calendar.go",
			was: "why, _, _ = set.Closed(time.Unix(0, at))", is: "_, _, _ = set.Closed(time.Unix(0, at))", caught: "TestNodesAndMinions", told: "in spite of calendar",
		},
		{
			name: "calendars close every day", program: "scheduler", file: "scheduler/plan/calendar.go",
			was: "why, _, _ = set.Closed(time.Unix(0, at))", is: "why = \"calendar \" + set[0].Name() + \": closed\"", caught: "TestNodesAndMinions", told: "that calendar is open then",
		},
		{
			name: "a backfill leaves instants out", program: "scheduler", file: "scheduler/backfill.go",
			was: "next, ok := e.Set.Next(from)", is: "next, ok := e.Set.Next(from.Add(2 * time.Second))", caught: "TestNodesAndMinions", told: "missing:",
		},
		{
			name: "starts by hand are lost", program: "scheduler", file: "scheduler/plan.go",
			was: "if s.fireOf(t.Fire) != nil || s.sharesOpen(t.Fire) {", is: "if s.fireOf(t.Fire) != nil || s.sharesOpen(t.Fire) || t.Fire.Trigger == job.TriggerManual {",
			caught: "TestNodesAndMinions", told: "missing:",
		},
		{
			name: "what failed has succeeded", program: "worker", file: "worker/supervision.go",
			was: "r.State, r.Reason = job.StateFailed, fmt.Sprintf(\"exit code %d\", x.Code)", is: "r.State, r.Reason = job.StateSucceeded, fmt.Sprintf(\"exit code %d\", x.Code)",
			caught: "TestNodesAndMinions", told: "ended with exit code 3, and is recorded as succeeded",
		},
		{
			name: "a run is recorded twice", program: "scheduler", file: "scheduler/ending.go",
			was: "func (s *shard) writeRecord(f *fire) {\n",
			is:  "func (s *shard) writeRecord(f *fire) {\n\tagain := *f.run\n\tagain.RunID = \"0\" + again.RunID[1:]\n\ts.deps.History.Record(again, func(error) {})\n", caught: "TestNodesAndMinions", told: "has two records",
		},
		{
			name: "a node is ready while shards have no owner", program: "scheduler", file: "scheduler/engine.go",
			was: "len(out) == 0 && n > 0 {", is: "len(out) == 0 && n > 1<<20 {", caught: "TestNodesAndMinions", told: "unready:",
		},
		{
			name: "tasks of plans wait for none", program: "scheduler", file: "internal/plans/ledger.go",
			was: "l.stateOf(t) != plan.Pending || l.missing[t] > 0 {", is: "l.stateOf(t) != plan.Pending {", caught: planScenario, told: "early:",
		},
		{
			name: "a callback that is refused is not made again", program: "scheduler", file: "internal/plans/tell.go",
			was: "return &refusal{err: err, wait: min(answer.RetryAfter, tellMost)}", is: "return nil", caught: planScenario, told: "gap:",
		},
		{
			name: "the next owner of a plan numbers changes anew", program: "scheduler", file: "internal/plans/runner.go",
			was: "r.seq = s.Seq", is: "r.seq = 0 * s.Seq", caught: planScenario, told: "gap:",
		},
		{
			name: "a plan that is sent again is another one", program: "scheduler", file: "internal/control/plans/send.go",
			was: "Recognised: true}, true, err", is: "}, true, err", caught: planScenario, told: "doubled:",
		},
	}
}

// TestMutants builds the programs with one mistake after another, and expects a
// scenario to tell of it: an oracle that is never heard shows nothing. Only with
// -mutants: each takes a minute or more.
func TestMutants(t *testing.T) { // each wants the machine for itself
	if !*tryMutants {
		return
	}
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) { tryMutant(t, &m) })
	}
}

// mutantHangs is how long a mutant may hang: some do for ever.
const mutantHangs = 3 * time.Minute

func tryMutant(t *testing.T, m *mutant) {
	t.Helper()
	o := scenarioOf(m.caught)
	o = prepared(t, &o)
	bin := t.TempDir()
	for _, program := range []string{"scheduler", "worker", "fault"} {
		if program != m.program {
			if err := os.Symlink(filepath.Join(o.bin, program), filepath.Join(bin, program)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := m.build(t.Context(), t.TempDir(), filepath.Join(bin, m.program)); err != nil {
		t.Fatal(err)
	}
	o.bin, o.verbose, o.hangs = bin, false, mutantHangs
	// What a run that fails keeps is not wanted here. The path is short, for sockets.
	keeps, err := os.MkdirTemp("", "cfm-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(keeps)
	t.Setenv("TMPDIR", keeps)
	good, text, err := played(t.Context(), o, t.Output())
	switch {
	case err != nil:
		t.Fatal(err)
	case good:
		t.Errorf("the mutant survives %s:\n%s", m.caught, text)
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, m.told) && !strings.HasPrefix(line, "FAULT") {
			t.Log("caught:", line)
			return
		}
	}
	t.Errorf("%s fails, and does not tell of %q:\n%s", m.caught, m.told, text)
}

// source returns the file that the mutant changes, which has the text once.
func (m *mutant) source() (path string, text []byte, err error) {
	if path, err = filepath.Abs(filepath.Join("..", "..", m.file)); err != nil {
		return "", nil, err
	}
	if text, err = os.ReadFile(path); err != nil {
		return "", nil, err
	}
	if n := strings.Count(string(text), m.was); n != 1 {
		return "", nil, fmt.Errorf("%s has the text of the mutant %d times, want once: bring the mutant up to date", m.file, n)
	}
	return path, text, nil
}

// TestMutantsAreUpToDate: what each mutant changes is there. That they are caught is
// tried with -mutants.
func TestMutantsAreUpToDate(t *testing.T) {
	t.Parallel()
	for _, m := range mutants() {
		if _, _, err := m.source(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// build builds the mutant's program.
func (m *mutant) build(ctx context.Context, dir, to string) error {
	source, text, err := m.source()
	if err != nil {
		return err
	}
	changed, plan := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(changed, bytes.Replace(text, []byte(m.was), []byte(m.is), 1), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(plan, overlay, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "fault", "-overlay", plan, "-o", to, "github.com/carillon-cron/carillon/cmd/"+m.program)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the mutant does not compile: %w\n%s", err, out)
	}
	return nil
}
