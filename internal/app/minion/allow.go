package minion

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// allowList is what may be run on this host, whatever nodes order. Its file has
// one rule per line; '#' begins a comment:
//
//	/usr/bin/uptime                  this program, without arguments
//	/usr/bin/systemctl restart app-* with these arguments; * ? [a-z] as in globs
//	/usr/bin/rsync ...               with any further arguments
//	script 9f86d081884c7d659a2f...   a script whose text has this SHA-256
//
// An order that is no shell line is compared word by word, so there is nothing
// to escape; a shell itself (/bin/sh ...) allows everything.
type allowList struct {
	file    string
	rules   [][]string
	scripts map[string]bool
}

// anyFurther, as the last word of a rule, stands for any further arguments.
const anyFurther = "..."

// readAllowList reads the file, and tells all that is wrong with it.
func readAllowList(file string) (*allowList, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("--allow: %w", err)
	}
	l := &allowList{file: file, scripts: map[string]bool{}}
	var problems []job.Problem
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		problem := func(format string, args ...any) {
			problems = append(problems, job.Problem{File: file, Line: i + 1, Message: fmt.Sprintf(format, args...)})
		}
		if words[0] == "script" {
			sum, err := hex.DecodeString(strings.Join(words[1:], " "))
			if err != nil || len(sum) != sha256.Size {
				problem("%q is not the SHA-256 of a script: 64 hexadecimal digits", strings.Join(words[1:], " "))
				continue
			}
			l.scripts[hex.EncodeToString(sum)] = true
			continue
		}
		for _, w := range words {
			if _, err := path.Match(w, ""); err != nil {
				problem("%q is not a pattern: * and ? stand for any characters, [a-z] for one of them", w)
			}
		}
		l.rules = append(l.rules, words)
	}
	if len(problems) > 0 {
		return nil, &job.InvalidError{Problems: problems}
	}
	return l, nil
}

// check returns why an order may not run, nil if it may.
func (l *allowList) check(o *job.Order) error {
	if o.Script != nil {
		sum := sha256.Sum256([]byte(o.Script.Source))
		if text := hex.EncodeToString(sum[:]); !l.scripts[text] {
			return fmt.Errorf("this minion's list of what may run here, %s, has no script %s", l.file, text)
		}
		return nil
	}
	for _, rule := range l.rules {
		if admits(rule, o.Command) {
			return nil
		}
	}
	return fmt.Errorf("this minion's list of what may run here, %s, does not have the command %q", l.file, o.Command)
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
