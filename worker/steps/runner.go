package steps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/program"
)

// Exit codes of steps that have none of their own.
const (
	CodeTimeout  = 124
	CodeNotFound = 127
	codeSignal   = 128
	maxCode      = 255
)

// Step is one step of a plan.
type Step struct {
	Name string `json:"name"`
	// Args is the argv. A program without a slash is looked for in the search path
	// when the step begins, as an earlier step may have brought it.
	Args []string `json:"args"`
	// Path is the program, where it is settled already; Identity is what its file
	// was then, and nothing else is run.
	Path     string            `json:"path,omitempty"`
	Identity *program.Identity `json:"identity,omitempty"`
	// Env are entries NAME=VALUE that are added to the runner's environment.
	Env []string `json:"env,omitempty"`
	// If and ContinueOnFailure are as in job.Step.
	If                job.StepIf `json:"if,omitempty"`
	ContinueOnFailure bool       `json:"continueOnFailure,omitempty"`
	// Timeout ends the step; zero: nothing does.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Plan is what the runner is to do.
type Plan struct {
	Steps []Step `json:"steps"`
	// Grace is the time between SIGTERM and SIGKILL after a step's timeout.
	Grace time.Duration `json:"grace"`
}

// Main runs the plan in the file args[0], writes what came of it to the file
// args[1], which must exist, and returns the exit code.
func Main(args []string, stdout, stderr *os.File) int {
	plan, out, err := open(args)
	if err != nil {
		fmt.Fprintln(stderr, "steps:", err)
		return CodeNotFound
	}
	defer func() { _ = out.Close() }()
	// Steps die with the thread that starts them (I5): it is this one, and lasts.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// From here on a SIGTERM ends the step, and the runner tells of it.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(stop)
	r := runner{stdout: stdout, stderr: stderr, stop: stop, grace: plan.Grace}
	return r.run(plan.Steps, func(results []job.StepResult) { write(out, results) })
}

func open(args []string) (Plan, *os.File, error) {
	if len(args) != 2 {
		return Plan{}, nil, errors.New("want two files: the plan and the result")
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return Plan{}, nil, fmt.Errorf("plan: %w", err)
	}
	var plan Plan
	if err := json.Unmarshal(b, &plan); err != nil {
		return Plan{}, nil, fmt.Errorf("plan %s: %w", args[0], err)
	}
	for i := range plan.Steps {
		if len(plan.Steps[i].Args) == 0 {
			return Plan{}, nil, fmt.Errorf("plan %s: step %s has no command", args[0], plan.Steps[i].Name)
		}
	}
	out, err := os.OpenFile(args[1], os.O_WRONLY, 0)
	if err != nil {
		return Plan{}, nil, fmt.Errorf("result: %w", err)
	}
	return plan, out, nil
}

// write puts the results where the last ones are (I4). They only grow, so a
// reader never sees the end of longer ones.
func write(out *os.File, results []job.StepResult) {
	b, err := json.Marshal(results)
	if err == nil {
		_, _ = out.WriteAt(append(b, '\n'), 0) // what is missing is missing; see doc.go
	}
}

// MaxResults bounds the bytes of a result file that are read.
const MaxResults = 64 << 10

// Results reads a result file; nil when it tells nothing, or nothing that can be
// believed.
func Results(in io.Reader) []job.StepResult {
	b, err := io.ReadAll(io.LimitReader(in, MaxResults))
	if err != nil {
		return nil
	}
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	var results []job.StepResult
	if json.Unmarshal(line, &results) != nil || len(results) > job.MaxSteps {
		return nil
	}
	states := job.StepStates()
	for i := range results {
		r := &results[i]
		if job.CheckName(r.Name) != nil || !slices.Contains(states, r.State) || r.ExitCode < 0 || r.ExitCode > maxCode || r.Took < 0 || r.Took > job.Duration(job.MaxTimeout) {
			return nil
		}
	}
	return results
}

// runner is one run of a plan.
type runner struct {
	stdout, stderr *os.File
	stop           <-chan os.Signal
	grace          time.Duration
	// stopped: the runner was asked to end.
	stopped bool
}

// run runs the steps, tells after each what has ended, and returns the exit code.
func (r *runner) run(list []Step, tell func([]job.StepResult)) int {
	code, failed := 0, false
	results := make([]job.StepResult, 0, len(list))
	for i := range list {
		st := &list[i]
		res := job.StepResult{Name: st.Name, State: job.StateSkipped}
		if wanted(st.If, failed) && !r.asked() {
			begin := time.Now()
			res.State, res.ExitCode = r.step(st)
			res.Took = job.Duration(time.Since(begin).Round(time.Millisecond))
		}
		results = append(results, res)
		tell(results)
		if res.State == job.StateSucceeded || res.State == job.StateSkipped || st.ContinueOnFailure && !r.stopped {
			continue
		}
		if failed = true; code == 0 {
			code = res.ExitCode
		}
	}
	return code
}

// asked reports whether the runner was asked to end.
func (r *runner) asked() bool {
	select {
	case <-r.stop:
		r.stopped = true
	default:
	}
	return r.stopped
}

// wanted reports whether a step runs after what has happened.
func wanted(when job.StepIf, failed bool) bool {
	switch when {
	case job.IfAlways:
		return true
	case job.IfFailure:
		return failed
	default:
		return !failed
	}
}

// step runs one step to its end.
func (r *runner) step(st *Step) (job.State, int) {
	path, err := st.Path, error(nil)
	if path == "" {
		path, err = exec.LookPath(st.Args[0])
	}
	if err == nil && st.Identity != nil {
		err = st.Identity.Check(path)
	}
	cmd := &exec.Cmd{
		Path: path, Args: st.Args, Env: append(os.Environ(), append(st.Env, job.EnvPrefix+"STEP="+st.Name)...), Stdout: r.stdout, Stderr: r.stderr,
		// The group is the step's own, for its timeout; session, control group and
		// environment are the task's, by which a kill finds it.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.say(st, "cannot be started: %v", err)
		return job.StateFailed, CodeNotFound
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the state tells
		close(ended)
	}()
	var timeout <-chan time.Time
	if st.Timeout > 0 {
		t := time.NewTimer(st.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	state := job.StateFailed
	select {
	case <-ended:
	case <-timeout:
		state = job.StateTimedOut
		r.end(cmd.Process.Pid, ended)
	case <-r.stop:
		r.stopped, state = true, job.StateCancelled
		r.end(cmd.Process.Pid, ended)
	}
	ws, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	code := ws.ExitStatus()
	if ws.Signaled() {
		code = codeSignal + int(ws.Signal())
	}
	switch {
	case state == job.StateTimedOut:
		r.say(st, "exceeded its %s timeout and was killed", st.Timeout)
		return state, CodeTimeout
	case state == job.StateCancelled:
		if code == 0 {
			code = codeSignal + int(syscall.SIGTERM)
		}
		return state, code
	case ws.Signaled():
		r.say(st, "ended by %s", ws.Signal())
	case code != 0:
		r.say(st, "exit code %d", code)
	default:
		return job.StateSucceeded, 0
	}
	return job.StateFailed, code
}

// end ends the processes of a step, and returns when its leader is gone.
func (r *runner) end(group int, ended <-chan struct{}) {
	_ = syscall.Kill(-group, syscall.SIGTERM) // gone: so much the better
	t := time.NewTimer(r.grace)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
	<-ended
}

func (r *runner) say(st *Step, format string, args ...any) {
	fmt.Fprintf(r.stderr, "step %s: %s\n", st.Name, fmt.Sprintf(format, args...))
}
