package job

import (
	"errors"
	"strings"
)

// The ways in which a shell reads a character of a line.
const (
	plainText   = 'a'
	doubleQuote = '"'
	singleQuote = '\''
	backquote   = '`'
	command     = '(' // inside $( ), where quotes begin anew
	expansion   = '{' // inside ${ }
	comment     = '#'
	unsure      = '?' // up to the end
)

var (
	errInSingle = errors.New("a parameter is between single quotes, where the shell reads no variable; write it without quotes, or between double quotes")
	errInOther  = errors.New("a parameter is between backquotes, in ${ } or in a comment, where it cannot be quoted safely; write $( ) instead, or make the line a script")
	errHereDoc  = errors.New("has a here-document and a parameter, which cannot be quoted safely together; make the line a script")
	errUnsure   = errors.New("a parameter is behind quotes in ${ }, a case in ( ), or )#, after which it cannot be told how a shell reads it; make the line a script")
	errArith    = errors.New("has ((, $[ or [[ and a parameter: arithmetic would read the value as an expression; use a variable of a script that checks it")
	errEscaped  = errors.New("a parameter is directly behind a backslash or a dollar sign; put that between quotes of its own")
	errDollarQ  = errors.New("has $'...' and a parameter, which not every shell reads alike; make the line a script")
)

// quoteLine writes a line for a shell in which {{NAME}} is a reference to the
// variable of the parameter, quoted, so that the value is one word and nothing
// in it is read by the shell. The value itself is never in the line. It is an
// error where no quoting would be safe.
func quoteLine(line string) (string, error) {
	spots := reference.FindAllStringSubmatchIndex(line, -1)
	if len(spots) == 0 {
		return line, nil
	}
	switch {
	case strings.Contains(line, "<<"):
		return "", errHereDoc
	case strings.Contains(line, "$'"):
		return "", errDollarQ
	case strings.Contains(line, "(("), strings.Contains(line, "$["), strings.Contains(line, "[[ "):
		return "", errArith
	}
	var out strings.Builder
	within := []rune{plainText}
	done := 0
	for _, spot := range spots {
		within = readShell(line[done:spot[0]], within, line[:done])
		if escaped(line[:spot[0]]) && within[len(within)-1] != singleQuote {
			return "", errEscaped
		}
		out.WriteString(line[done:spot[0]])
		variable := "${" + ParamEnv(line[spot[2]:spot[3]]) + "-}"
		switch within[len(within)-1] {
		case plainText, command:
			out.WriteString(`"` + variable + `"`)
		case doubleQuote:
			out.WriteString(variable)
		case singleQuote:
			return "", errInSingle
		case unsure:
			return "", errUnsure
		default:
			return "", errInOther
		}
		done = spot[1]
	}
	out.WriteString(line[done:])
	return out.String(), nil
}

// readShell follows how a shell reads text, and returns what the end of it is
// within, outermost first. Before is what was read already. Where it cannot be
// told, the rest is unsure.
func readShell(text string, within []rune, before string) []rune {
	last := byte(' ')
	if before != "" {
		last = before[len(before)-1]
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		in := within[len(within)-1]
		push := func(r rune) { within = append(within, r) }
		pop := func() { within = within[:len(within)-1] }
		opens := func(s string) bool { return strings.HasPrefix(text[i:], s) }
		first := strings.IndexByte(" \t\n;&|(<>", last) >= 0 // of a word
		switch {
		case in == unsure:
			return within
		case in == comment:
			if c == '\n' {
				pop()
			}
		case in == singleQuote:
			if c == '\'' {
				pop()
			}
		case opens("\\\n"):
			i++
			continue // as if the line went on: last stays
		case c == '\\':
			i++ // what follows is itself
		case in == backquote: // its end is looked for before all else
			if c == '`' {
				pop()
			}
		case in == expansion && strings.IndexByte("'\"`", c) >= 0:
			push(unsure) // shells differ in how they read quotes there
		case c == '`':
			push(backquote)
		case opens("$("):
			push(command)
			i, c = i+1, '('
		case opens("${"):
			push(expansion)
			i++
		case c == '"' && in == doubleQuote:
			pop()
		case c == '"':
			push(doubleQuote)
		case in == doubleQuote:
		case c == '}' && in == expansion:
			pop()
		case in == expansion:
		case c == '\'':
			push(singleQuote)
		case opens(")#"):
			push(unsure) // a comment behind ( ), and none behind $( )
		case first && in == command && (opens("case ") || opens("case\t") || opens("case\n") || opens("case\\")):
			push(unsure) // its patterns end with a ), too
		case c == '(':
			push(command) // a subshell reads as one
		case c == ')' && in == command:
			pop()
		case first && c == '#':
			push(comment)
		}
		last = c
	}
	return within
}

// escaped reports whether what follows text is behind a backslash that counts, or
// a dollar sign.
func escaped(text string) bool {
	slashes := len(text) - len(strings.TrimRight(text, "\\"))
	return slashes%2 == 1 || strings.HasSuffix(text, "$")
}
