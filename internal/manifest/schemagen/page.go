package main

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

const pageHead = `# Job files: all fields

<!-- Written by ` + "`make generate`" + ` from the comments in package job and its tables of fields. -->

A file holds one or more documents, in YAML or JSON, or a list of them, each with
` + "`apiVersion: " + job.APIVersion + "`, `kind`, `metadata` and `spec`" + `. ` + "`carillon apply --dry-run -f FILE`" + ` tells all that is wrong with
it, each with its line and column, its field, and what would be right.

- *A field works or is refused.* What has no effect is not taken: the column *has an
  effect* tells with what a field has one. A field that says the default in a place
  where another value would have an effect is taken.
- *Zero is zero, or refused.* A zero, an empty text or an empty list never stands for
  the default: the column *instead of zero* tells what to write. Where it is empty,
  zero means zero, or nothing. A field without a value (` + "`timeout:`" + `) is one that is
  not given.
- Jobs that are stored already are read as they were written, whatever this page says.

[When jobs run](schedules.md) tells more of the fields about time,
[targets](targets.md) of those about minions, and [scripts](scripts.md) of steps and
parameters.
`

// writePage writes the page with all fields.
func writePage(w io.Writer, dir string) error {
	c, err := readComments(dir)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, pageHead); err != nil {
		return err
	}
	for _, part := range []struct {
		title, prefix, kind string
		of                  reflect.Type
	}{
		{"Metadata, of all kinds", "metadata", job.KindJob, reflect.TypeFor[job.Metadata]()},
		{"Job", "spec", job.KindJob, reflect.TypeFor[job.Spec]()},
		{"Group", "group", job.KindGroup, reflect.TypeFor[job.GroupSpec]()},
		{"HostGroup", "hostGroup", job.KindHostGroup, reflect.TypeFor[job.HostGroupSpec]()},
		{"Calendar", "calendar", job.KindCalendar, reflect.TypeFor[job.CalendarSpec]()},
		{"Queue", "queue", job.KindQueue, reflect.TypeFor[job.QueueSpec]()},
		{"Script", "script", job.KindScript, reflect.TypeFor[job.ScriptSpec]()},
		{"Secret", "secret", job.KindSecret, reflect.TypeFor[job.SecretSpec]()},
		{"Notifier", "notifier", job.KindNotifier, reflect.TypeFor[job.NotifierSpec]()},
		{"Defaults", "defaults", job.KindDefaults, reflect.TypeFor[job.DefaultsSpec]()},
		{"Role", "role", job.KindRole, reflect.TypeFor[job.RoleSpec]()},
		{"RoleBinding", "roleBinding", job.KindRoleBinding, reflect.TypeFor[job.RoleBindingSpec]()},
	} {
		rows := c.pageRows(c.object(part.of, part.prefix), part.prefix, prefixOf(part.prefix))
		if _, err := fmt.Fprintf(w, "\n## %s\n\n| field | means | has an effect | instead of zero |\n|---|---|---|---|\n%s", part.title, strings.Join(rows, "")); err != nil {
			return err
		}
	}
	return nil
}

// prefixOf is how the paths of a part begin in files.
func prefixOf(prefix string) string {
	if prefix == "metadata" {
		return prefix
	}
	return "spec"
}

// pageRows lists the fields of an object, each before those in it. At is its path in the
// tables, shown its path in files.
func (c comments) pageRows(s schema, at, shown string) []string {
	var out []string
	properties, _ := s["properties"].(schema)
	known := rules()
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		p, _ := properties[name].(schema)
		path, title := at+"."+name, shown+"."+name
		if items, ok := p["items"].(schema); ok && items["properties"] != nil {
			title += "[]"
		}
		f := known[path]
		text, _ := p["description"].(string)
		text = strings.TrimSuffix(text, " Has an effect only with "+f.Needs+".")
		needs := "always"
		if f.Needs != "" {
			needs = "with " + f.Needs
		}
		out = append(out, fmt.Sprintf("| `%s` | %s | %s | %s |\n", title, cell(text), cell(needs), cell(f.Zero)))
		for _, inner := range inside(p) {
			out = append(out, c.pageRows(inner, path, title)...)
		}
	}
	return out
}

// inside returns the objects that a field holds.
func inside(p schema) []schema {
	if p["properties"] != nil {
		return []schema{p}
	}
	if items, ok := p["items"].(schema); ok && items["properties"] != nil {
		return []schema{items}
	}
	options, _ := p["oneOf"].([]schema)
	return slices.DeleteFunc(slices.Clone(options), func(o schema) bool { return o["properties"] == nil })
}

func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "\n", "<br>").Replace(text)
}
