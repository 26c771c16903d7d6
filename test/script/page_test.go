package script

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A page of the documentation is walked through block by block. A comment before a
// block may say more of it:
//
//	<!-- docs-test: skip: WHY -->      it is not run: it needs other hosts, or takes long
//	<!-- docs-test: file NAME -->      its text is written to NAME, where the next ones run
//	<!-- docs-test: spec -->           it is a part of a job's spec
//	<!-- docs-test: fails -->          its last command is to fail
//	<!-- docs-test: run: COMMAND -->   for what comes next, this is run before
//	<!-- docs-test: minions A B -->    for the whole page: these are connected beside the first one
//
// A block in sh is run as a whole and has to end with 0. A block in console is run
// command by command, each behind "$ "; what follows is what it prints, where "..."
// stands for any text, and a line "..." for any lines. A block in yaml is applied
// with --dry-run.

// textBlock is a fenced block of a page.
type textBlock struct {
	line int // of its fence
	lang string
	text string
	// say is what the comment before it says; empty: there is none.
	say string
}

// textPage is a page as it is walked through.
type textPage struct {
	blocks  []textBlock
	minions []string
	// spoken are commands that stand in the text, in backquotes, with their lines.
	spoken []spoken
}

type spoken struct {
	line int
	text string
}

var (
	fence   = regexp.MustCompile("^(\\s*)```(\\S*)\\s*$")
	comment = regexp.MustCompile(`^<!-- docs-test: (.*?) -->$`)
	inline  = regexp.MustCompile("`((?:carillon|worker|scheduler) [^`]*)`")
)

// readPage reads a page and tells what is wrong with how it is written.
func readPage(file string) (*textPage, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var p textPage
	var open *textBlock
	say := ""
	indent := ""
	var prose []string
	proseFrom := 0
	flush := func() {
		joined := strings.Join(prose, " ")
		for _, m := range inline.FindAllStringSubmatch(joined, -1) {
			p.spoken = append(p.spoken, spoken{proseFrom, m[1]})
		}
		prose = nil
	}
	for i, line := range strings.Split(string(text), "\n") {
		n := i + 1
		m := fence.FindStringSubmatch(line)
		switch {
		case open != nil && m != nil && m[2] == "":
			p.blocks = append(p.blocks, *open)
			open, say = nil, ""
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		case m != nil:
			flush()
			open, indent = &textBlock{line: n, lang: m[2], say: say}, m[1]
		default:
			if c := comment.FindStringSubmatch(strings.TrimSpace(line)); c != nil {
				if names, ok := strings.CutPrefix(c[1], "minions "); ok {
					p.minions = append(p.minions, strings.Fields(names)...)
				} else if command, ok := strings.CutPrefix(c[1], "run: "); ok {
					p.blocks = append(p.blocks, textBlock{line: n, lang: "sh", text: command + "\n"})
				} else {
					say = c[1]
				}
				continue
			}
			if strings.TrimSpace(line) == "" {
				flush()
				continue
			}
			if say != "" {
				return nil, fmt.Errorf("%s:%d: the comment before says something of a block, and none follows", file, n)
			}
			if len(prose) == 0 {
				proseFrom = n
			}
			prose = append(prose, strings.TrimSpace(line))
		}
	}
	flush()
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block does not end", file, open.line)
	}
	return &p, nil
}

// step is a command of a console block and what it is to print.
type step struct {
	line    int
	command string
	want    []string
}

// steps reads a console block.
func (b *textBlock) steps() ([]step, error) {
	var out []step
	for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			out = append(out, step{line: b.line + 1 + i, command: c})
			continue
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("line %d: a console block begins with a command behind \"$ \"", b.line+1)
		}
		last := &out[len(out)-1]
		if rest, ok := strings.CutPrefix(line, "> "); ok && len(last.want) == 0 {
			last.command += "\n" + rest
			continue
		}
		last.want = append(last.want, line)
	}
	return out, nil
}

// printed reports whether a command has printed what a page says.
func printed(want []string, got string) bool {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for _, line := range want {
		if strings.TrimSpace(line) == "..." {
			b.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		for i, part := range strings.Split(line, "...") {
			if i > 0 {
				b.WriteString(`[^\n]*`)
			}
			// Columns are as wide as what stands in them.
			for j, word := range strings.Fields(part) {
				if j > 0 {
					b.WriteString(`[ \t]+`)
				}
				b.WriteString(regexp.QuoteMeta(word))
			}
			if strings.HasSuffix(part, " ") || strings.HasPrefix(part, " ") && len(strings.Fields(part)) == 0 {
				b.WriteString(`[ \t]*`)
			}
		}
		b.WriteString(`[ \t]*\n`)
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String()).MatchString(trimmedLines(got))
}

// trimmedLines takes the blanks around each line away.
func trimmedLines(text string) string {
	if text == "" {
		return ""
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n") + "\n"
}

// commandsOf returns the commands of Carillon's programs in a shell text, one for
// each word where the text has several, as in "get|describe".
func commandsOf(text string) [][]string {
	var out [][]string
	for _, part := range regexp.MustCompile(`[;\n]|&&|\|\||(?:^|\s)\|\s|\$\(`).Split(text, -1) {
		words := strings.Fields(strings.NewReplacer(`\`, " ", "(", " ", ")", " ").Replace(part))
		if c := slices.Index(words, "#"); c >= 0 {
			words = words[:c]
		}
		if len(words) == 0 || !slices.Contains([]string{"carillon", "worker", "scheduler"}, words[0]) {
			continue
		}
		if end := slices.Index(words, "--"); end >= 0 {
			words = words[:end]
		}
		all := [][]string{nil}
		for _, w := range words {
			alternatives := []string{w}
			if regexp.MustCompile(`^[a-z]+(\|[a-z]+)+$`).MatchString(w) {
				alternatives = strings.Split(w, "|")
			}
			var next [][]string
			for _, so := range all {
				for _, a := range alternatives {
					next = append(next, append(slices.Clone(so), a))
				}
			}
			all = next
		}
		out = append(out, all...)
	}
	return out
}
