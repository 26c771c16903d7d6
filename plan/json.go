package plan

import (
	"regexp"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads a plan in JSON. encoding/json has no lines, and takes members twice.
type jsonReader struct {
	*source

	nodes int
}

func readJSON(s *source, to sink) error {
	r := &jsonReader{source: s}
	r.space()
	if r.peek() != '{' {
		return r.wrong("a plan in JSON is an object, and begins with {")
	}
	err := r.object(func(f field) error {
		r.nodes = 0
		if f.name != "tasks" {
			var err error
			if f.value, err = r.value(1); err != nil {
				return err
			}
			return to.member(f)
		}
		if r.peek() != '[' {
			n, err := r.value(1)
			if err == nil {
				to.problem(n.at, "tasks", "is %s; a list of tasks is needed", kindNames[n.kind])
			}
			return err
		}
		return r.list(func() error {
			r.begin()
			r.nodes = 0
			n, err := r.value(2)
			if err != nil {
				return err
			}
			return to.task(n)
		})
	})
	if err != nil {
		return err
	}
	r.begin()
	if r.space(); r.peek() != 0 {
		return r.wrong("there is more after the plan")
	}
	return nil
}

// wrong returns why the text cannot be read any further.
func (r *jsonReader) wrong(format string, args ...any) error {
	at := r.at
	if r.peek() == 0 {
		if _, err := r.ReadByte(); err == nil {
			return stop(at, "a zero byte is no JSON")
		} else if r.broken() == nil && r.err.Error() != "EOF" {
			return stop(at, "%v", r.err)
		}
		return stop(at, "the text ends too early")
	}
	return stop(at, format, args...)
}

func (r *jsonReader) space() {
	for b := r.peek(); b == ' ' || b == '\t' || b == '\n' || b == '\r'; b = r.peek() {
		if _, err := r.ReadByte(); err != nil {
			return
		}
	}
}

// take reads one byte that has to be there.
func (r *jsonReader) take(want byte) error {
	if r.peek() != want {
		return r.wrong("%q is needed here", want)
	}
	if _, err := r.ReadByte(); err != nil {
		return r.wrong("")
	}
	return nil
}

// object reads an object; member reads the value of each member.
func (r *jsonReader) object(member func(field) error) error {
	return r.elements('{', '}', func() error {
		f := field{at: r.at}
		if r.peek() != '"' {
			return r.wrong("the name of a member in quotes is needed here")
		}
		var err error
		if f.name, err = r.text(); err != nil {
			return err
		}
		r.space()
		if err := r.take(':'); err != nil {
			return err
		}
		r.space()
		return member(f)
	})
}

func (r *jsonReader) list(item func() error) error { return r.elements('[', ']', item) }

// elements reads what lies between two brackets, with commas between.
func (r *jsonReader) elements(from, to byte, one func() error) error {
	if err := r.take(from); err != nil {
		return err
	}
	r.space()
	if r.peek() == to {
		return r.take(to)
	}
	for {
		if err := one(); err != nil {
			return err
		}
		r.space()
		if r.peek() == to {
			return r.take(to)
		}
		if r.peek() != ',' {
			return r.wrong("a comma or %q is needed here", to)
		}
		if err := r.take(','); err != nil {
			return err
		}
		r.space()
	}
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// maxNumber bounds the digits of a number.
const maxNumber = 100

// value reads a value that lies so deep.
func (r *jsonReader) value(depth int) (*node, error) {
	n := &node{at: r.at}
	if r.nodes++; r.nodes > maxNodes {
		return nil, stop(n.at, "there are more than %d values in one task", maxNodes)
	}
	if depth > MaxDepth {
		return nil, stop(n.at, "values lie more than %d deep in one another", MaxDepth)
	}
	var err error
	switch b := r.peek(); b {
	case '{':
		n.kind = kindObject
		err = r.object(func(f field) error {
			var err error
			f.value, err = r.value(depth + 1)
			n.fields = append(n.fields, f)
			return err
		})
	case '[':
		n.kind = kindList
		err = r.list(func() error {
			v, err := r.value(depth + 1)
			n.items = append(n.items, v)
			return err
		})
	case '"':
		n.kind = kindText
		n.text, err = r.text()
	default:
		err = r.word(n)
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// word reads a number, true, false or null.
func (r *jsonReader) word(n *node) error {
	var word []byte
	for b := r.peek(); b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '-' || b == '+' || b == '.'; b = r.peek() {
		if len(word) == maxNumber {
			return r.wrong("a number of more than %d digits is refused", maxNumber)
		}
		if _, err := r.ReadByte(); err != nil {
			return r.wrong("")
		}
		word = append(word, b)
	}
	n.text = string(word)
	switch {
	case n.text == "":
		return r.wrong("a value is needed here")
	case n.text == "true" || n.text == "false":
		n.kind = kindBool
	case n.text == "null":
		n.kind = kindNull
	case jsonNumber.MatchString(n.text):
		n.kind = kindNumber
	default:
		return stop(n.at, "%q is no value of JSON: texts stand in quotes", n.text)
	}
	return nil
}

// text reads a text in quotes.
func (r *jsonReader) text() (string, error) {
	at := r.at
	if err := r.take('"'); err != nil {
		return "", err
	}
	var out []byte
	for {
		b, err := r.ReadByte()
		switch {
		case err != nil:
			return "", r.wrong("")
		case b == '"':
			if !utf8.Valid(out) {
				return "", stop(at, "the text is not UTF-8")
			}
			return string(out), nil
		case b == '\\':
			if out, err = r.escape(out); err != nil {
				return "", err
			}
		case b < ' ':
			return "", stop(at, "the text has a control character, which is to be written as an escape, such as \\n; perhaps its closing quote is missing")
		default:
			out = append(out, b)
		}
	}
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads what follows a backslash.
func (r *jsonReader) escape(out []byte) ([]byte, error) {
	at := r.at
	b, err := r.ReadByte()
	if err != nil {
		return nil, r.wrong("")
	}
	if is, ok := escapes[b]; ok {
		return append(out, is), nil
	}
	if b != 'u' {
		return nil, stop(at, "\\%c is no escape of JSON", b)
	}
	c, err := r.hex()
	if err != nil {
		return nil, err
	}
	if utf16.IsSurrogate(c) {
		if err := r.take('\\'); err != nil {
			return nil, stop(at, "\\u%04x is half a character", c)
		}
		if err := r.take('u'); err != nil {
			return nil, stop(at, "\\u%04x is half a character", c)
		}
		second, err := r.hex()
		if err != nil {
			return nil, err
		}
		if c = utf16.DecodeRune(c, second); c == utf8.RuneError {
			return nil, stop(at, "the two escapes are no character")
		}
	}
	return utf8.AppendRune(out, c), nil
}

// hex reads four hexadecimal digits.
func (r *jsonReader) hex() (rune, error) {
	at := r.at
	var digits [4]byte
	for i := range digits {
		b, err := r.ReadByte()
		if err != nil {
			return 0, r.wrong("")
		}
		digits[i] = b
	}
	c, err := strconv.ParseUint(string(digits[:]), 16, 16)
	if err != nil {
		return 0, stop(at, "\\u is followed by four hexadecimal digits")
	}
	return rune(c), nil
}
