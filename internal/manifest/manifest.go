package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// Limits of what Decode reads.
const (
	// MaxBytes is the size of a file.
	MaxBytes = 4 << 20
	// MaxAliasBytes is what the aliases of one document may add to it.
	MaxAliasBytes = 256 << 10
	// MaxProblems is how many problems are told; Decode stops behind them.
	MaxProblems = 100
)

// Object is one document of a file.
type Object struct {
	// Kind is one of Kinds.
	Kind     string
	Metadata job.Metadata
	// Spec is a job's spec, Group a group's, HostGroup that of a group of
	// hosts, Calendar a calendar's, Script a script's, Queue a queue's, Secret a
	// secret's, Notifier a notifier's, Defaults those of a namespace, and Role and RoleBinding those of who may do what; the others are zero.
	Spec        job.Spec
	Group       job.GroupSpec
	HostGroup   job.HostGroupSpec
	Calendar    job.CalendarSpec
	Script      job.ScriptSpec
	Queue       job.QueueSpec
	Secret      job.SecretSpec
	Notifier    job.NotifierSpec
	Defaults    job.DefaultsSpec
	Role        job.RoleSpec
	RoleBinding job.RoleBindingSpec
	// File and Line tell where the document begins; Line counts from 1.
	File string
	Line int

	// places tells where each path was read.
	places map[string]place
}

// Problem returns a problem with a field, at the place where it was read, or where
// what holds it was.
func (o *Object) Problem(path, message string) job.Problem {
	at := placeIn(o.places, path, place{line: o.Line})
	return job.Problem{Path: path, Message: message, File: o.File, Line: at.line, Column: at.column}
}

// Decode reads all documents of a file; one may be a list of objects, as JSON has no
// documents. Empty documents are skipped, and an
// empty namespace becomes job.DefaultNamespace. File names the data in
// problems. The error is a *job.InvalidError that holds all problems.
func Decode(file string, data []byte) ([]Object, error) {
	return decode(file, data, (*reader).object)
}

// DecodeNames reads which objects a file names, such as for deleting them: the
// kinds, names and namespaces. What else is in it, which a later or a stricter
// release may refuse, is not looked at.
func DecodeNames(file string, data []byte) ([]Object, error) {
	return decode(file, data, (*reader).names)
}

// decode reads all documents of a file, each by object.
func decode(file string, data []byte, object func(*reader, *yaml.Node) (Object, bool)) ([]Object, error) {
	r := &reader{file: file, schedules: schedule.NewCache()}
	if len(data) > MaxBytes {
		r.problem(place{}, "", "has %d bytes; at most %d are allowed: split the file", len(data), MaxBytes)
		return nil, r.err()
	}
	var objects []Object
	first := map[identity]int{}
	dec := yaml.NewDecoder(bytes.NewReader(unescapeJSON(data)))
	for len(r.problems) <= MaxProblems {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.syntax(err, data)
			break
		}
		if isEmpty(&doc) {
			continue
		}
		for _, n := range documents(doc.Content[0]) {
			if len(r.problems) > MaxProblems {
				break
			}
			o, ok := object(r, n)
			if !ok {
				continue
			}
			id := identity{o.Kind, o.Metadata.Key()}
			if line, twice := first[id]; twice {
				r.problem(r.at("metadata.name", place{line: o.Line}), "metadata.name", "%s %s is given twice, first in line %d; give each once", o.Kind, id.key, line)
				continue
			}
			first[id] = o.Line
			objects = append(objects, o)
		}
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return objects, nil
}

// documents returns the objects of one document: it, or those that it lists. A list of
// anything else is not one of objects.
func documents(n *yaml.Node) []*yaml.Node {
	listed := n.Kind == yaml.SequenceNode && len(n.Content) > 0
	for _, item := range n.Content {
		listed = listed && item.Kind == yaml.MappingNode
	}
	if !listed {
		return []*yaml.Node{n}
	}
	return n.Content
}

type identity struct {
	kind string
	key  job.Key
}

// isEmpty reports whether the document holds nothing but comments.
func isEmpty(doc *yaml.Node) bool {
	return len(doc.Content) == 0 ||
		doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].ShortTag() == nullTag && doc.Content[0].Value == ""
}

// jsonOnly are the escapes of JSON that YAML does not know: a slash, and two
// surrogates that make one character together. The first alternative steps
// over escaped backslashes.
var jsonOnly = regexp.MustCompile(`\\\\|\\/|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})`)

// unescapeJSON writes what only JSON can escape as itself. Lines stay as they
// are.
func unescapeJSON(data []byte) []byte {
	if text := bytes.TrimSpace(data); !bytes.HasPrefix(text, []byte("{")) && !bytes.HasPrefix(text, []byte("[")) {
		return data
	}
	return jsonOnly.ReplaceAllFunc(data, func(b []byte) []byte {
		m := jsonOnly.FindSubmatch(b)
		switch {
		case string(b) == `\/`:
			return b[1:]
		case len(m[1]) == 0:
			return b
		}
		high, _ := strconv.ParseUint(string(m[1]), 16, 16) // both are hexadecimal digits
		low, _ := strconv.ParseUint(string(m[2]), 16, 16)
		return []byte(string(utf16.DecodeRune(rune(high), rune(low)))) // 16 bits
	})
}

// problem notes what is wrong at a place.
func (r *reader) problem(at place, path, format string, args ...any) {
	r.problems = append(r.problems, job.Problem{Path: path, Message: fmt.Sprintf(format, args...), File: r.file, Line: at.line, Column: at.column})
}

// err returns all problems in the order of their lines, or nil.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b job.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(r.problems) > MaxProblems {
		r.problems = append(r.problems[:MaxProblems:MaxProblems], job.Problem{Message: "there are more problems; these are the first", File: r.file})
	}
	return &job.InvalidError{Problems: r.problems}
}
