package target

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// oracleScript folds each line that it reads with ClusterShell, of which
// nodeset is the command line, and then writes the names of the line.
const oracleScript = `
import sys
from ClusterShell.NodeSet import NodeSet, RESOLVER_NOGROUP
for line in sys.stdin:
    try:
        n = NodeSet(line.rstrip("\n"), resolver=RESOLVER_NOGROUP)
        print("%s\t%s" % (n, " ".join(n)))
    except Exception as e:
        print("error\t%s" % str(e).replace("\n", " "))
`

// answer is what the oracle says of one source.
type answer struct {
	folded  string
	names   []string
	refused bool
}

// needs skips the test where the tool is missing. In CI nothing may be missing.
func needs(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: install Debian's package clustershell", tool)
	}
	t.Skipf("%s is missing: install Debian's package clustershell", tool)
}

// ask returns the oracle's answers to all sources.
func ask(t *testing.T, sources []string) []answer {
	t.Helper()
	needs(t, "nodeset")
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", oracleScript)
	cmd.Stdin = strings.NewReader(strings.Join(sources, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the oracle failed: %v", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(sources) {
		t.Fatalf("the oracle answered %d of %d sources", len(lines), len(sources))
	}
	answers := make([]answer, len(lines))
	for i, line := range lines {
		folded, names, _ := strings.Cut(line, "\t")
		answers[i] = answer{folded, strings.Fields(names), folded == "error"}
	}
	return answers
}

// rangeSource draws a range of at most 40 numbers, with equal lengths where
// leading zeros ask for them.
func rangeSource(t *rapid.T, width int) string {
	lo := rapid.IntRange(0, 120).Draw(t, "lo")
	hi := lo + rapid.IntRange(0, 40).Draw(t, "more")
	write := func(n int) string { return fmt.Sprintf("%0*d", width, n) }
	if len(write(lo)) != len(write(hi)) && width > 1 {
		hi = lo
	}
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return write(lo)
	case 1:
		if hi > lo {
			return write(lo) + "-" + write(hi) + "/" + fmt.Sprint(rapid.IntRange(1, 5).Draw(t, "step"))
		}
	}
	return write(lo) + "-" + write(hi)
}

// sourceGen draws sets of names over few texts, so that they meet.
func sourceGen(mixWidths bool) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		width := rapid.IntRange(1, 3).Draw(t, "width")
		var b strings.Builder
		for i := range rapid.IntRange(1, 5).Draw(t, "operands") {
			if i > 0 {
				b.WriteString(rapid.SampledFrom([]string{",", ",", ",", "!", "&", "^"}).Draw(t, "op"))
			}
			b.WriteString(rapid.SampledFrom([]string{"web", "web-", "r", "db", "x.y"}).Draw(t, "text"))
			for axis := range rapid.SampledFrom([]int{0, 1, 1, 1, 2, 2, 3}).Draw(t, "axes") {
				if axis > 0 {
					b.WriteString(rapid.SampledFrom([]string{"n", "n", "-"}).Draw(t, "between"))
				}
				if mixWidths {
					width = rapid.IntRange(1, 3).Draw(t, "width")
				}
				ranges := make([]string, rapid.IntRange(1, 3).Draw(t, "ranges"))
				for i := range ranges {
					ranges[i] = rangeSource(t, width)
					if axis > 0 { // keep the product small
						ranges[i] = fmt.Sprintf("%0*d", width, rapid.IntRange(0, 12).Draw(t, "n"))
					}
				}
				b.WriteString("[" + strings.Join(ranges, ",") + "]")
			}
			b.WriteString(rapid.SampledFrom([]string{"", "", "-ib", "z"}).Draw(t, "end"))
		}
		return b.String()
	})
}

// draw returns n examples, others in each run. A failure shows its source, so
// no seed is needed to see it again.
func draw(n int, g *rapid.Generator[string]) []string {
	out, seed := make([]string, n), rand.IntN(math.MaxInt32)
	for i := range out {
		out[i] = g.Example(seed + i)
	}
	return out
}

// TestNodesetAgrees checks that a set has the names that ClusterShell says, and
// folds to the text that it prints.
func TestNodesetAgrees(t *testing.T) {
	sources := append([]string{
		"web[001-120,130]", "web[1-10/3]", "web[08-11]", "web[8-11]", "web[8-11],web[08-11]", "node[1-5]!node3", "a1b2c3",
		"r[1-3]n[1-4],r4n[1-2]", "r[1-3]n[1-4]!r2n2", "r[1-2]n[01-10]x[1-3]^r1n05x2", "web[1-3]0", "web0[1-3]", "web[08-10]0",
		"[1-3]", "1,2,3,a,5b", "web", "web,web1,web-1,web.1,web1-1", "web[1, 3]", " web1 , web2 ", "web[5]", "n[0-10/2]&n[4-8]",
		"web[99-101]", "web[099-101]", "web[009-010,10-11]", "10.0.0.[1-20]", "rack[1-2]-[1-2]node[1-2]", "a[1-2]b3c[4-5]",
	}, draw(400, sourceGen(false))...)
	exact := 0
	for i, want := range ask(t, sources) {
		if want.refused {
			t.Errorf("%s: the oracle refuses it: %v", sources[i], want.names)
			continue
		}
		got, err := ParseNodeSet(sources[i])
		if err != nil {
			t.Errorf("%s: refused: %v", sources[i], err)
			continue
		}
		if !got.Equal(NewNodeSet(want.names...)) {
			t.Errorf("%s: other names (- nodeset, + here):\n%s", sources[i], cmp.Diff(want.names, got.Names()))
		}
		if got.String() != want.folded {
			t.Errorf("%s: folds to %s, by nodeset to %s", sources[i], got, want.folded)
		}
		exact++
	}
	t.Logf("%d of %d sources agree", exact, len(sources))
}

// TestNodesetAgreesOnMixedWidths checks names, and that folding is not longer,
// where one set has numbers of several lengths with leading zeros: there
// nodeset writes 01,99,100 for what is 01,99-100 here.
func TestNodesetAgreesOnMixedWidths(t *testing.T) {
	sources := draw(200, sourceGen(true))
	for i, want := range ask(t, sources) {
		got, err := ParseNodeSet(sources[i])
		if err != nil || want.refused {
			t.Errorf("%s: refused: %v; by the oracle: %v", sources[i], err, want.refused)
			continue
		}
		if !got.Equal(NewNodeSet(want.names...)) {
			t.Errorf("%s: other names (- nodeset, + here):\n%s", sources[i], cmp.Diff(want.names, got.Names()))
		}
		if len(got.String()) > len(want.folded) {
			t.Errorf("%s: folds to %s, by nodeset to the shorter %s", sources[i], got, want.folded)
		}
	}
}

// TestNodesetRefusesToo checks that what nodeset refuses is refused here.
func TestNodesetRefusesToo(t *testing.T) {
	sources := []string{
		"web[", "web]", "web[1-", "web[]", "web[1-2", "web[2-1]", "web[1-x]", "web[a]", "web[1,]", "web[,1]", "web[08-9]", "web[1-010]",
		"web[1/2]", "web[1-9/0]", "web[1-9/x]", "web1,", ",web1", "web1!", "!web1", "web1,,web2", "web[1-2]]", "web0[8-10]", "a^", "&b",
	}
	for i, want := range ask(t, sources) {
		if !want.refused {
			t.Errorf("%s: the oracle takes it as %s", sources[i], want.folded)
		}
		if got, err := ParseNodeSet(sources[i]); err == nil {
			t.Errorf("%s: taken as %s", sources[i], got)
		}
	}
}

// TestNodesetCommand folds through the command line that people use.
func TestNodesetCommand(t *testing.T) {
	needs(t, "nodeset")
	for _, source := range []string{"web[001-120,130]", "r[1-3]n[1-4]!r2n2", "db1,web[1-9/2]^web[3-5]"} {
		out, err := exec.CommandContext(t.Context(), "nodeset", "-f", source).Output()
		if err != nil {
			t.Fatalf("nodeset -f %s: %v", source, err)
		}
		got, err := ParseNodeSet(source)
		if err != nil || got.String() != strings.TrimSpace(string(out)) {
			t.Errorf("%s: got %s (%v), by nodeset %s", source, got, err, out)
		}
	}
}
