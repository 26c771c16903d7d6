// Package target is the language in which people say on which hosts something
// is to happen:
//
//	web[001-120,130]                        names, with ranges of numbers
//	web*,db[1-4]!db3                        globs, and sets of names
//	os == "linux" and web* and not @canary  facts and labels, and saved groups
//	10.1.0.0/16 or /^edge-\w+$/             addresses, and regular expressions
//
// Parse reads an expression, Bind resolves the groups that it names, and Match
// and Select say which hosts it admits. A NodeSet is a plain set of names; its
// String writes it in the shortest bracket form. The package is pure: it does
// no I/O, and everything in it may be used by many goroutines, except that a
// NodeSet must not be changed while others use it.
//
// # Grammar
//
//	expr     = and { "or" and } .
//	and      = not { "and" not } .
//	not      = "not" not | set .
//	set      = operand { ( "," | "!" | "&" | "^" ) operand } .
//	operand  = "(" expr ")" | compare | has | group | regexp | address | name .
//	compare  = key ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) value
//	         | key ( "=~" | "!~" ) ( regexp | quoted ) .
//	has      = "has" "(" key ")" .
//	key      = word | quoted .            (* os, fact.os, label.rack *)
//	value    = word | quoted .
//	group    = "@" word .
//	regexp   = "/" pattern "/" .          (* RE2; "\/" is a slash *)
//	address  = IP | IP "/" bits .
//	name     = quoted | part { part } .
//	part     = text | "*" | "?" | "[" ranges "]" | "[" class "]" .
//	ranges   = range { "," range } .
//	range    = digits [ "-" digits [ "/" step ] ] .
//	class    = [ "^" ] ( char | char "-" char ) { ... } .
//	quoted   = '"' ... '"' | "'" ... "'" . (* a backslash takes the next character as it is *)
//	word     = a run of letters, digits and . _ - : /
//
// The set operators are union, difference, intersection and symmetric
// difference, as in ClusterShell: they all bind equally, from left to right, and
// closer than "not", "and" and "or".
//
// Brackets that hold digits, commas, dashes and slashes only are ranges: [12] is
// twelve. Any other content is a class: one character of those.
// A name must match as a whole. A regular expression may match anywhere in it,
// unless it says ^ and $. A quoted name is taken as it is.
//
// # What is not known
//
// A bare key is the label of that name, or else the fact. A comparison with a
// key that a host does not have is neither true nor false, and so is an order
// of two values that are no numbers. "not" leaves it so, and "and" and "or" let
// the other side decide where it can. A host whose result is unknown is not
// matched, and the keys that were to blame are reported. Only has(KEY) tells
// what is missing from what is different.
package target
