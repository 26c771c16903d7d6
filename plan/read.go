package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/carillon-cron/carillon/job"
)

// Place is where a task stands in the text of its plan.
type Place struct{ Line, Column int }

// Options are how a plan is read. The zero value is for a whole plan.
type Options struct {
	// Graph, unless nil, takes the tasks, and what they wait for.
	Graph *Graph
}

// Read reads a plan, and gives each task to fn as it is read; an error of fn that is a
// *job.InvalidError is told with the others, any other ends the reading. What is wrong with
// the plan comes as a *job.InvalidError: then nothing that fn was given counts. The summary
// has a digest if it was fn only that found something wrong.
func Read(r io.Reader, format Format, o Options, fn func(Task, Place) error) (Summary, error) {
	most := int64(MaxBytes)
	if format == YAML {
		most = MaxYAMLBytes
	}
	p := &reading{fn: fn, graph: o.Graph, tasks: sha256.New(), seen: map[string]bool{}}
	p.sum.Types = map[string]int{}
	if p.graph == nil {
		p.graph = NewGraph()
	}
	before := p.graph.Len()
	p.first = before
	src := newSource(r, most)
	var err error
	switch format {
	case XML:
		err = readXML(src, p)
	case JSON:
		err = readJSON(src, p)
	case YAML:
		err = readYAML(src, p)
	default:
		return Summary{}, fmt.Errorf("%q is no format of plans", format)
	}
	var end *stopped
	switch {
	case src.broken() != nil:
		return Summary{}, fmt.Errorf("read a plan: %w", src.broken())
	case errors.As(err, &end):
		p.problems.last(end.at, end.message)
	case err != nil:
		return Summary{}, err
	default:
		p.whole()
	}
	p.sum.Tasks = p.graph.Len() - before
	if len(p.problems.all)+p.problems.more == p.others {
		if p.sum.Digest, err = p.digest(); err != nil {
			return p.sum, err
		}
	}
	return p.sum, p.problems.err()
}

// reading is a plan that is being read.
type reading struct {
	fn       func(Task, Place) error
	problems problems
	sum      Summary
	// others counts the problems that fn has found.
	others int
	// first is the number of its first task, and read how many were read.
	first, read int
	graph       *Graph
	// tasks is the digest of the tasks.
	tasks hash.Hash
	// seen are the members of the plan itself that were there.
	seen map[string]bool
}

func (p *reading) problem(at place, path, format string, args ...any) {
	p.problems.add(at, path, format, args...)
}

func (p *reading) member(f field) error {
	if p.seen[f.name] {
		p.problem(f.at, f.name, "is given twice")
		return nil
	}
	p.seen[f.name] = true
	v := fields{p: &p.problems}
	switch f.name {
	case "id":
		p.sum.ID = v.name(f)
	case "upstream":
		p.sum.Upstream = v.name(f)
	case "callback":
		p.sum.Callback = v.callback(f)
	case "amend":
		p.sum.Amend = v.truth(f)
	default:
		p.problem(f.at, f.name, "is no member of a plan; id, upstream, callback, amend and tasks are")
	}
	return nil
}

func (p *reading) task(n *node) error {
	if p.read >= MaxTasks {
		return stop(n.at, "there are more than %d tasks", MaxTasks)
	}
	path := fmt.Sprintf("tasks[%d]", p.read)
	p.read++
	had := len(p.problems.all) + p.problems.more
	v := fields{path: path + ".", p: &p.problems}
	t, after := v.task(n)
	if t.ID != "" {
		if !p.graph.add(t.ID, t.After, after) {
			p.problem(n.at, path+".id", "%q is the id of another task of the plan", t.ID)
		}
		if p.graph.Edges() > MaxDependencies {
			return stop(n.at, "tasks wait for others more than %d times", MaxDependencies)
		}
	}
	if len(p.problems.all)+p.problems.more > had {
		return nil
	}
	p.sum.Types[t.Type]++
	if len(p.sum.Types) > MaxTypes {
		return stop(n.at, "there are more than %d types", MaxTypes)
	}
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("digest a task: %w", err)
	}
	p.tasks.Write(text)
	p.tasks.Write([]byte{'\n'})
	err = p.fn(t, Place{n.at.line, n.at.column})
	var invalid *job.InvalidError
	if errors.As(err, &invalid) {
		for _, one := range invalid.Problems {
			if one.Path != "" {
				one.Path = "." + one.Path
			}
			p.problem(n.at, path+one.Path, "%s", one.Message)
			p.others++
		}
		return nil
	}
	return err
}

// whole checks what can be known at the end only.
func (p *reading) whole() {
	top := place{1, 1}
	for _, name := range []string{"id", "upstream"} {
		if !p.seen[name] {
			p.problem(top, name, "is needed")
		}
	}
	if p.read == 0 {
		p.problem(top, "tasks", "there are none; a plan has at least one task")
	}
	if p.graph.Len()-p.first == p.read { // else names are missing that stand there
		p.graph.check(p.problem)
	}
}

// digest is of what the plan says, however it is written.
func (p *reading) digest() (string, error) {
	head, err := json.Marshal(p.sum.Header)
	if err != nil {
		return "", fmt.Errorf("digest a plan: %w", err)
	}
	h := sha256.New()
	h.Write(head)
	h.Write(p.tasks.Sum(nil))
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
