package minion

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// allowList is what may be run on this host, whatever nodes order. Its file has
// one rule per line; '#' begins a comment:
//
//	/usr/bin/uptime                  this program, without arguments
//	/usr/bin/systemctl restart app-* with these arguments; * ? [a-z] as in globs
//	/usr/bin/rsync ...               with any further arguments
//	script 9f86d081884c7d65...       a script whose text has this SHA-256, by /bin/sh
//	script 9f86d081884c7d65... bash -e    or by this interpreter, and no other
//	env TZ APP_*                     variables that orders may set; else they may set none
//
// An order that is no shell line is compared word by word, so there is nothing
// to escape; a shell itself (/bin/sh ...) allows everything.
type allowList struct {
	file  string
	rules [][]string
	// scripts are the interpreters by which a script may run, by its hash.
	scripts map[string][][]string
	env     []string
}

// anyFurther, as the last word of a rule, stands for any further arguments.
const anyFurther = "..."

// shell is the interpreter of scripts that name none.
const shell = "/bin/sh"

// readAllowList reads the file, and tells all that is wrong with it.
func readAllowList(file string) (*allowList, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("--allow: %w", err)
	}
	l := &allowList{file: file, scripts: map[string][][]string{}}
	var problems []job.Problem
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		for _, message := range l.add(words) {
			problems = append(problems, job.Problem{File: file, Line: i + 1, Message: message})
		}
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	return l, nil
}

// add takes a rule, and tells what is wrong with it.
func (l *allowList) add(words []string) (wrong []string) {
	if words[0] == "script" {
		if len(words) == 1 {
			return []string{"script needs the SHA-256 of its text"}
		}
		sum, err := hex.DecodeString(words[1])
		if err != nil || len(sum) != sha256.Size {
			return []string{fmt.Sprintf("%q is not the SHA-256 of a script: 64 hexadecimal digits", words[1])}
		}
		by := words[2:]
		if len(by) == 0 {
			by = []string{shell}
		}
		key := hex.EncodeToString(sum)
		l.scripts[key] = append(l.scripts[key], by)
		return nil
	}
	for _, w := range words {
		if _, err := path.Match(w, ""); err != nil {
			wrong = append(wrong, fmt.Sprintf("%q is not a pattern: * and ? stand for any characters, [a-z] for one of them", w))
		}
	}
	if words[0] == "env" {
		l.env = append(l.env, words[1:]...)
		return wrong
	}
	l.rules = append(l.rules, words)
	return wrong
}

// check returns why an order may not run, nil if it may. Of an order with steps,
// every step has to be allowed.
func (l *allowList) check(o *job.Order) error {
	if err := l.checkEnv(o.Env); err != nil {
		return err
	}
	switch {
	case len(o.Steps) > 0:
		for i := range o.Steps {
			if err := l.checkStep(&o.Steps[i]); err != nil {
				return fmt.Errorf("step %s: %w", o.Steps[i].Name, err)
			}
		}
		return nil
	case o.Script != nil:
		sum, err := sumOf(o.ScriptSHA256, o.Script.Source)
		if err != nil {
			return err
		}
		return l.checkScript(sum, o.Script.Interpreter)
	}
	return l.checkCommand(o.Command)
}

func (l *allowList) checkStep(st *job.OrderStep) error {
	if err := l.checkEnv(st.Env); err != nil {
		return err
	}
	if st.Script == nil {
		return l.checkCommand(append(slices.Clone(st.Command), st.Args...))
	}
	sum, err := sumOf(st.Script.SHA256, st.Script.Source)
	if err != nil {
		return err
	}
	return l.checkScript(sum, st.Command)
}

// sumOf returns the hash of a script, which is given with its text, by its hash,
// or by both, and then they have to be of one another.
func sumOf(sum, source string) (string, error) {
	if source == "" {
		return sum, nil
	}
	own := job.ScriptSum(source)
	if sum != "" && sum != own {
		return "", fmt.Errorf("the text of a script does not have the hash that is given with it, %s", sum)
	}
	return own, nil
}

// checkEnv admits variables that Carillon sets itself, and those of the list:
// others may turn an allowed program into another one.
func (l *allowList) checkEnv(env map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if strings.HasPrefix(name, job.EnvPrefix) {
			continue
		}
		allowed := slices.ContainsFunc(l.env, func(pattern string) bool {
			ok, err := path.Match(pattern, name)
			return ok && err == nil
		})
		if !allowed {
			return fmt.Errorf("this minion's list of what may run here, %s, does not let orders set the variable %s", l.file, name)
		}
	}
	return nil
}

func (l *allowList) checkScript(sum string, interpreter []string) error {
	if len(interpreter) == 0 {
		interpreter = []string{shell}
	}
	by, ok := l.scripts[sum]
	if !ok {
		return fmt.Errorf("this minion's list of what may run here, %s, has no script %s", l.file, sum)
	}
	if !slices.ContainsFunc(by, func(b []string) bool { return slices.Equal(b, interpreter) }) {
		return fmt.Errorf("this minion's list of what may run here, %s, does not have script %s with the interpreter %q", l.file, sum, interpreter)
	}
	return nil
}

func (l *allowList) checkCommand(command []string) error {
	for _, rule := range l.rules {
		if admits(rule, command) {
			return nil
		}
	}
	return fmt.Errorf("this minion's list of what may run here, %s, does not have the command %q", l.file, command)
}

// admits compares a command with a rule, word by word.
func admits(rule, command []string) bool {
	for i, pattern := range rule {
		if pattern == anyFurther && i == len(rule)-1 {
			return true
		}
		if i >= len(command) {
			return false
		}
		if ok, err := path.Match(pattern, command[i]); !ok || err != nil {
			return false
		}
	}
	return len(rule) == len(command)
}
