package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// MaxBytes bounds a file, and maxNodes what its aliases may grow to.
const (
	MaxBytes = 4 << 20
	maxNodes = 1 << 20
)

// Object is one document of a file.
type Object struct {
	Kind     string
	Metadata job.Metadata
	Spec     job.Spec
	// File and Line tell where the document begins.
	File string
	Line int
}

// document is the shape of a file's documents.
type document struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   job.Metadata `json:"metadata"`
	Spec       specFile     `json:"spec"`
}

// specFile adds to the spec what only files know.
type specFile struct {
	job.Spec
	// Schedule is short for one entry in schedules.
	Schedule string `json:"schedule,omitempty"`
}

// Decode reads all documents of a file. The error is a *job.InvalidError that
// holds every problem. Empty documents are passed over.
func Decode(file string, data []byte) ([]Object, error) {
	r := &reader{file: file}
	if len(data) > MaxBytes {
		r.problem(0, "", "the file has %d bytes; at most %d are allowed", len(data), MaxBytes)
		return nil, r.err()
	}
	var out []Object
	seen := map[job.Key]int{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.syntax(err)
			break
		}
		if r.count(&n, 0); r.nodes > maxNodes {
			r.problem(n.Line, "", "the aliases of the file grow to more than %d values", maxNodes)
			break
		}
		o, ok := r.document(&n)
		if !ok {
			continue
		}
		if line, dup := seen[o.Metadata.Key()]; dup && o.Metadata.Name != "" {
			r.problem(o.Line, "metadata.name", "%s %s stands in this file twice; the first is in line %d", o.Kind, o.Metadata.Key(), line)
		}
		seen[o.Metadata.Key()] = o.Line
		out = append(out, o)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return out, nil
}

// document reads one document. It reports false for an empty one.
func (r *reader) document(n *yaml.Node) (Object, bool) {
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	if n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return Object{}, false
	}
	r.lines = map[string]int{}
	var d document
	r.value(n, "", &d)
	o := Object{Kind: d.Kind, Metadata: d.Metadata, Spec: d.Spec.Spec, File: r.file, Line: n.Line}
	if n.Kind != yaml.MappingNode {
		return o, true
	}
	if d.APIVersion != job.APIVersion {
		r.at("apiVersion", "is %q; this release reads %q", d.APIVersion, job.APIVersion)
	}
	if d.Kind != job.KindJob {
		r.at("kind", "is %q; one of %s is allowed%s", d.Kind, job.KindJob, didYouMean(d.Kind, []string{job.KindJob}))
		return o, true
	}
	if o.Metadata.Namespace == "" {
		o.Metadata.Namespace = job.DefaultNamespace
	}
	if d.Spec.Schedule != "" {
		if len(o.Spec.Schedules) > 0 {
			r.at("spec.schedule", "stands beside schedules; give one of them")
		}
		o.Spec.Schedules = []string{d.Spec.Schedule}
		r.lines["spec.schedules[0]"] = r.lines["spec.schedule"]
	}
	for _, p := range append(o.Metadata.Validate(), o.Spec.Validate()...) {
		r.at(p.Path, "%s", p.Message)
	}
	r.schedules(&o.Spec)
	return o, true
}

func (r *reader) schedules(s *job.Spec) {
	if _, err := schedule.LoadZone(s.TimeZone); err != nil {
		r.at("spec.timeZone", "%v", err)
		return
	}
	for i, expr := range s.Schedules {
		if _, err := schedule.Parse(expr, schedule.Options{Zone: s.TimeZone}); err != nil {
			r.at(fmt.Sprintf("spec.schedules[%d]", i), "%v", err)
		}
	}
}

// reader gathers problems while it reads.
type reader struct {
	file     string
	problems []job.Problem
	// lines tells where each path of the present document stands.
	lines map[string]int
	nodes int
}

func (r *reader) problem(line int, path, format string, args ...any) {
	r.problems = append(r.problems, job.Problem{File: r.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

// at reports a problem at a path, or at the nearest one above it that is there.
func (r *reader) at(path, format string, args ...any) {
	line, near := 0, path
	for {
		if l, ok := r.lines[near]; ok {
			line = l
			break
		}
		i := strings.LastIndexAny(near, ".[")
		if i < 0 {
			line = r.lines[""]
			break
		}
		near = near[:i]
	}
	r.problem(line, path, format, args...)
}

func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &job.InvalidError{Problems: r.problems}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`) //nolint:gochecknoglobals // a constant

// syntax reports what is not YAML at all.
func (r *reader) syntax(err error) {
	text := err.Error()
	line := 0
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1]) // empty: 0, not known
		text = text[len(m[0]):]
	}
	r.problem(line, "", "is not YAML or JSON: %s", text)
}

// count adds up the nodes that the document has with its aliases written out.
func (r *reader) count(n *yaml.Node, depth int) {
	r.nodes++
	if r.nodes > maxNodes || depth > 100 {
		r.nodes = maxNodes + 1
		return
	}
	if n.Alias != nil {
		r.count(n.Alias, depth+1)
	}
	for _, c := range n.Content {
		r.count(c, depth+1)
	}
}
