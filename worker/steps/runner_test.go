package steps

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/job"
)

// outcome is what a run of the runner left.
type outcome struct {
	code           int
	stdout, stderr string
	results        []job.StepResult
}

// play runs steps in this process; stopAt, if not empty, is a file whose appearance
// asks the runner to end.
func play(t rapid.TB, dir string, stopAt string, list ...Step) outcome {
	t.Helper()
	file := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	stdout, stderr := file("stdout"), file("stderr")
	defer stdout.Close()
	defer stderr.Close()
	stop := make(chan os.Signal, 1)
	done := make(chan struct{})
	if stopAt != "" {
		go func() {
			for {
				if _, err := os.Stat(stopAt); err == nil {
					stop <- os.Interrupt
					return
				}
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		}()
	}
	r := runner{stdout: stdout, stderr: stderr, stop: stop, grace: 3 * time.Minute}
	var out outcome
	out.code = r.run(list, func(results []job.StepResult) { out.results = results })
	close(done)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	out.stdout, out.stderr = read("stdout"), read("stderr")
	return out
}

func sh(name, line string) Step { return Step{Name: name, Args: []string{"/bin/sh", "-c", line}} }

func states(results []job.StepResult) string {
	var words []string
	for _, r := range results {
		words = append(words, fmt.Sprintf("%s=%s/%d", r.Name, r.State, r.ExitCode))
	}
	return strings.Join(words, " ")
}

// Which steps run, and what the task's exit code is, follows from how those
// before have ended.
func TestI2_ConditionsAndExitCode(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "run")
		if err != nil {
			t.Fatal(err)
		}
		var list []Step
		var want []string
		wantOut, wantCode, failed := "", 0, false
		for i := range rapid.IntRange(1, 5).Draw(t, "steps") {
			code := rapid.SampledFrom([]int{0, 0, 1, 3, 255}).Draw(t, "code")
			st := sh(fmt.Sprint("s", i), fmt.Sprintf("echo %d; exit %d", i, code))
			st.If = rapid.SampledFrom(append(job.StepIfs(), "")).Draw(t, "if")
			st.ContinueOnFailure = rapid.Bool().Draw(t, "continue")
			list = append(list, st)
			runs := st.If == job.IfAlways || (st.If == job.IfFailure) == failed
			switch {
			case !runs:
				want = append(want, st.Name+"=skipped/0")
				continue
			case code == 0:
				want = append(want, st.Name+"=succeeded/0")
			default:
				want = append(want, fmt.Sprintf("%s=failed/%d", st.Name, code))
			}
			wantOut += fmt.Sprintln(i)
			if code != 0 && !st.ContinueOnFailure {
				if failed = true; wantCode == 0 {
					wantCode = code
				}
			}
		}
		got := play(t, dir, "", list...)
		if s := states(got.results); s != strings.Join(want, " ") || got.code != wantCode || got.stdout != wantOut {
			t.Fatalf("%s code %d %q, want %s code %d %q", s, got.code, got.stdout, want, wantCode, wantOut)
		}
	})
}

func TestStepThatEndsOtherwise(t *testing.T) {
	t.Parallel()
	slow := sh("slow", "trap 'echo told' TERM; sleep 1000 & wait; wait; exit 0")
	slow.Timeout = 3 * time.Second
	always := sh("always", "echo $CARILLON_STEP $MINE")
	always.If, always.Env = job.IfAlways, []string{"MINE=yes"}
	got := play(t, t.TempDir(), "", slow, Step{Name: "gone", Args: []string{"no-such-program"}, If: job.IfFailure}, always, sh("killed", "kill -9 $$"))
	if want := "slow=timed-out/124 gone=failed/127 always=succeeded/0 killed=skipped/0"; states(got.results) != want || got.code != CodeTimeout {
		t.Errorf("%s code %d, want %s", states(got.results), got.code, want)
	}
	if !strings.Contains(got.stdout, "always yes\n") {
		t.Errorf("stdout %q", got.stdout)
	}
	if !strings.Contains(got.stderr, "step slow: exceeded its 3s timeout") || !strings.Contains(got.stderr, "step gone: cannot be started") {
		t.Errorf("stderr %q", got.stderr)
	}
	if got := play(t, t.TempDir(), "", sh("killed", "kill -9 $$")); got.code != 137 || got.stderr != "step killed: ended by killed\n" || got.stdout != "" {
		t.Errorf("killed: %+v", got)
	}
}

// A program may be brought by an earlier step, and words stay words.
func TestStepFindsWhatAnEarlierOneBrought(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tool := filepath.Join(dir, "tool")
	got := play(t, dir, "", sh("bring", "printf '#!/bin/sh\\necho \"$#:$1\"\\n' > "+tool+" && chmod +x "+tool), Step{Name: "use", Args: []string{tool, "a b; $(exit 1)"}})
	if got.code != 0 || got.stdout != "1:a b; $(exit 1)\n" {
		t.Errorf("%+v", got)
	}
}

func TestRunnerThatIsAskedToEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begun := filepath.Join(dir, "begun")
	last := sh("last", "echo never")
	last.If = job.IfAlways
	first := sh("first", "echo > "+begun+"; exec sleep 1000")
	first.ContinueOnFailure = true
	got := play(t, dir, begun, first, last)
	if want := "first=cancelled/143 last=skipped/0"; states(got.results) != want || got.code != 143 || got.stdout != "" {
		t.Errorf("%s code %d stdout %q, want %s", states(got.results), got.code, got.stdout, want)
	}
}

func TestI4_ResultFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan, result := filepath.Join(dir, "plan"), filepath.Join(dir, "result")
	b, err := json.Marshal(Plan{Steps: []Step{sh("a", "true"), sh("b", "cat "+result+"; exit 2"), sh("c", "true")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{plan, result} {
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(result, 0); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if code := Main([]string{plan, result}, out, out); code != 2 {
		t.Errorf("exit code %d", code)
	}
	in, err := os.Open(result)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if got := states(Results(in)); got != "a=succeeded/0 b=failed/2 c=skipped/0" {
		t.Errorf("results %s", got)
	}
	seen, err := os.Open(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close()
	if got := states(Results(seen)); got != "a=succeeded/0" {
		t.Errorf("while the second step ran: %s", got)
	}
	if code := Main([]string{plan, filepath.Join(dir, "none")}, out, out); code != CodeNotFound {
		t.Errorf("without a result file: exit code %d", code)
	}
}

// The steps' user can write the file: nothing in it is trusted.
func TestResultsThatCannotBeBelieved(t *testing.T) {
	t.Parallel()
	many, err := json.Marshal(make([]job.StepResult, job.MaxSteps+1))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "{", `[{"name":"a","state":"running"}]`, `[{"name":"a","state":"failed","took":"-1s"}]`, string(many),
		`[{"name":"` + strings.Repeat("a", job.MaxNameLen+1) + `","state":"failed"}]`, strings.Repeat("[", MaxResults*2),
	} {
		if got := Results(strings.NewReader(text)); got != nil {
			t.Errorf("%.60q gives %v", text, got)
		}
	}
	want := []job.StepResult{{Name: "a", State: job.StateFailed, ExitCode: 3}}
	if d := cmp.Diff(want, Results(io.MultiReader(strings.NewReader(`[{"name":"a","state":"failed","exitCode":3}]`+"\nrest")))); d != "" {
		t.Error(d)
	}
}
