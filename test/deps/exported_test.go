package deps

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
	"testing"
)

// TestPublicPackages: what others' programs use names no type that they cannot.
func TestPublicPackages(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"api", "carillontest", "client", "client/overetcd", "handler", "handler/handlertest", "handler/protocol", "job"} {
		files := token.NewFileSet()
		parsed, err := parser.ParseDir(files, "../../"+pkg, func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, parser.SkipObjectResolution) //nolint:staticcheck // no build tags and no types are needed
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parsed {
			for _, f := range p.Files {
				for _, at := range internals(f) {
					t.Errorf("%s: an exported declaration names an internal type", files.Position(at))
				}
			}
		}
	}
}

// internals returns where exported declarations of a file name types of internal packages.
func internals(f *ast.File) []token.Pos {
	inside := map[string]bool{}
	for _, i := range f.Imports {
		if p := strings.Trim(i.Path.Value, `"`); strings.Contains(p, "/internal/") {
			name := path.Base(p)
			if i.Name != nil {
				name = i.Name.Name
			}
			inside[name] = true
		}
	}
	var found []token.Pos
	look := func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && inside[x.Name] {
					found = append(found, sel.Pos())
				}
			}
			return true
		})
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() {
				look(d.Type)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() {
					lookAtType(ts.Type, look)
				}
				if vs, ok := s.(*ast.ValueSpec); ok && vs.Type != nil && vs.Names[0].IsExported() {
					look(vs.Type)
				}
			}
		}
	}
	return found
}

// lookAtType looks at a declared type; of a struct, at what others see of it.
func lookAtType(t ast.Expr, look func(ast.Node)) {
	st, ok := t.(*ast.StructType)
	if !ok {
		look(t)
		return
	}
	for _, f := range st.Fields.List {
		for _, name := range f.Names {
			if name.IsExported() {
				look(f.Type)
			}
		}
		if len(f.Names) == 0 {
			look(f.Type)
		}
	}
}
