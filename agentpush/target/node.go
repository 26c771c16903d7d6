package target

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// truth is the result of a part of an expression. The order matters: "and" is
// the least of its sides, "or" the greatest.
type truth int8

const (
	no truth = iota - 1
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// not turns yes into no, and leaves unknown as it is.
func (t truth) not() truth { return -t }

// node is a part of an expression. Nodes do not change.
type node interface {
	eval(*evaluation) truth
	// write appends the node as it is read.
	write(*strings.Builder)
	// binds says how close the node holds together.
	binds() strength
}

type strength int

// What binds closer is greater.
const (
	bindsOr strength = iota
	bindsAnd
	bindsNot
	bindsSet
	bindsOperand
)

// operator joins two nodes.
type operator string

const (
	opOr         operator = "or"
	opAnd        operator = "and"
	opUnion      operator = ","
	opDifference operator = "!"
	opBoth       operator = "&"
	opEither     operator = "^"
)

// binary is two nodes joined by an operator.
type binary struct {
	op          operator
	left, right node
}

func (b *binary) binds() strength {
	switch b.op {
	case opOr:
		return bindsOr
	case opAnd:
		return bindsAnd
	default:
		return bindsSet
	}
}

func (b *binary) eval(e *evaluation) truth {
	left := e.of(b.left)
	switch b.op {
	case opOr, opUnion:
		if left == yes {
			return yes
		}
		return max(left, e.of(b.right))
	case opAnd, opBoth:
		if left == no {
			return no
		}
		return min(left, e.of(b.right))
	case opDifference:
		if left == no {
			return no
		}
		return min(left, e.of(b.right).not())
	default: // opEither: the product is unknown if any side is.
		return (left * e.of(b.right)).not()
	}
}

func (b *binary) write(out *strings.Builder) {
	writeInside(out, b.left, b.binds())
	if b.binds() == bindsSet {
		out.WriteString(string(b.op))
	} else {
		out.WriteString(" " + string(b.op) + " ")
	}
	writeInside(out, b.right, b.binds()+1)
}

// writeInside writes a node, in parentheses if it binds less than what is around.
func writeInside(out *strings.Builder, n node, around strength) {
	if n.binds() >= around {
		n.write(out)
		return
	}
	out.WriteByte('(')
	n.write(out)
	out.WriteByte(')')
}

// negation is "not".
type negation struct{ of node }

func (n *negation) binds() strength          { return bindsNot }
func (n *negation) eval(e *evaluation) truth { return e.of(n.of).not() }
func (n *negation) write(out *strings.Builder) {
	out.WriteString("not ")
	writeInside(out, n.of, bindsNot)
}

// named matches names by a pattern.
type named struct{ pattern pattern }

func (n *named) binds() strength            { return bindsOperand }
func (n *named) eval(e *evaluation) truth   { return truthOf(n.pattern.match(e.host.Name)) }
func (n *named) write(out *strings.Builder) { out.WriteString(n.pattern.String()) }

// exact matches one name, which was quoted.
type exact struct{ name string }

func (n *exact) binds() strength            { return bindsOperand }
func (n *exact) eval(e *evaluation) truth   { return truthOf(n.name == e.host.Name) }
func (n *exact) write(out *strings.Builder) { out.WriteString(quote(n.name)) }

// regular matches names by a regular expression.
type regular struct{ expr *regexp.Regexp }

func (n *regular) binds() strength            { return bindsOperand }
func (n *regular) eval(e *evaluation) truth   { return truthOf(n.expr.MatchString(e.host.Name)) }
func (n *regular) write(out *strings.Builder) { writeRegexp(out, n.expr) }

func writeRegexp(out *strings.Builder, expr *regexp.Regexp) {
	out.WriteString("/" + strings.ReplaceAll(expr.String(), "/", `\/`) + "/")
}

// network matches hosts with an address in it. A single address is also a name.
type network struct {
	text   string
	prefix netip.Prefix
}

func (n *network) binds() strength { return bindsOperand }
func (n *network) eval(e *evaluation) truth {
	return truthOf(e.host.Name == n.text || slices.ContainsFunc(e.host.Addrs, func(a netip.Addr) bool {
		return n.prefix.Contains(a.Unmap().WithZone(""))
	}))
}
func (n *network) write(out *strings.Builder) { out.WriteString(n.text) }

// grouped stands for a saved group.
type grouped struct{ name string }

func (n *grouped) binds() strength            { return bindsOperand }
func (n *grouped) eval(e *evaluation) truth   { return e.group(n.name) }
func (n *grouped) write(out *strings.Builder) { out.WriteString("@" + n.name) }

// has says whether the host has a key.
type has struct{ key key }

func (n *has) binds() strength { return bindsOperand }
func (n *has) eval(e *evaluation) truth {
	_, ok := n.key.lookup(e.host)
	return truthOf(ok)
}
func (n *has) write(out *strings.Builder) { out.WriteString("has(" + word(n.key.String()) + ")") }

// comparison compares the value of a key.
type comparison struct {
	key   key
	op    string
	value string
	// expr is what =~ and !~ match with, number what the order is told from.
	expr   *regexp.Regexp
	number float64
}

func (n *comparison) binds() strength { return bindsOperand }

func (n *comparison) eval(e *evaluation) truth {
	value, ok := n.key.lookup(e.host)
	if !ok {
		return e.missing(n.key)
	}
	switch n.op {
	case "==":
		return truthOf(value == n.value)
	case "!=":
		return truthOf(value != n.value)
	case "=~":
		return truthOf(n.expr.MatchString(value))
	case "!~":
		return truthOf(!n.expr.MatchString(value))
	}
	number, err := strconv.ParseFloat(value, 64)
	if err != nil || number != number { // NaN has no order
		return e.missing(n.key)
	}
	switch n.op {
	case "<":
		return truthOf(number < n.number)
	case "<=":
		return truthOf(number <= n.number)
	case ">":
		return truthOf(number > n.number)
	default:
		return truthOf(number >= n.number)
	}
}

func (n *comparison) write(out *strings.Builder) {
	out.WriteString(word(n.key.String()) + " " + n.op + " ")
	if n.expr != nil {
		writeRegexp(out, n.expr)
		return
	}
	out.WriteString(quote(n.value))
}

// quote writes a text in quotes.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// word writes a text as a word if it is one, in quotes if not.
func word(s string) string {
	if s == "" || s[0] == '/' || isKeyword(s) || strings.ContainsFunc(s, func(r rune) bool { return !isWordRune(r) }) {
		return quote(s)
	}
	return s
}

func isKeyword(s string) bool { return s == "and" || s == "or" || s == "not" || s == "has" }

// isWordRune reports whether keys and values may have r without being quoted.
func isWordRune(r rune) bool { return isNameRune(r) || r == '/' }
