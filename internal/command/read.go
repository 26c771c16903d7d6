package command

import (
	"encoding/hex"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/carillon-cron/carillon/job"
)

// Limits of a file.
const (
	MaxBytes = 1 << 20
	MaxRules = 10_000
)

// Parse reads the rules of a minion's own list; file names it in problems. The error is
// a *job.InvalidError with all problems.
func Parse(file string, text []byte) ([]Rule, error) {
	r := &reader{file: file}
	return r.read(text)
}

// ParseRule reads one rule of a role. It names no user: whom a command runs as is said
// beside it. Paths of problems begin with at.
func ParseRule(at string, text job.CommandRule) (Rule, []job.Problem) {
	r := &reader{}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return Rule{}, []job.Problem{{Path: at, Message: "is no rule; write {program: /usr/bin/uptime}, or script: or handler: instead of program"}}
	}
	one := r.rule(doc.Content[0], at)
	one.anyUser = true
	if len(one.users) > 0 {
		r.problem(0, at+".user", "is said by runAs, beside commands")
	}
	if one.subjects != nil {
		r.problem(0, at+".subjects", "is for a minion's own list; who holds a role, its bindings say")
	}
	for i := range r.problems {
		r.problems[i].Line = 0 // the text is one line
	}
	return one, r.problems
}

// reader collects rules and problems.
type reader struct {
	file     string
	problems []job.Problem
	rules    []Rule
}

func (r *reader) problem(line int, path, format string, args ...any) {
	r.problems = append(r.problems, job.Problem{File: r.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...)})
}

// yamlLine is how the YAML parser tells where it stopped.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (r *reader) read(text []byte) ([]Rule, error) {
	switch {
	case len(text) > MaxBytes:
		r.problem(0, "", "has more than %d bytes", MaxBytes)
	case r.former(string(text)):
	default:
		var doc yaml.Node
		if err := yaml.Unmarshal(text, &doc); err != nil {
			said := err.Error()
			m := yamlLine.FindStringSubmatch(said)
			line := 0
			if m != nil {
				line, _ = strconv.Atoi(m[1]) // no number: 0, unknown
				said = strings.TrimPrefix(said, m[0])
			}
			r.problem(line, "", "this is not YAML: %s", said)
		} else {
			r.document(&doc)
		}
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b job.Problem) int { return a.Line - b.Line })
		return nil, &job.InvalidError{Problems: r.problems}
	}
	return r.rules, nil
}

func (r *reader) document(doc *yaml.Node) {
	if len(doc.Content) == 0 {
		r.problem(0, "", "has no rules; write rules: [] where nothing may run")
		return
	}
	top := doc.Content[0]
	given := r.fields(top, "", []string{"rules"})
	if given == nil {
		return
	}
	rules := given["rules"]
	if rules == nil || rules.Kind != yaml.SequenceNode {
		r.problem(top.Line, "rules", "is not given as a list; write rules: and one rule per entry, or rules: []")
		return
	}
	if len(rules.Content) > MaxRules {
		r.problem(rules.Line, "rules", "has %d entries; at most %d are allowed", len(rules.Content), MaxRules)
		return
	}
	names := map[string]int{}
	for i, n := range rules.Content {
		at := "rules[" + strconv.Itoa(i) + "]"
		one := r.rule(n, at)
		if one.name == "" {
			one.name = "rule-" + strconv.Itoa(i+1)
		}
		if line, twice := names[one.name]; twice {
			r.problem(n.Line, at+".name", "%q is the name of the rule in line %d already", one.name, line)
		}
		names[one.name] = n.Line
		r.rules = append(r.rules, one)
	}
}

// fields returns the values of a mapping by their names; nil: it is none.
func (r *reader) fields(n *yaml.Node, at string, known []string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, at, "is not a mapping; allowed fields are %s", strings.Join(known, ", "))
		return nil
	}
	out := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		here := strings.TrimPrefix(at+"."+k.Value, ".")
		switch {
		case k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge":
			r.problem(k.Line, at, "has a key that is no word")
		case !slices.Contains(known, k.Value):
			hint := ""
			if near, ok := job.Nearest(k.Value, known); ok {
				hint = fmt.Sprintf("did you mean %q? ", near)
			}
			r.problem(k.Line, here, "this field is unknown; %s(allowed: %s)", hint, strings.Join(known, ", "))
		case out[k.Value] != nil:
			r.problem(k.Line, here, "is given twice")
		case v.Kind == yaml.AliasNode:
			r.problem(v.Line, here, "is an alias, which is not allowed; write it out")
		case v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null":
			r.problem(v.Line, here, "has no value; give one, or leave it out")
		default:
			out[k.Value] = v
		}
	}
	return out
}

func (r *reader) rule(n *yaml.Node, at string) Rule {
	one := Rule{line: n.Line}
	f := r.fields(n, at, []string{"name", "program", "script", "interpreter", "handler", "args", "user", "subjects", "workingDir", "env", "params"})
	if f == nil {
		return one
	}
	one.name = r.text(f["name"], at+".name")
	one.program = r.path(f["program"], at+".program")
	one.handler = r.text(f["handler"], at+".handler")
	if s := f["script"]; s != nil {
		one.script = strings.ToLower(r.text(s, at+".script"))
		if sum, err := hex.DecodeString(one.script); err != nil || len(sum) != 32 {
			r.problem(s.Line, at+".script", "%q is not the SHA-256 of a script's text: 64 hexadecimal digits", s.Value)
		}
		one.interpreter = []string{"/bin/sh"}
	}
	if ways := count(f["program"] != nil, f["script"] != nil, f["handler"] != nil); ways != 1 {
		r.problem(n.Line, at, "has %d of program, script and handler; give exactly one of them", ways)
	}
	if by := f["interpreter"]; by != nil {
		one.interpreter = r.texts(by, at+".interpreter")
		switch {
		case f["script"] == nil:
			r.problem(by.Line, at+".interpreter", "is for script")
		case len(one.interpreter) == 0 || !filepath.IsAbs(one.interpreter[0]):
			r.problem(by.Line, at+".interpreter", "begins with no absolute path; write one, as in [/bin/bash, -e]")
		}
	}
	r.args(f["args"], at+".args", &one)
	if u := f["user"]; u != nil {
		one.users = r.texts(u, at+".user")
	}
	if s := f["subjects"]; s != nil {
		one.subjects = r.subjects(s, at+".subjects")
	}
	if d := f["workingDir"]; d != nil {
		one.dirs = r.texts(d, at+".workingDir")
		for _, dir := range one.dirs {
			if !filepath.IsAbs(dir) {
				r.problem(d.Line, at+".workingDir", "%q is not an absolute path", dir)
			}
		}
	}
	r.env(f["env"], at+".env", &one)
	if p := f["params"]; p != nil {
		if one.anyParams = isAny(p); !one.anyParams {
			one.params = r.texts(p, at+".params")
		}
	}
	return one
}

func count(list ...bool) (n int) {
	for _, b := range list {
		if b {
			n++
		}
	}
	return n
}

// isAny reports whether a node is the word any.
func isAny(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Value == "any" }

// text reads a scalar that is not empty.
func (r *reader) text(n *yaml.Node, at string) string {
	switch {
	case n == nil:
		return ""
	case n.Kind != yaml.ScalarNode || !isText(n) || n.Value == "":
		r.problem(n.Line, at, "is not text; write a word")
		return ""
	}
	return n.Value
}

// isText reports whether a scalar can be read as text: numbers and the like are.
func isText(n *yaml.Node) bool {
	return slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.ShortTag())
}

func (r *reader) path(n *yaml.Node, at string) string {
	p := r.text(n, at)
	if p == "" {
		return ""
	}
	if !filepath.IsAbs(p) || filepath.Clean(p) != p {
		r.problem(n.Line, at, "%q is not an absolute path without . and .., as in /usr/bin/uptime", p)
	}
	return p
}

// texts reads a list of text, or one text.
func (r *reader) texts(n *yaml.Node, at string) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{r.text(n, at)}
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.problem(n.Line, at, "is not a list of words")
		return nil
	}
	out := make([]string, len(n.Content))
	for i, c := range n.Content {
		out[i] = r.text(c, at+"["+strconv.Itoa(i)+"]")
	}
	return out
}

// subjects reads who may stand behind a start.
func (r *reader) subjects(n *yaml.Node, at string) []pattern {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.problem(n.Line, at, `is not a list of names; write ["ada@example.org", {glob: "token *"}]`)
		return []pattern{}
	}
	all := make([]pattern, len(n.Content))
	for i, c := range n.Content {
		if all[i] = r.pattern(c, at+"["+strconv.Itoa(i)+"]", "glob or any"); all[i] == (pattern{}) {
			r.problem(c.Line, at+"["+strconv.Itoa(i)+"]", "is empty; write a name, as records show who asks")
		}
	}
	return all
}

// args reads what arguments may be.
func (r *reader) args(n *yaml.Node, at string, one *Rule) {
	switch {
	case n == nil:
		return
	case isAny(n):
		one.anyArgs = true
		return
	case n.Kind != yaml.SequenceNode:
		r.problem(n.Line, at, `is neither a list nor the word any; write [restart, {glob: "app-*"}], or any`)
		return
	}
	for i, c := range n.Content {
		here := at + "[" + strconv.Itoa(i) + "]"
		if c.Kind == yaml.MappingNode && len(c.Content) == 2 && c.Content[0].Value == "rest" {
			if !isAny(c.Content[1]) || i != len(n.Content)-1 {
				r.problem(c.Line, here, "rest is for the last entry, and has the value any")
			}
			one.anyFurther = true
			continue
		}
		one.args = append(one.args, r.pattern(c, here, "glob, any or, at the end, rest"))
	}
}

// pattern reads what a text may be: the text itself, {glob: PATTERN} or {any: true}.
func (r *reader) pattern(n *yaml.Node, at, known string) pattern {
	if n.Kind == yaml.ScalarNode && isText(n) {
		return pattern{text: n.Value}
	}
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || n.Content[1].Kind != yaml.ScalarNode {
		r.problem(n.Line, at, "is neither text nor a mapping with one of %s", known)
		return pattern{}
	}
	k, v := n.Content[0], n.Content[1]
	switch k.Value {
	case "glob":
		if _, err := path.Match(v.Value, ""); err != nil {
			r.problem(v.Line, at+".glob", "%q is not a pattern: * and ? stand for characters other than /, [a-z] for one of them", v.Value)
		}
		return pattern{text: v.Value, glob: true}
	case "any":
		if v.Value != "true" {
			r.problem(v.Line, at+".any", "is %q; write true", v.Value)
		}
		return pattern{any: true}
	}
	r.problem(k.Line, at+"."+k.Value, "this field is unknown; (allowed: %s)", known)
	return pattern{}
}

// variable is how a variable may be called.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (r *reader) env(n *yaml.Node, at string, one *Rule) {
	if n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, at, `is not a mapping; write {TZ: UTC, LANG: {any: true}}`)
		return
	}
	one.env = map[string]pattern{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		here := at + "." + k.Value
		switch _, twice := one.env[k.Value]; {
		case !variable.MatchString(k.Value):
			r.problem(k.Line, here, "is not the name of a variable; each is named by itself, without patterns")
		case strings.HasPrefix(k.Value, job.ParamVariable):
			r.problem(k.Line, here, "is a parameter; name it in params, as in params: [%s]", strings.ToLower(strings.TrimPrefix(k.Value, job.ParamVariable)))
		case twice:
			r.problem(k.Line, here, "is given twice")
		default:
			one.env[k.Value] = r.pattern(v, here, "glob or any")
		}
	}
}

// former tells how to write the rules of a file of the former format, which had a
// line per rule, and reports whether the file is one.
func (r *reader) former(text string) bool {
	lines := strings.Split(text, "\n")
	old := false
	for _, line := range lines {
		if words := formerWords(line); len(words) > 0 {
			old = isFormer(words)
			break
		}
	}
	if !old {
		return false
	}
	for i, line := range lines {
		if words := formerWords(line); len(words) > 0 {
			r.problem(i+1, "", "this is the former format, which did not say as whom, where and with what a program runs; write, below a line rules:, %s", instead(words))
		}
	}
	return true
}

func formerWords(line string) []string {
	line, _, _ = strings.Cut(line, "#")
	return strings.Fields(line)
}

// isFormer reports whether words are a rule of the former format, and no YAML.
func isFormer(words []string) bool {
	first := words[0]
	if first == "script" || first == "env" {
		return len(words) > 1
	}
	return first != "-" && first != "---" && first != "%YAML" && !strings.ContainsAny(first, ":{[\"'&*!|>@`,") && !strings.HasSuffix(words[len(words)-1], ":")
}

// instead writes a rule of the former format as one of today.
func instead(words []string) string {
	switch words[0] {
	case "env":
		var list []string
		for _, w := range words[1:] {
			list = append(list, strconv.Quote(w)+": {any: true}")
		}
		return "in each rule that needs them: env: {" + strings.Join(list, ", ") + "}, with every variable by its name"
	case "script":
		sum, by := "SHA256", "/bin/sh"
		if len(words) > 1 {
			sum = words[1]
		}
		if len(words) > 2 {
			by = strings.Join(words[2:], ", ")
		}
		return fmt.Sprintf("- {script: %s, interpreter: [%s], args: any}, with the interpreter's absolute path", sum, by)
	}
	var list []string
	for _, w := range words[1:] {
		switch {
		case w == "...":
			list = append(list, "{rest: any}")
		case strings.ContainsAny(w, `*?[\`):
			list = append(list, "{glob: "+strconv.Quote(w)+"}")
		default:
			list = append(list, strconv.Quote(w))
		}
	}
	hint := ""
	if !filepath.IsAbs(words[0]) {
		hint = ", with the program's absolute path"
	}
	return fmt.Sprintf("- {program: %s, args: [%s]}, and user: where it is not the minion's own account%s", words[0], strings.Join(list, ", "), hint)
}
