package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
)

// defaultPath is the search path of commands when the minion has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// prepare makes the shim's order of a task. Its errors say to people why the
// command cannot be started.
func (m *Minion) prepare(o *job.Order) (shim.Spec, error) {
	acct, err := m.accounts.lookup(o.User)
	if err != nil {
		return shim.Spec{}, err
	}
	dir, err := m.workDir(o, acct)
	if err != nil {
		return shim.Spec{}, err
	}
	env, marks, err := m.environment(o, acct)
	if err != nil {
		return shim.Spec{}, err
	}
	args := o.Command
	if o.Script != nil {
		path, err := m.scripts.file(o.Script.Source, acct)
		if err != nil {
			return shim.Spec{}, fmt.Errorf("script cannot be stored: %w", err)
		}
		args = append(slices.Clone(o.Script.Interpreter), path)
		if len(args) == 1 {
			args = []string{"/bin/sh", path}
		}
	}
	if len(args) == 0 || args[0] == "" {
		return shim.Spec{}, errors.New("the order has no command")
	}
	program, err := findProgram(args[0], env["PATH"], dir)
	if err != nil {
		return shim.Spec{}, err
	}
	if err := acct.reaches(dir, program); err != nil {
		return shim.Spec{}, err
	}
	key := keyOf(o.Task).String()
	spec := shim.Spec{
		Key: key, Path: program, Args: args, Dir: dir, Marks: marks,
		Timeout: o.Timeout, Grace: m.cfg.KillGrace,
		Output: m.cfg.path("output", key), OutputCap: m.cfg.OutputCap, User: acct.credential,
	}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		spec.Env = append(spec.Env, k+"="+env[k])
	}
	spec.Cgroup, spec.Bounded, err = m.groups.place(key, o.Limits)
	return spec, err
}

// workDir returns where the command starts.
func (m *Minion) workDir(o *job.Order, acct *account) (string, error) {
	dir := o.WorkingDir
	if dir == "" {
		dir = m.cfg.path("work")
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
func (m *Minion) environment(o *job.Order, acct *account) (map[string]string, []string, error) {
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
	fire, attempt := o.Task.Fire.String(), strconv.Itoa(o.Task.Attempt)
	env["CARILLON_FIRE_ID"] = fire
	env["CARILLON_RUN_ID"] = string(o.RunID)
	env["CARILLON_JOB"] = o.Key.Name
	env["CARILLON_NAMESPACE"] = o.Key.Namespace
	env["CARILLON_ATTEMPT"] = attempt
	env["CARILLON_TOKEN"] = o.Token.String()
	env["CARILLON_SCHEDULED_AT"] = o.ScheduledAt.UTC().Format(time.RFC3339Nano)
	env["CARILLON_MINION"] = string(m.cfg.ID)
	return env, []string{"CARILLON_FIRE_ID=" + fire, "CARILLON_ATTEMPT=" + attempt}, nil
}

// findProgram returns the path of a program: as it is when it has a slash,
// else from the search path of the command's own environment.
func findProgram(name, search, dir string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path, executable(path)
	}
	var denied error
	for _, d := range filepath.SplitList(search) {
		path := filepath.Join(d, name)
		if !filepath.IsAbs(path) {
			continue
		}
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if _, serr := os.Stat(path); serr == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("program %q is not in the search path %s on this host", name, search)
}

func executable(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("program %s does not exist on this host", path)
	case err != nil:
		return fmt.Errorf("program: %w", err)
	case st.IsDir():
		return fmt.Errorf("program %s is a directory", path)
	case st.Mode()&0o111 == 0:
		return fmt.Errorf("program %s is not executable", path)
	}
	return nil
}

// scripts keeps the texts of scripts as files, by their content and owner.
type scripts struct {
	dir string

	mu sync.Mutex
	// mu guards checked: files whose content was looked at by this process.
	checked map[string]bool
}

// file returns the path of a file with the text that only the account can read.
func (s *scripts) file(source string, acct *account) (string, error) {
	sum := sha256.Sum256([]byte(source))
	uid, gid := os.Geteuid(), os.Getegid()
	if c := acct.credential; c != nil {
		uid, gid = int(c.UID), int(c.GID)
	}
	path := filepath.Join(s.dir, strconv.Itoa(uid)+"-"+hex.EncodeToString(sum[:]))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.checked[path] {
		if st, err := os.Lstat(path); err == nil {
			if now := time.Now(); now.Sub(st.ModTime()) > scriptKeep/7 {
				_ = os.Chtimes(path, now, now) // in use: it stays
			}
			return path, nil
		}
	}
	if b, err := os.ReadFile(path); err != nil || sha256.Sum256(b) != sum {
		if err := s.write(path, source, uid, gid); err != nil {
			return "", err
		}
	}
	if s.checked == nil {
		s.checked = map[string]bool{}
	}
	s.checked[path] = true
	return path, nil
}

// scriptKeep is how long a script is kept that no task uses.
const scriptKeep = 7 * 24 * time.Hour

// clean removes scripts that were not used for long.
func (s *scripts) clean(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > scriptKeep {
			_ = os.Remove(filepath.Join(s.dir, e.Name()))
		}
	}
}

func (s *scripts) write(path, source string, uid, gid int) error {
	f, err := os.CreateTemp(s.dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(source)
	if err == nil {
		err = f.Chmod(0o700)
	}
	if err == nil && uid != os.Geteuid() {
		err = f.Chown(uid, gid)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
