package manifest

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

var (
	// yamlLine is how the YAML parser tells where it stopped.
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	// bareSchedule is a schedule that YAML takes for something else without quotes:
	// one that begins with * or @.
	bareSchedule = regexp.MustCompile(`(?:\b(?:schedules?|cron)["']?[ \t]*:[ \t]*\[?|^[ \t]*-[ \t]+)([*@][^"'#\]},]*[^"'#\]}, \t])`)
	// tabbed is a line that begins with a tab.
	tabbed = regexp.MustCompile(`^ *\t`)
)

// syntax reports that the text is no YAML, and what is known to cause that.
func (r *reader) syntax(err error, data []byte) {
	at := place{}
	text := err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		at.line, _ = strconv.Atoi(m[1]) // no number: 0, unknown
		text = strings.TrimPrefix(text, m[0])
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if m := bareSchedule.FindSubmatchIndex(line); m != nil && !isAlias(string(line[m[2]:m[3]])) {
			bare := string(line[m[2]:m[3]])
			r.problem(place{i + 1, m[2] + 1}, "", "a schedule that begins with %s has to be in quotes: write %q", bare[:1], bare)
			return
		}
		if m := tabbed.FindIndex(line); m != nil && strings.Contains(text, "cannot start any token") {
			r.problem(place{i + 1, m[1]}, "", "the line is indented with a tab, which YAML does not allow; use blanks")
			return
		}
	}
	r.problem(at, "", "this is neither YAML nor JSON: %s", text)
}

// isAlias reports whether a text is an alias of YAML, as in *name.
func isAlias(text string) bool {
	return len(text) > 1 && text[0] == '*' && !strings.ContainsAny(text, " \t/") && (text[1] >= 'a' && text[1] <= 'z' || text[1] >= 'A' && text[1] <= 'Z')
}
