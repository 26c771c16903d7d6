package configs

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
)

// yaml reads a file's text. Every setting keeps its line.
func (l *loader) yaml(name string, text []byte) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		from, why := Source{From: name}, strings.TrimPrefix(err.Error(), "yaml: ")
		if m := errorLine.FindStringSubmatch(why); m != nil {
			from.Line, _ = strconv.Atoi(m[1]) // digits
			why = why[len(m[0]):]
		}
		l.problem(from, "", "this is not YAML: %s", why)
		return
	}
	if len(doc.Content) > 0 {
		l.mapping(name, "", doc.Content[0])
	}
}

// errorLine is how the YAML parser tells where it stopped.
var errorLine = regexp.MustCompile(`^line (\d+): `)

// mapping reads the settings under a path.
func (l *loader) mapping(name, under string, n *yaml.Node) {
	at := func(n *yaml.Node) Source { return Source{From: name, Line: n.Line, Column: n.Column} }
	if n.Kind != yaml.MappingNode {
		if n.ShortTag() != "!!null" { // nothing is under it; that is fine
			l.problem(at(n), under, "holds settings, as in \"name: value\"")
		}
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := key.Value
		if under != "" {
			path = under + "." + key.Value
		}
		if line, twice := seen[key.Value]; twice {
			l.problem(at(key), path, "is given twice; it is in line %d too", line)
			continue
		}
		seen[key.Value] = key.Line
		switch section, known := l.known(path); {
		case !known:
			l.problem(at(key), path, "is not a setting%s", l.hint(under, key.Value))
		case section:
			l.mapping(name, path, value)
		default:
			var v any
			if err := value.Decode(&v); err != nil {
				l.problem(at(value), path, "%v", err)
				continue
			}
			if v == nil {
				l.problem(at(value), path, "has no value; give one, or leave the line out")
				continue
			}
			l.set(path, v, at(value))
		}
	}
}

// known reports whether a path is that of a setting, or of a section of them.
func (l *loader) known(path string) (section, known bool) {
	for _, s := range l.settings {
		switch {
		case s.path == path:
			return false, true
		case strings.HasPrefix(s.path, path+"."):
			return true, true
		}
	}
	return false, false
}

// hint says what may have been meant by a name that is not known: a setting
// or section beside it, else a setting of any section.
func (l *loader) hint(under, name string) string {
	var here, last []string
	for _, s := range l.settings {
		if rest, ok := strings.CutPrefix("."+s.path, strings.TrimSuffix("."+under, ".")+"."); ok {
			first, _, _ := strings.Cut(rest, ".")
			here = append(here, first)
		}
		last = append(last, s.path[strings.LastIndexByte(s.path, '.')+1:])
	}
	if near, ok := job.Nearest(name, here); ok {
		if under != "" {
			near = under + "." + near
		}
		return fmt.Sprintf("; did you mean %s?", near)
	}
	if near, ok := job.Nearest(name, last); ok {
		return fmt.Sprintf("; did you mean %s?", l.settings[slices.Index(last, near)].path)
	}
	return "; scheduler --help and configs/scheduler.example.yaml list them"
}

func durationType() reflect.Type { return reflect.TypeFor[time.Duration]() }
