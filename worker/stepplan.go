package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/steps"
)

// A task has files KEY.SUFFIX in the directory "steps": its script, or for steps
// the plan, what came of it, and a script for each. All but the result are lent
// to the account of the task. They go with the task.
const (
	stepsDir   = "steps"
	planFile   = "plan"
	resultFile = "result"
	scriptFile = "script"
)

// stepsArg has RunShim run steps, and no shim.
const stepsArg = "steps"

func (cm *commands) stepFile(key, suffix string) string { return cm.cfg.path(stepsDir, key+"."+suffix) }

// planSteps writes the files of a task with steps, and returns the command that
// runs them.
func (cm *commands) planSteps(o *job.Order, acct *account, key string, gate *gate) ([]string, error) {
	plan := steps.Plan{Grace: cm.cfg.KillGrace * 3 / 4} // the rest is for the result, when the task is ended
	for i := range o.Steps {
		st := &o.Steps[i]
		next := steps.Step{Name: st.Name, Args: slices.Clone(st.Command), If: st.If, ContinueOnFailure: st.ContinueOnFailure, Timeout: st.Timeout}
		var err error
		if next.Path, next.Identity, err = gate.admitStep(st); err != nil {
			return nil, fmt.Errorf("step %s: %w", st.Name, err)
		}
		if st.Script != nil {
			path := cm.stepFile(key, strconv.Itoa(i))
			if err := cm.lendScript(path, st.Script.SHA256, st.Script.Source, acct); err != nil {
				return nil, fmt.Errorf("script of step %s cannot be stored: %w", st.Name, err)
			}
			next.Args = append(append(interpreter(st.Command), path), st.Args...)
		}
		for _, k := range slices.Sorted(maps.Keys(st.Env)) {
			next.Env = append(next.Env, k+"="+st.Env[k])
		}
		plan.Steps = append(plan.Steps, next)
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, fmt.Errorf("steps: %w", err)
	}
	err = acct.lend(cm.stepFile(key, planFile), string(text))
	if err == nil {
		err = acct.give(cm.stepFile(key, resultFile), "")
	}
	if err != nil {
		return nil, fmt.Errorf("steps cannot be stored: %w", err)
	}
	return append(slices.Clone(cm.cfg.ShimCommand), stepsArg, cm.stepFile(key, planFile), cm.stepFile(key, resultFile)), nil
}

// lendScript writes a task's own copy of a script.
func (cm *commands) lendScript(path, sum, source string, acct *account) error {
	text, err := cm.scripts.text(sum, source)
	if err != nil {
		return err
	}
	return acct.lend(path, text)
}

// stepResults reads what came of a task's steps; nil: nothing is known.
func (cm *commands) stepResults(key taskKey) []job.StepResult {
	f, err := os.Open(cm.stepFile(key.String(), resultFile))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	return steps.Results(f)
}

// addSteps adds to a report what came of the task's steps.
func (cm *commands) addSteps(r *job.Report, key taskKey, o *job.Order) {
	r.Steps = cm.stepResults(key)
	if r.State != job.StateFailed {
		return
	}
	for i, st := range r.Steps {
		failed := st.State == job.StateFailed || st.State == job.StateTimedOut
		if !failed || i < len(o.Steps) && o.Steps[i].ContinueOnFailure {
			continue
		}
		if r.Reason = fmt.Sprintf("step %s: exit code %d", st.Name, st.ExitCode); st.State == job.StateTimedOut {
			r.Reason = fmt.Sprintf("step %s: exceeded its timeout and was killed", st.Name)
		}
		return
	}
}
