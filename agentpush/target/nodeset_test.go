package target

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestFoldIsExact checks that the bracket form of any set of names reads as
// exactly those names, however odd their numbers are.
func TestFoldIsExact(t *testing.T) {
	names := rapid.SliceOfN(rapid.StringMatching(`[ab]{0,1}(0{0,2}[0-9]{1,2}){0,1}[-.n]{0,1}(0{0,1}[0-3]){0,1}(x[0-9]{17,20}){0,1}`), 0, 30)
	rapid.Check(t, func(t *rapid.T) {
		all := slices.DeleteFunc(names.Draw(t, "names"), func(n string) bool { return n == "" })
		set := NewNodeSet(all...)
		again, err := ParseNodeSet(set.String())
		if err != nil || !again.Equal(set) {
			t.Fatalf("%q folds to %s, which reads as %q (%v)", all, set, again.Names(), err)
		}
		if again.String() != set.String() {
			t.Fatalf("%s is folded again to %s", set, again)
		}
	})
}

// TestFoldEndsRanges checks where a range may not go on: both of its ends have
// the same length when one has leading zeros.
func TestFoldEndsRanges(t *testing.T) {
	for source, want := range map[string]string{
		"n[98-101]":          "n[98-101]",
		"n[098-101]":         "n[098-101]",
		"n[08-99],n[100]":    "n[08-99,100]",
		"n[8-9],n[09-10]":    "n[8-9,09-10]",
		"n01,n[99-101]":      "n[01,99-101]",
		"n[0-1],n00":         "n[0-1,00]",
		"n[1-3],n[5-7],n9":   "n[1-3,5-7,9]",
		"a1b[1-2],a2b[1-2]":  "a[1-2]b[1-2]",
		"a1b[1-2],a2b[1-3]":  "a2b[1-3],a1b[1-2]",
		"n12345678901234567": "n12345678901234567",
	} {
		s, err := ParseNodeSet(source)
		if err != nil || s.String() != want {
			t.Errorf("%s: folds to %s, want %s (%v)", source, s, want, err)
		}
	}
}

// TestExplosionIsRefused checks that a short text cannot fill the memory.
func TestExplosionIsRefused(t *testing.T) {
	for _, source := range []string{
		"web[1-999999999]", "a[1-1000]b[1-1000]", strings.Repeat("[1-999999999999999999]x", 16), "web[0-999999999999999999]",
		"a[1-200000],b[1-200000]",
	} {
		var syntax *SyntaxError
		if s, err := ParseNodeSet(source); !errors.As(err, &syntax) || !strings.Contains(err.Error(), "more than 262144 names") {
			t.Errorf("%s: %d names, %v", source, s.Len(), err)
		}
		// To match by it costs nothing.
		if _, err := Parse(source); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	if s, err := ParseNodeSet("web[1-262144]"); err != nil || s.Len() != MaxNames || s.String() != "web[1-262144]" {
		t.Errorf("as many as are allowed: %v", err)
	}
}

// TestNodeSetProblems checks that problems of a set of names are told at once,
// each where it is.
func TestNodeSetProblems(t *testing.T) {
	_, err := ParseNodeSet("web[3-1], ,db[a-c]!x(y")
	const want = `column 5: "3-1" goes down; write the smaller number first; column 10: a name is missing; ` +
		`column 12: "db[a-c]" has a class of characters, which a set of names cannot hold; only numbers can be in brackets; ` +
		`column 21: '(' cannot be in a name; letters, digits and . _ - : can`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestNaturalOrder checks that names come in the order of their numbers.
func TestNaturalOrder(t *testing.T) {
	got := NewNodeSet("web10", "web9", "web09", "web", "db1", "r2n1", "r1n10", "r1n2").Names()
	want := []string{"db1", "r1n2", "r1n10", "r2n1", "web", "web9", "web09", "web10"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
