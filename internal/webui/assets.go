package webui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed static
var staticFiles embed.FS

//go:embed templates
var templateFiles embed.FS

// asset is a file below /static/.
type asset struct {
	name, tag string
	data      []byte
}

// readAssets reads all of them once, so that /static/ lists no folder and every
// file has a tag by which a browser knows that its copy is still good.
func readAssets() (map[string]asset, error) {
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		return nil, fmt.Errorf("webui: list static files: %w", err)
	}
	files := make(map[string]asset, len(entries))
	for _, e := range entries {
		data, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("webui: read static file: %w", err)
		}
		sum := sha256.Sum256(data)
		files[e.Name()] = asset{name: e.Name(), tag: `"` + hex.EncodeToString(sum[:8]) + `"`, data: data}
	}
	return files, nil
}

func (u *UI) static(w http.ResponseWriter, r *http.Request) {
	guard(w.Header())
	f, ok := u.assets[strings.TrimPrefix(r.URL.Path, "/static/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", f.tag)
	w.Header().Set("Cache-Control", "no-cache") // ask each time; the tag makes it cheap
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.data))
}

// parsePages returns a template per page, each in the common layout.
func (u *UI) parsePages() (map[string]*template.Template, error) {
	layout, err := template.New("").Funcs(u.funcs()).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("webui: parse layout: %w", err)
	}
	pages := map[string]*template.Template{}
	for _, name := range []string{"jobs", "job", "runs", "run", "nodes", "minions", "shards", "error"} {
		t, err := layout.Clone()
		if err != nil {
			return nil, fmt.Errorf("webui: parse %s: %w", name, err)
		}
		if pages[name], err = t.ParseFS(templateFiles, "templates/"+name+".html"); err != nil {
			return nil, fmt.Errorf("webui: parse %s: %w", name, err)
		}
	}
	return pages, nil
}
