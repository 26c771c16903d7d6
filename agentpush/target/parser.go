package target

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxSource is the longest expression, in bytes.
	MaxSource = 32 << 10
	// MaxTerms is how many names, patterns, comparisons and groups an expression may
	// have: each of them is looked at for each host.
	MaxTerms = 1000
	// maxDepth is how deep parentheses and "not" may nest.
	maxDepth = 100
)

// Parse reads an expression. All that is wrong with its parts comes back at
// once, as a *SyntaxError; after a mistake in how they are joined, what follows
// is not read.
func Parse(source string) (*Expr, error) {
	p := &parser{faults: faults{source: source}, groups: map[string]bool{}}
	if len(source) > MaxSource {
		p.add(0, "it is %d bytes long; at most %d are allowed; save parts of it as groups of hosts", len(source), MaxSource)
		return nil, p.err()
	}
	if !utf8.ValidString(source) {
		p.add(0, "it is not UTF-8 text")
		return nil, p.err()
	}
	root := p.expr()
	if !p.broken && p.pos < len(p.source) {
		p.unexpected()
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return &Expr{root: root, groups: slices.Sorted(maps.Keys(p.groups))}, nil
}

// MustParse is Parse for expressions that are known to be right. It panics when
// one is not.
func MustParse(source string) *Expr {
	e, err := Parse(source)
	if err != nil {
		panic(err)
	}
	return e
}

// parser walks over the source. After a mistake that it cannot step over it is
// broken: it reads no more, and what it returned is not used.
type parser struct {
	faults
	pos    int
	depth  int
	terms  int
	broken bool
	groups map[string]bool
}

func (p *parser) fail(at int, format string, args ...any) {
	if !p.broken {
		p.add(at, format, args...)
	}
	p.broken, p.pos = true, len(p.source)
}

// blanks steps over blanks and returns what follows.
func (p *parser) blanks() string {
	p.pos = len(p.source) - len(strings.TrimLeftFunc(p.source[p.pos:], unicode.IsSpace))
	return p.source[p.pos:]
}

// keyword steps over the keyword, if it comes next.
func (p *parser) keyword(k string) bool {
	rest, ok := strings.CutPrefix(p.blanks(), k)
	if !ok || p.isKey(rest) {
		return false
	}
	if r, _ := utf8.DecodeRuneInString(rest); rest != "" && (isWordRune(r) || strings.ContainsRune("*?[", r)) {
		return false
	}
	p.pos += len(k)
	return true
}

// isKey reports whether what follows a word makes that word a key.
func (p *parser) isKey(rest string) bool {
	return comparisonAt(strings.TrimLeftFunc(rest, unicode.IsSpace)) != ""
}

// comparisonAt returns the operator with which s begins, empty if with none.
func comparisonAt(s string) string {
	for _, op := range []string{"==", "!=", "=~", "!~", "<=", ">=", "<", ">"} {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

func (p *parser) expr() node {
	left := p.and()
	for !p.broken && p.keyword("or") {
		left = &binary{opOr, left, p.and()}
	}
	return left
}

func (p *parser) and() node {
	left := p.not()
	for !p.broken && p.keyword("and") {
		left = &binary{opAnd, left, p.not()}
	}
	return left
}

func (p *parser) not() node {
	if !p.keyword("not") {
		return p.set()
	}
	if !p.deeper() {
		return nil
	}
	defer func() { p.depth-- }()
	return &negation{p.not()}
}

func (p *parser) deeper() bool {
	if p.depth++; p.depth <= maxDepth {
		return true
	}
	p.fail(p.pos, "parentheses and \"not\" nest more than %d deep", maxDepth)
	return false
}

func (p *parser) set() node {
	left := p.operand()
	for !p.broken {
		rest := p.blanks()
		if rest == "" || strings.IndexByte(setOperators, rest[0]) < 0 {
			break
		}
		if strings.HasPrefix(rest, "&&") {
			p.fail(p.pos, `&& is written "and" here`)
			break
		}
		p.pos++
		left = &binary{operator(rest[:1]), left, p.operand()}
	}
	return left
}

// operand reads one operand, and says so where there is none.
func (p *parser) operand() node {
	rest := p.blanks()
	start := p.pos
	if rest == "" {
		p.fail(start, "a target is missing; write a name, a glob such as web*, a comparison such as os == \"linux\", @group, /regexp/ or a network")
		return nil
	}
	if rest[0] == '(' {
		return p.parenthesis()
	}
	if p.terms++; p.terms > MaxTerms {
		p.fail(start, "more than %d names, patterns and comparisons; write names as ranges, such as web[001-120], or save parts of it as groups of hosts", MaxTerms)
		return nil
	}
	switch rest[0] {
	case '/':
		return &regular{p.regexp()}
	case '@':
		return p.group()
	case '"', '\'':
		text := p.quoted()
		if p.broken {
			return nil
		}
		if p.isKey(p.source[p.pos:]) {
			return p.comparison(start, text)
		}
		return p.exact(start, text)
	}
	text := p.scan()
	switch {
	case text == "":
		p.unexpected()
		return nil
	case p.isKey(p.source[p.pos:]):
		return p.comparison(start, text)
	case text == "has" && strings.HasPrefix(p.blanks(), "("):
		return p.has()
	case isKeyword(text):
		p.fail(start, "a target is missing before %q; a host of that name is written in quotes", text)
		return nil
	}
	return p.name(start, text)
}

// scan steps over a word with its globs and brackets.
func (p *parser) scan() string {
	start := p.pos
	for p.pos < len(p.source) {
		r, size := utf8.DecodeRuneInString(p.source[p.pos:])
		if r == '[' {
			if end := strings.IndexByte(p.source[p.pos:], ']'); end >= 0 {
				size = end + 1
			} else {
				size = len(p.source) - p.pos
			}
		} else if !isWordRune(r) && r != '*' && r != '?' && r != ']' {
			break
		}
		p.pos += size
	}
	return p.source[start:p.pos]
}

func (p *parser) parenthesis() node {
	start := p.pos
	if !p.deeper() {
		return nil
	}
	defer func() { p.depth-- }()
	p.pos++
	inner := p.expr()
	if p.broken {
		return nil
	}
	switch rest := p.blanks(); {
	case rest == "":
		p.fail(start, "a ( without its )")
	case rest[0] == ')':
		p.pos++
	default:
		p.unexpected()
	}
	return inner
}

// unexpected fails at what comes next, where an operand has just ended.
func (p *parser) unexpected() {
	rest := p.blanks()
	first, _ := utf8.DecodeRuneInString(rest)
	switch {
	case strings.HasPrefix(rest, "||"), first == '|':
		p.fail(p.pos, `| is written "or" here`)
	case first == '!':
		p.fail(p.pos, `a target is missing before "!"; what is not meant is written with "not"`)
	case first == '=':
		p.fail(p.pos, `= is written == here`)
	case first == ')':
		p.fail(p.pos, "a ) where a target should be, or without its (")
	case strings.ContainsRune(setOperators, first):
		p.fail(p.pos, "a target is missing before %q", first)
	case isWordRune(first) || strings.ContainsRune(`*?["'@(`, first):
		at := p.pos
		if text := p.scan(); text != "" && isKeyword(strings.ToLower(text)) {
			p.fail(at, "%q is written %q here", text, strings.ToLower(text))
			return
		}
		p.fail(at, `two targets without an operator between them; write "and", "or" or a comma`)
	default:
		p.fail(p.pos, "%q has no meaning here", first)
	}
}

// quoted steps over a quoted text and returns what it holds.
func (p *parser) quoted() string {
	start, mark := p.pos, p.source[p.pos]
	var b strings.Builder
	for i := start + 1; i < len(p.source); i++ {
		switch c := p.source[i]; {
		case c == mark:
			p.pos = i + 1
			return b.String()
		case c == '\\' && i+1 < len(p.source):
			i++
			b.WriteByte(p.source[i])
		default:
			b.WriteByte(c)
		}
	}
	p.fail(start, "a %c without its other one", mark)
	return ""
}

// regexp steps over /.../ and compiles what it holds.
func (p *parser) regexp() *regexp.Regexp {
	start := p.pos
	var b strings.Builder
	for i := start + 1; i < len(p.source); i++ {
		switch c := p.source[i]; {
		case c == '/':
			p.pos = i + 1
			return p.compile(start, b.String())
		case c == '\\' && i+1 < len(p.source):
			i++
			if p.source[i] != '/' {
				b.WriteByte('\\')
			}
			b.WriteByte(p.source[i])
		default:
			b.WriteByte(c)
		}
	}
	p.fail(start, "a / without its other one; a regular expression is written /.../")
	return nil
}

func (p *parser) compile(at int, text string) *regexp.Regexp {
	if text == "" {
		p.add(at, "an empty regular expression; * matches every name")
		return nil
	}
	expr, err := regexp.Compile(text)
	if err != nil {
		p.add(at, "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: ")+" in a regular expression")
	}
	return expr
}

func (p *parser) group() node {
	start := p.pos
	p.pos++
	name := p.scan()
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) }) {
		p.add(start, "%q names no group; write the name of one group of hosts, as in @web", "@"+name)
		return nil
	}
	p.groups[name] = true
	return &grouped{name}
}

func (p *parser) has() node {
	p.pos++ // the parenthesis
	rest := p.blanks()
	start := p.pos
	var text string
	if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		text = p.quoted()
	} else {
		text = p.scan()
	}
	if p.broken {
		return nil
	}
	k := p.key(start, text)
	if !strings.HasPrefix(p.blanks(), ")") {
		p.fail(p.pos, "a ) is missing; has takes one key, as in has(rack)")
		return nil
	}
	p.pos++
	return &has{k}
}

func (p *parser) key(at int, text string) key {
	if text == "" {
		p.add(at, "the name of a label or fact is missing")
	} else if p.source[at] != '"' && p.source[at] != '\'' && strings.ContainsAny(text, "*?[]") {
		p.add(at, "%q is not the name of a label or fact", text)
	}
	return newKey(text)
}

// comparison reads the operator and the value that follow a key.
func (p *parser) comparison(start int, text string) node {
	n := &comparison{key: p.key(start, text)}
	n.op = comparisonAt(p.blanks())
	p.pos += len(n.op)
	rest := p.blanks()
	at := p.pos
	isRegexp := n.op == "=~" || n.op == "!~"
	switch {
	case rest == "":
		p.fail(at, "a value is missing after %s", n.op)
		return nil
	case rest[0] == '/':
		if n.expr = p.regexp(); !isRegexp {
			p.add(at, "a regular expression is compared with =~ or !~; a value with a / at its start is written in quotes")
		}
		return n
	case rest[0] == '"' || rest[0] == '\'':
		n.value = p.quoted()
	case isRegexp:
		p.fail(at, "a regular expression is missing after %s; write it as /.../", n.op)
		return nil
	default:
		n.value = p.scan()
		if n.value == "" || isKeyword(n.value) {
			p.fail(at, "a value is missing after %s; unusual ones are written in quotes", n.op)
			return nil
		}
		if strings.ContainsAny(n.value, "*?[]") {
			p.add(at, "%q is compared as it is, so write it in quotes; a pattern is written =~ /.../", n.value)
		}
	}
	if isRegexp && !p.broken {
		n.expr = p.compile(at, n.value)
	}
	if n.op[0] == '<' || n.op[0] == '>' {
		var err error
		if n.number, err = strconv.ParseFloat(n.value, 64); err != nil || n.number != n.number {
			p.add(at, "%q is no number; %s compares numbers", n.value, n.op)
		}
	}
	return n
}

func (p *parser) exact(at int, text string) node {
	if text == "" {
		p.add(at, "an empty name; * matches every name")
	}
	return &exact{text}
}

// name reads a word that is a name, a pattern or an address.
func (p *parser) name(at int, text string) node {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		return &network{text, netip.PrefixFrom(addr, addr.BitLen())}
	}
	if !strings.ContainsAny(text, "[*?") && strings.Contains(text, "/") {
		return p.network(at, text)
	}
	problems := len(p.problems)
	pattern := parsePattern(text, at, &p.faults)
	for offset, r := range outsideBrackets(text) {
		if r == '/' && len(p.problems) == problems {
			p.add(at+offset, "%q cannot be in a name; letters, digits and . _ - : can", r)
		}
	}
	return &named{pattern}
}

func (p *parser) network(at int, text string) node {
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		p.add(at, "%q is no network; write an address and its bits, as in 10.1.0.0/16", text)
	case prefix != prefix.Masked():
		p.add(at, "%q has an address inside of the network; write %s for all of it, or the address alone", text, prefix.Masked())
	}
	return &network{text, prefix}
}
