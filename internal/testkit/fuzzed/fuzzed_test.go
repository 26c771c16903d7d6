package fuzzed

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func corpusOf(t *testing.T, fn any, files ...string) ([][]reflect.Value, error) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range files {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))), []byte("go test fuzz v1\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return readCorpus(dir, reflect.TypeOf(fn))
}

// Inputs are those of the corpus, changed in each of their values, and the same by the
// same seed; and what is told of one can be written into the corpus.
func TestChangedInputs(t *testing.T) {
	t.Parallel()
	fn := func(*testing.T, string, []byte, uint32, bool) {}
	corpus, err := corpusOf(t, fn, "string(\"a\\x00(b)\")\n[]byte(\"c\")\nuint32(7)\nbool(true)", "string(\"{\\\"d\\\":1}\")\n[]byte(\"\")\nuint32(0)\nbool(false)")
	if err != nil {
		t.Fatal(err)
	}
	if got := told(corpus[0]); got != `string("a\x00(b)") []byte("c") uint32(7) bool(true)` {
		t.Errorf("the first is told as %s", got)
	}
	one, two, other := newChanger(corpus, 1), newChanger(corpus, 1), newChanger(corpus, 2)
	seen, differ := [4]map[string]bool{{}, {}, {}, {}}, false
	for range 5000 {
		values := one.next()
		if told(values) != told(two.next()) {
			t.Fatal("the same seed makes other inputs")
		}
		differ = differ || told(values) != told(other.next())
		for i := range values {
			seen[i][told(values[i:i+1])] = true
			if text, ok := textOf(values[i]); ok && len(text) > longest {
				t.Fatalf("an input has %d bytes", len(text))
			}
		}
	}
	if !differ || len(seen[0]) < 1000 || len(seen[1]) < 500 || len(seen[2]) < 500 || len(seen[3]) != 2 {
		t.Errorf("5000 inputs have %d, %d, %d and %d values", len(seen[0]), len(seen[1]), len(seen[2]), len(seen[3]))
	}
	if got := told(corpus[0]); got != `string("a\x00(b)") []byte("c") uint32(7) bool(true)` {
		t.Errorf("the corpus was changed: %s", got)
	}
}

// A corpus that is of another test, or that there is not, is told of.
func TestCorporaThatAreNone(t *testing.T) {
	t.Parallel()
	for want, files := range map[string][]string{
		"has 2 values, and the test takes 1": {"string(\"a\")\nstring(\"b\")"},
		`"string(a)" is no string`:           {"string(a)"},
		"a corpus that is committed":         nil,
	} {
		if _, err := corpusOf(t, func(*testing.T, string) {}, files...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
