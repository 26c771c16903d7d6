package job

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// declaredStates reads the constants of type State from the source.
func declaredStates(t *testing.T) []State {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "state.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []State
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := v.Type.(*ast.Ident); !ok || kind.Name != "State" {
			return true
		}
		for _, value := range v.Values {
			lit, ok := value.(*ast.BasicLit)
			if !ok {
				continue
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, State(text))
		}
		return true
	})
	return out
}

// TestEachStateHasARow: each state is listed, has a row of its own in the table, and
// final ones are as grave as no other. A state that is not known is a failure.
func TestEachStateHasARow(t *testing.T) {
	t.Parallel()
	declared := declaredStates(t)
	if len(declared) < 16 || !slices.Equal(declared, States()) {
		t.Errorf("States lists %v; declared are %v", States(), declared)
	}
	unknown := State("of a later version").traits()
	graver := map[int]State{}
	for _, s := range States() {
		row := s.traits()
		if *row == *unknown {
			t.Errorf("%s has no row", s)
		}
		if row.mark == "" {
			t.Errorf("%s has no mark", s)
		}
		if !row.final {
			if row.ending != noEnd || row.started || row.retryable || row.stops || row.severity != 0 {
				t.Errorf("%s is not final, and has traits of an end: %+v", s, row)
			}
			continue
		}
		if o, twice := graver[row.severity]; twice {
			t.Errorf("%s is as grave as %s", s, o)
		}
		graver[row.severity] = s
		if row.severity >= unknown.severity {
			t.Errorf("%s is as grave as an unknown state", s)
		}
	}
	if u := State("of a later version"); !u.WorseThan(StateSucceeded) || !u.Final() || u.Retryable() || u.ExitCode() == 0 || !OnFailure.Meets(u) {
		t.Errorf("an unknown state is taken for %+v", unknown)
	}
}
