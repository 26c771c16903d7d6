// Package messages holds what the program says to people in one place to be read:
// the golden file has each message of the packages that read what people write. Who
// changes one reads it there among its neighbours.
package messages

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file")

const golden = "testdata/messages.golden"

// packages are those whose messages are read.
func packages() []string {
	return []string{"schedule", "calendar", "job", "internal/manifest", "internal/cli", "client", "configs", "scheduler/mode"}
}

// tells are the functions to which messages are given.
func tells() []string {
	return []string{"Errorf", "New", "Sprintf", "usagef", "add", "problem", "fail", "bad", "note", "says", "invalid", "missing", "unknownParam"}
}

// messages returns the texts that are given to people by a package.
func messages(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v %v", dir, files, err)
	}
	found := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if slices.Contains(tells(), called(n.Fun)) {
					for _, arg := range n.Args {
						found[text(arg)] = true
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "Message" || key.Name == "zero" || key.Name == "needs" || key.Name == "none") {
					found[text(n.Value)] = true
				}
			}
			return true
		})
	}
	words := regexp.MustCompile(`[a-z]{2,}.* .*[a-z]{2,}`)
	return slices.Sorted(func(yield func(string) bool) {
		for m := range maps.Keys(found) {
			if words.MatchString(m) && !yield(m) {
				return
			}
		}
	})
}

// called is the name of the function that is called.
func called(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.IndexExpr:
		return called(e.X)
	}
	return ""
}

// text is a text as it is written in the source; what is put together from more has
// "..." where something else comes in.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return s
		}
	case *ast.BinaryExpr:
		x, y := text(e.X), text(e.Y)
		if x == "" && y == "" {
			return ""
		}
		if x == "" {
			x = "..."
		}
		if y == "" {
			y = "..."
		}
		return x + y
	}
	return ""
}

// TestMessagesAreRead: each message stands in the golden file, and none reads oddly:
// in the way that those did which readers once stumbled over.
func TestMessagesAreRead(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, dir := range packages() {
		b.WriteString("# " + dir + "\n")
		for _, m := range messages(t, dir) {
			b.WriteString(strings.ReplaceAll(m, "\n", `\n`) + "\n")
			for _, odd := range oddities(m) {
				t.Errorf("%s: %q %s", dir, m, odd)
			}
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("read the new messages, then run go test ./test/messages -update (-golden +source):\n%s", d)
	}
}

// oddities tells what is wrong with the form of a message.
func oddities(m string) []string {
	var out []string
	first, _, _ := strings.Cut(m, " ")
	names := regexp.MustCompile(`^([A-Z_@]{2,}[:;,]?|Carillon|Linux|H|Go|SHA-256)$`) // what is written in capitals anyhow
	if strings.Count(m, " ") > 2 && first != "" && first[0] >= 'A' && first[0] <= 'Z' && !names.MatchString(first) && !strings.HasPrefix(m, "No minions matched the target") {
		out = append(out, "begins with a capital")
	}
	if strings.HasSuffix(m, ".") && !strings.HasSuffix(m, "...") {
		out = append(out, "ends with a full stop")
	}
	for _, phrase := range []string{
		"which would it be", "has the labels", "1 canaries", "1 fields", "told of", "tell all about", "are known by", "known are", "by themselves",
		"is of an older release", "in trouble", "want for", "what becomes of", "asked for by", "what? give", "by itself", "come to a release",
	} {
		if strings.Contains(strings.ToLower(m), phrase) {
			out = append(out, "has the phrase "+strconv.Quote(phrase))
		}
	}
	return out
}
