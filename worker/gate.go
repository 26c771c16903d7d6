package worker

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/allow"
	"github.com/carillon-cron/carillon/worker/program"
)

// gate holds what an order is about to start against the minion's own list; see
// package allow. One without a list admits everything.
type gate struct {
	list *allow.List
	// start is what all that the order starts has in common.
	start allow.Start
	// search and dir are where programs are looked for.
	search, dir string
}

// gate returns the gate for an order that runs as acct.
func (cm *commands) gate(o *job.Order, acct *account, search, dir string) *gate {
	g := &gate{list: cm.deps.Allow, search: search, dir: dir}
	if g.list != nil {
		uid, _ := acct.ids()
		g.start = allow.Start{Subject: o.Subject, Author: o.Author, JobAuthor: o.JobAuthor, User: acct.name, UID: uid, Own: acct.credential == nil, Env: o.Env, Secrets: secretNames(o)}
		if o.WorkingDir != "" {
			g.start.Dir = dir
		}
	}
	return g
}

// admit returns the path by which a command, or a script, is to be started, and
// what its file was; nil: whatever is there is started.
func (g *gate) admit(path string, args []string, o *job.Order) (string, *program.Identity, error) {
	s := g.start
	s.Args = args[1:]
	if o.Script != nil {
		sum, err := sumOf(o.ScriptSHA256, o.Script.Source)
		if err != nil {
			return "", nil, err
		}
		s.Script, s.Lead, s.Args = sum, args[1:len(args)-1], nil
	}
	return g.check(path, s)
}

// admitStep returns the same for a step.
func (g *gate) admitStep(st *job.OrderStep) (string, *program.Identity, error) {
	if g.list == nil {
		return "", nil, nil
	}
	s := g.start
	s.Env = maps.Clone(s.Env)
	if s.Env == nil {
		s.Env = map[string]string{}
	}
	maps.Copy(s.Env, st.Env)
	command := st.Command
	if st.Script != nil {
		sum, err := sumOf(st.Script.SHA256, st.Script.Source)
		if err != nil {
			return "", nil, err
		}
		command = interpreter(command)
		s.Script, s.Lead, s.Args = sum, command[1:], st.Args
	} else if len(command) > 0 {
		s.Args = command[1:]
	}
	if len(command) == 0 {
		return "", nil, fmt.Errorf("step %s has no command", st.Name)
	}
	path, err := program.Find(command[0], g.search, g.dir)
	if err != nil {
		return "", nil, err
	}
	return g.check(path, s)
}

func (g *gate) check(path string, s allow.Start) (string, *program.Identity, error) {
	if g.list == nil {
		return path, nil, nil
	}
	s.Program = path
	at, err := g.list.Check(&s, os.Geteuid(), s.UID)
	return at.Name, &at.Identity, err
}

// interpreter returns the words before the path of a script.
func interpreter(words []string) []string {
	if len(words) == 0 {
		return []string{"/bin/sh"}
	}
	return slices.Clone(words)
}

// sumOf returns the hash of a script, which is given with its text, by its hash,
// or by both, and then they have to be of one another.
func sumOf(sum, source string) (string, error) {
	if source == "" && sum != "" {
		return sum, nil
	}
	own := job.ScriptSum(source)
	if cmp.Or(sum, own) != own {
		return "", fmt.Errorf("the text of a script does not have the hash that is given with it, %s", sum)
	}
	return own, nil
}
