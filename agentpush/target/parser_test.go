package target

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// TestCanonicalForm checks how expressions are understood, by how they are
// written back.
func TestCanonicalForm(t *testing.T) {
	for source, want := range map[string]string{
		`web1`:                           `web1`,
		` web[001-120,130] `:             `web[001-120,130]`,
		`os == "linux" and web*`:         `os == "linux" and web*`,
		`os==linux and web*`:             `os == "linux" and web*`,
		`os=='it''`:                      "",
		`a or b and c`:                   `a or b and c`,
		`(a or b) and c`:                 `(a or b) and c`,
		`((a)) or (b)`:                   `a or b`,
		`a or (b or c)`:                  `a or (b or c)`,
		`not a and b`:                    `not a and b`,
		`not (a and b)`:                  `not (a and b)`,
		`not not a`:                      `not not a`,
		`not a,b`:                        `not a,b`,
		`a, b ! c & d ^ e`:               `a,b!c&d^e`,
		`a!(b,c)`:                        `a!(b,c)`,
		`a!(b or c)`:                     `a!(b or c)`,
		`@web!@db`:                       `@web!@db`,
		`10.1.0.0/16 or 10.1.2.3`:        `10.1.0.0/16 or 10.1.2.3`,
		`fd00::/8`:                       `fd00::/8`,
		`/^edge-\w+$/`:                   `/^edge-\w+$/`,
		`/a\/b/`:                         `/a\/b/`,
		`os =~ "^(deb|ubu)"`:             `os =~ /^(deb|ubu)/`,
		`path =~ /^\/srv/`:               `path =~ /^\/srv/`,
		`os !~ /win/`:                    `os !~ /win/`,
		`cores >= 8 and label.rack < 3`:  `cores >= "8" and label.rack < "3"`,
		`has(label.rack)`:                `has(label.rack)`,
		`has ( "strange key" )`:          `has("strange key")`,
		`"strange key" != x`:             `"strange key" != "x"`,
		`app.kubernetes.io/name == shop`: `app.kubernetes.io/name == "shop"`,
		`"and" or "web 1"`:               `"and" or "web 1"`,
		`or == 1 and not == 2`:           `"or" == "1" and "not" == "2"`,
		`x == "a\"b\\c"`:                 `x == "a\"b\\c"`,
		`path == "/usr"`:                 `path == "/usr"`,
		`web[a-c]?*`:                     `web[a-c]?*`,
		`web[^0-9]**`:                    `web[^0-9]*`,
		`web[1-9/2]*`:                    `web[1-9/2]*`,
		`android or orange or nothing`:   `android or orange or nothing`,
		`has-1 or and1`:                  `has-1 or and1`,
	} {
		e, err := Parse(source)
		if want == "" {
			if err == nil {
				t.Errorf("%s: taken as %s", source, e)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if e.String() != want {
			t.Errorf("%s: understood as %s, want %s", source, e, want)
		}
	}
}

// TestSyntaxErrors checks that each mistake is pointed at, and told with what
// would be right.
func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct {
		source string
		column int
		text   string
	}{
		{``, 1, "a target is missing"},
		{`  `, 3, "a target is missing"},
		{`web1 and`, 9, "a target is missing"},
		{`web1 web2`, 6, "two targets without an operator"},
		{`web1 AND web2`, 6, `"AND" is written "and"`},
		{`web1 && web2`, 6, `&& is written "and"`},
		{`web1 || web2`, 6, `| is written "or"`},
		{`os = linux`, 4, "= is written =="},
		{`!web1`, 1, `written with "not"`},
		{`web1,`, 6, "a target is missing"},
		{`(web1`, 1, "a ( without its )"},
		{`web1)`, 5, "without its ("},
		{`web[1-`, 4, "a [ without its ]"},
		{`web1]`, 5, "a ] without its ["},
		{`web[]`, 5, "an empty range"},
		{`web[3-1]`, 5, "goes down"},
		{`web[1,5-2]`, 7, "goes down"},
		{`web[08-9]`, 5, "mixes lengths"},
		{`web[1-9/0]`, 5, "a step of 0"},
		{`web[5/2]`, 5, "a step but no range"},
		{`web1[8-10]`, 6, "gets longer right after a digit"},
		{`web[z-a]`, 5, "goes down"},
		{`10.0.0.0/33`, 1, "is no network"},
		{`10.1.2.3/8`, 1, "write 10.0.0.0/8"},
		{`ab/cd`, 1, "is no network"},
		{`/web(/`, 1, "missing closing )"},
		{`/web`, 1, "a / without its other one"},
		{`"web`, 1, `a " without its other one`},
		{`os == `, 7, "a value is missing"},
		{`os == and web*`, 7, "a value is missing"},
		{`os == web*`, 7, "in quotes"},
		{`os == /x/`, 7, "=~ or !~"},
		{`os =~ x`, 7, "write it as /.../"},
		{`cores > many`, 9, "is no number"},
		{`cores > NaN`, 9, "is no number"},
		{`web* == x`, 1, "not the name of a label or fact"},
		{`has(rack`, 9, "a ) is missing"},
		{`has()`, 5, "the name of a label or fact is missing"},
		{`@`, 1, "names no group"},
		{`@web*`, 1, "names no group"},
		{`not and`, 5, `a target is missing before "and"`},
		{`web1 # all`, 6, "has no meaning"},
		{`""`, 1, "an empty name"},
		{`//`, 1, "an empty regular expression"},
		{`ünï and [3-1]`, 10, "goes down"},
		{strings.Repeat("(", 200) + "a", 101, "nest more than 100 deep"},
		{strings.Repeat("not ", 200) + "a", 404, "nest more than 100 deep"},
		{strings.Repeat("a", MaxSource+1), 1, "at most 32768"},
		{strings.Repeat("a,", MaxTerms) + "a", 2*MaxTerms + 1, "more than 1000 names"},
		{strings.Repeat("(a) and ", MaxTerms) + "a", 8*MaxTerms + 1, "more than 1000 names"},
		{strings.Repeat("?a", 33), 1, "66 pieces"},
		{"a\xff", 1, "UTF-8"},
	} {
		_, err := Parse(c.source)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%.40s: %v", c.source, err)
			continue
		}
		if got := syntax.Problems[0]; got.Column != c.column || !strings.Contains(got.Text, c.text) {
			t.Errorf("%.40s: column %d: %s; want column %d: %s", c.source, got.Column, got.Text, c.column, c.text)
		}
		if len(syntax.Problems) > 1 {
			t.Errorf("%.40s: one mistake, but %d problems: %v", c.source, len(syntax.Problems), err)
		}
	}
}

// TestAllProblemsAtOnce checks that one mistake does not hide others.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse(`web[3-1] and (10.1.2.3/8 or os == w*)`)
	const want = `column 5: "3-1" goes down; write the smaller number first; ` +
		`column 15: "10.1.2.3/8" has an address inside of the network; write 10.0.0.0/8 for all of it, or the address alone; ` +
		`column 35: "w*" is compared as it is, so write it in quotes; a pattern is written =~ /.../`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		lines := strings.Split(syntax.Caret(), "\n")
		if len(lines) != 4 || strings.Index(lines[2], "^") != strings.Index(lines[0], "10.1") {
			t.Errorf("the problems are not below what they are about:\n%s", syntax.Caret())
		}
	}
}

// nodeGen draws expressions of some depth.
func nodeGen(depth int) *rapid.Generator[string] {
	leaf := rapid.SampledFrom([]string{
		"web1", "web*", "web[1-3]", "db[01-12/2]?", "x[a-c]*", `"and"`, "/^we/", "10.0.0.0/8", "10.0.0.7", "@g1", "@g2",
		`os == "linux"`, `label.rack != "r1"`, `fact.cores >= "8"`, `os =~ /^l/`, `has(rack)`, `mem < "64"`,
	})
	if depth == 0 {
		return leaf
	}
	inner := nodeGen(depth - 1)
	return rapid.Custom(func(t *rapid.T) string {
		a, b := inner.Draw(t, "a"), inner.Draw(t, "b")
		switch rapid.IntRange(0, 7).Draw(t, "form") {
		case 0:
			return leaf.Draw(t, "leaf")
		case 1:
			return a + " and " + b
		case 2:
			return a + " or " + b
		case 3:
			return "not " + a
		case 4:
			return "(" + a + ")"
		default:
			return "(" + a + ")" + rapid.SampledFrom([]string{",", "!", "&", "^"}).Draw(t, "op") + "(" + b + ")"
		}
	})
}

// TestStringRoundTrips checks that what String writes reads as the same tree.
func TestStringRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := nodeGen(4).Draw(t, "source")
		first, err := Parse(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		second, err := Parse(first.String())
		if err != nil {
			t.Fatalf("%s: written as %s: %v", source, first, err)
		}
		if a, b := shape(first.root), shape(second.root); a != b {
			t.Fatalf("%s: written as %s\nshape  %s\nbecame %s", source, first, a, b)
		}
	})
}

// shape writes a node with all its parentheses.
func shape(n node) string {
	switch n := n.(type) {
	case *binary:
		return "(" + shape(n.left) + " " + string(n.op) + " " + shape(n.right) + ")"
	case *negation:
		return "(not " + shape(n.of) + ")"
	}
	var b strings.Builder
	n.write(&b)
	return b.String()
}

// FuzzParse checks that no text breaks the parser, and that what it takes
// round-trips.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`os == "linux" and web*`, `a!b,(c^@d)&/x\/y/`, `has("x y") or not [1-3]x[^a]?`, `10.0.0.0/8`, `"\`, `a[`, `x<=1`} {
		f.Add(s)
	}
	fuzzed.Run(f, func(t *testing.T, source string) {
		e, err := Parse(source)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || len(syntax.Problems) == 0 {
				t.Fatalf("an error without a problem: %v", err)
			}
			_ = syntax.Caret()
			return
		}
		again, err := Parse(e.String())
		if err != nil || again.String() != e.String() {
			t.Fatalf("%q is written as %q, which reads as %v (%v)", source, e, again, err)
		}
		if m, err := e.Bind(nil); err == nil {
			m.Match(&Host{Name: source[:min(len(source), 128)]})
		}
	})
}
