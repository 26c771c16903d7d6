package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/program"
	"github.com/carillon-cron/carillon/worker/shim"
)

// commands makes what the shim runs of orders: program, environment, account,
// control group, and the files of scripts and steps.
type commands struct {
	*base
	accounts accounts
	scripts  *scripts
	groups   *groups
	sharing  *sharing
	// masks: the shim keeps texts out of output.
	masks atomic.Bool
}

// defaultPath is the search path of commands when the minion has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// prepare makes the shim's order of a task. Its errors say to people why the
// command cannot be started.
func (cm *commands) prepare(o *job.Order) (shim.Spec, error) {
	acct, err := cm.accounts.lookup(o.User)
	if err != nil {
		return shim.Spec{}, err
	}
	dir, err := cm.workDir(o, acct)
	if err != nil {
		return shim.Spec{}, err
	}
	env, marks, err := cm.environment(o, acct)
	if err != nil {
		return shim.Spec{}, err
	}
	if cm.deps.Allow != nil {
		if dir, err = filepath.EvalSymlinks(dir); err != nil { // where it is checked is where it starts
			return shim.Spec{}, fmt.Errorf("working directory: %w", err)
		}
	}
	gate := cm.gate(o, acct, env["PATH"], dir)
	key := keyOf(o.Task).String()
	args := o.Command
	switch {
	case len(o.Steps) > 0:
		if args, err = cm.planSteps(o, acct, key, gate); err != nil {
			return shim.Spec{}, err
		}
	case o.Script != nil:
		sum, err := sumOf(o.ScriptSHA256, o.Script.Source)
		if err != nil {
			return shim.Spec{}, err
		}
		path := cm.stepFile(key, scriptFile)
		if err := cm.lendScript(path, sum, o.Script.Source, acct); err != nil {
			return shim.Spec{}, fmt.Errorf("script cannot be stored: %w", err)
		}
		args = append(interpreter(o.Script.Interpreter), path)
	}
	if len(o.Steps) > 0 || o.Script != nil {
		if err := acct.passes(cm.cfg.path(stepsDir)); err != nil {
			return shim.Spec{}, err
		}
	}
	if len(args) == 0 || args[0] == "" {
		return shim.Spec{}, errors.New("the order has no command")
	}
	path, err := program.Find(args[0], env["PATH"], dir)
	if err != nil {
		return shim.Spec{}, err
	}
	if err := acct.reaches(dir, path); err != nil {
		return shim.Spec{}, err
	}
	spec := shim.Spec{
		Key: key, Path: path, Args: args, Dir: dir, Marks: marks,
		Timeout: o.Timeout, Grace: cm.cfg.KillGrace, StartBy: o.HoldUntil,
		Output: cm.cfg.path("output", key), OutputCap: cm.cfg.OutputCap, User: acct.credential, Mask: masked(o),
	}
	if len(spec.Mask) > 0 && !cm.masks.Load() {
		return shim.Spec{}, errors.New("the process that runs this minion's commands is of an earlier release, which masks no secrets; it is replaced when no command runs here")
	}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		spec.Env = append(spec.Env, k+"="+env[k])
	}
	if len(o.Steps) == 0 { // else the runner is ours, and each step was looked at
		if spec.Path, spec.Identity, err = gate.admit(path, args, o); err != nil {
			return shim.Spec{}, err
		}
	}
	spec.Cgroup, spec.Bounded, err = cm.groups.place(key, o.Limits)
	return spec, err
}

// workDir returns where the command starts.
func (cm *commands) workDir(o *job.Order, acct *account) (string, error) {
	dir := o.WorkingDir
	if dir == "" {
		dir = cm.cfg.path("work")
		if acct.credential != nil {
			dir = filepath.Join(dir, acct.name)
			if err := os.Mkdir(dir, 0o700); err == nil {
				err = os.Lchown(dir, int(acct.credential.UID), int(acct.credential.GID))
				if err != nil {
					return "", fmt.Errorf("working directory: %w", err)
				}
			}
		}
	}
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("working directory %q is not an absolute path", dir)
	}
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("working directory %s does not exist on this host", dir)
	}
	if err != nil {
		return "", fmt.Errorf("working directory: %w", err)
	}
	if !st.IsDir() {
		return "", fmt.Errorf("working directory %s is not a directory", dir)
	}
	return dir, nil
}

// environment returns the command's variables, and those of them by which its
// processes are known. A job cannot overwrite CARILLON_ variables.
func (cm *commands) environment(o *job.Order, acct *account) (map[string]string, []string, error) {
	env := map[string]string{
		"PATH": defaultPath, "HOME": acct.home, "USER": acct.name, "LOGNAME": acct.name, "SHELL": acct.shell,
	}
	for _, k := range []string{"PATH", "LANG", "TZ"} {
		if k == "PATH" && acct.credential != nil {
			continue // the minion's own places are not another's
		}
		if v, ok := os.LookupEnv(k); ok && v != "" {
			env[k] = v
		}
	}
	for k, v := range o.Env {
		if k == "" || strings.ContainsAny(k, "=\x00") || strings.Contains(v, "\x00") {
			return nil, nil, fmt.Errorf("environment variable %q cannot be set: names have no '=' and nothing has a zero byte", k)
		}
		env[k] = v
	}
	env["CARILLON_FIRE_ID"] = o.Task.Fire.String()
	env["CARILLON_RUN_ID"] = string(o.RunID)
	env["CARILLON_JOB"] = o.Key.Name
	env["CARILLON_NAMESPACE"] = o.Key.Namespace
	env["CARILLON_ATTEMPT"] = strconv.Itoa(o.Task.Attempt)
	env["CARILLON_TOKEN"] = o.Token.String()
	env["CARILLON_SCHEDULED_AT"] = o.ScheduledAt.UTC().Format(time.RFC3339Nano)
	env["CARILLON_MINION"] = string(cm.cfg.ID)
	env["CARILLON_SUBJECT"] = o.Subject
	cm.sharing.variables(env, o, acct)
	return env, marksOf(o.Task), nil
}

// marksOf returns the entries of the environment by which a task's processes are
// known.
func marksOf(id job.TaskID) []string {
	return []string{"CARILLON_FIRE_ID=" + id.Fire.String(), "CARILLON_ATTEMPT=" + strconv.Itoa(id.Attempt)}
}
