package job

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// interpreter says which words of its command a program reads as code.
type interpreter int

const (
	// readsUpToCode: what stands behind the code (-c CODE), or behind the file
	// of a script, is data. Shells are so.
	readsUpToCode interpreter = iota + 1
	// readsUpToFile: options may stand behind the code too, so that only what is
	// behind the file of a script, or behind --, is data.
	readsUpToFile
	// readsAll: all words become text for a shell, or may.
	readsAll
)

// interpreterOf knows a program by its name, without the version that follows
// it; zero: it is none that is known.
func interpreterOf(word string) interpreter {
	switch strings.TrimRight(path.Base(word), "0123456789.-") {
	case "sh", "bash", "rbash", "dash", "ash", "ksh", "mksh", "pdksh", "zsh", "yash", "fish", "csh", "tcsh", "python", "pypy":
		return readsUpToCode
	case "perl", "ruby", "node", "nodejs", "deno", "bun", "php", "lua", "luajit", "tclsh", "expect", "groovy", "Rscript", "R", "guile",
		"awk", "gawk", "mawk", "nawk", "sed", "su", "runuser", "script", "flock", "gdb", "pwsh":
		return readsUpToFile
	case "ssh", "rsh", "watch", "parallel", "make", "gmake", "eval", "at", "batch":
		return readsAll
	}
	return 0
}

// isCode reports whether a word may be an option behind which code stands, or
// that has it in itself.
func (k interpreter) isCode(word string) bool {
	if len(word) < 2 || word[0] != '-' && word[0] != '+' {
		return false
	}
	if strings.HasPrefix(word, "--") {
		name, _, _ := strings.Cut(word[2:], "=")
		return slices.Contains([]string{"command", "eval", "execute", "expression", "init-command", "print", "rpn", "session-command", "source", "run"}, name)
	}
	if k == readsUpToCode {
		return strings.ContainsAny(word, "cC")
	}
	return strings.ContainsAny(word, "ceErRpPBFxC")
}

// readAsCode tells of each word of a command whether it says which program
// runs, or whether an interpreter may read it as code: no value may be in it.
// What it does not know as an interpreter it cannot tell of.
func readAsCode(command []string) []bool {
	code := make([]bool, len(command))
	zero := -1 // where $0 of a shell stands, which is a name only
	for k, word := range command {
		if k == 0 {
			code[0] = true
		}
		kind := interpreterOf(word)
		if kind == 0 || k == zero {
			continue
		}
		end := dataFrom(kind, command, k+1)
		for i := k + 1; i < min(end, len(code)); i++ {
			code[i] = true
		}
		if kind == readsUpToCode {
			zero = end
		}
	}
	return code
}

// dataFrom returns where the data of an interpreter begins whose arguments
// begin at from.
func dataFrom(kind interpreter, command []string, from int) int {
	none := len(command)
	if kind == readsAll {
		return none
	}
	last := -1
	for i := from; i < none; i++ {
		if kind.isCode(command[i]) {
			last = i
		}
	}
	if last >= 0 {
		if kind == readsUpToCode {
			return last + 2
		}
		from = last + 1
	}
	for i := from; i < none; i++ {
		switch word := command[i]; {
		case word == "--":
			return min(i+2, none) // what is next may be the code, or the file
		case last >= 0, strings.HasPrefix(word, "-"), strings.HasPrefix(word, "+"), reference.MatchString(word):
		case strings.ContainsAny(word, "/."):
			return i + 1 // the file of a script
		}
	}
	return none
}

// checkValuesInShell tells of the values that would become part of a shell's
// text, or of a script's, and how to write them.
func checkValuesInShell(p *problems, at, text string) {
	var told []string
	for _, name := range references(text) {
		if slices.Contains(told, strings.ToUpper(name)) {
			continue
		}
		told = append(told, strings.ToUpper(name))
		p.add(at, `{{%s}} cannot be part of a shell's text, as the shell would read the value: write "$%s", with the quotes, or args: ["{{%s}}"] beside it and "$1"`, name, ParamEnv(name), name)
	}
}

// checkValuesInSource tells of the names of parameters in the text of a script,
// which is no template.
func checkValuesInSource(p *problems, at, source string, params []Param) {
	var told []*Param
	for _, name := range references(source) {
		d := paramOf(params, name)
		if d == nil || slices.Contains(told, d) {
			continue
		}
		told = append(told, d)
		p.add(at, `{{%s}} is not replaced in a script's text, as the value would be read as a part of it: write "$%s", with the quotes, or args: ["{{%s}}"] beside it and "$1"`, name, ParamEnv(name), name)
	}
}

// checkOwn tells of {{NAME}} in a job's own command, whatever the name, and of the
// names of parameters in the text of its own script: nothing is replaced there.
func checkOwn(p *problems, s *Spec) {
	checkValuesInOwn(p, s, s.Params)
	for i, word := range s.Command {
		for _, name := range references(word) {
			if paramOf(s.Params, name) == nil {
				p.add("spec.command["+strconv.Itoa(i)+"]", "{{%s}} is not replaced in a job's own command; to have the program get these characters, write the command in script", name)
				break
			}
		}
	}
}

// checkValuesInOwn tells of the names of parameters in a job's own command, or in
// the text of its own script.
func checkValuesInOwn(p *problems, s *Spec, params []Param) {
	if s.Script != nil {
		checkValuesInSource(p, "spec.script.source", s.Script.Source, params)
	}
	for i, word := range s.Command {
		for _, name := range references(word) {
			if paramOf(params, name) != nil {
				p.add("spec.command["+strconv.Itoa(i)+"]", `{{%s}} is not replaced in a job's own command: the value is in the variable %s; make the command a step, or take a script of the library, where {{%s}} is the value`, name, ParamEnv(name), name)
				break
			}
		}
	}
}

// CheckStart tells of parameters of a start that the job's own command, or the text
// of its own script, names as if they were replaced there. Nil: of none.
func (s *Spec) CheckStart(params map[string]string) []Problem {
	var p problems
	given := make([]Param, 0, len(params))
	for name := range params {
		given = append(given, Param{Name: name})
	}
	checkValuesInOwn(&p, s, given)
	return p
}

// checkValuesInCommand tells of the values that would say which program a
// command runs, or that an interpreter would read as code.
func checkValuesInCommand(p *problems, at string, command []string) {
	code := readAsCode(command)
	for i, word := range command {
		refs := references(word)
		if len(refs) == 0 || !code[i] {
			continue
		}
		here := at + "[" + strconv.Itoa(i) + "]"
		switch name := refs[0]; i {
		case 0:
			p.add(here, "{{%s}} cannot say which program runs; write the program out, and let a script choose where there are several", name)
		default:
			p.add(here, `{{%s}} stands where an interpreter may read the value as code: use shell with "$%s", or a script of the library with args`, name, ParamEnv(name))
		}
	}
}
