package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

func TestPathTemplates(t *testing.T) {
	t.Parallel()
	const text = `{"name": "a", "n": 3, "big": 12345678901234567, "labels": {"x.y/z": "w", "b": "c"}, "runs": [{"id": 1, "ok": true}, {"id": 2}], "none": null}`
	v, err := asJSON(json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	for template, want := range map[string]string{
		"{.name}":                       "a",
		".name":                         "a",
		"name":                          "a",
		"{$.name}":                      "a",
		"{@.n}":                         "3",
		"{.big}":                        "12345678901234567",
		"{.runs[0].id}-{.runs[-1].id}":  "1-2",
		"{.runs[*].id}":                 "1 2",
		"{.runs.items[*].id}":           "1 2",
		"{.runs[0].*}":                  "1 true",
		"{.labels['x.y/z']}":            "w",
		`{.labels["b"]}`:                "c",
		"{.labels}":                     `{"b":"c","x.y/z":"w"}`,
		"{.nope}|{.runs[9].id}|{.none}": "||",
		`{range .runs[*]}{.id}{"\t"}{@.ok}{"\n"}{end}`: "1\ttrue\n2\t\n",
		`{range .runs}{.id}{'}'}{end}`:                 "1}2}",
		`{range .runs[*]}{range .*}<{@}>{end};{end}`:   "<1><true>;<2>;",
		"name: {.name}, {.runs[1].id}":                 "name: a, 2",
	} {
		parsed, err := parsePathTemplate(template)
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		if got, err := parsed.render(v); err != nil || string(got) != want {
			t.Errorf("%s: want %q, got %q, %v", template, want, got, err)
		}
	}
	for template, want := range map[string]string{
		"{.a": "a { has no }", "{end}": "{end} without {range}", "{range .a}": "without {end}", "{..a}": ".. is not known", "{.a[}": "a [ has no ]",
		"{.a[?(@.b)]}": "neither a number", `{"a\q"}`: "no text in quotes",
	} {
		if _, err := parsePathTemplate(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", template, want, err)
		}
	}
}

// FuzzPathTemplate: no template and no value make it fail otherwise than by an error.
func FuzzPathTemplate(f *testing.F) {
	for _, seed := range []string{"{.a[0]['b']}", "{range .a}{@}{end}", "{.a", `{"\n"}`, "{.*[*]}"} {
		f.Add(seed, `{"a": [{"b": 1}]}`)
	}
	fuzzed.Run(f, func(t *testing.T, text, value string) {
		parsed, err := parsePathTemplate(text)
		if err != nil || !json.Valid([]byte(value)) {
			return
		}
		v, err := asJSON(json.RawMessage(value))
		if err != nil {
			return
		}
		if _, err := parsed.render(v); err != nil {
			t.Error(err)
		}
	})
}

func TestTemplatesAndOrder(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	for args, want := range map[string]string{
		"get job/backup -o jsonpath={.spec.retry.attempts}":                        "3\n",
		"get jobs -A -o jsonpath={[*].name}":                                       "backup report\n",
		"get jobs -A -o go-template={{range.}}{{.name}}/{{.spec.timeout}};{{end}}": "backup/10m0s;report/<no value>;\n",
		"describe group/ledger -o jsonpath={.spec.nodes}":                          "[\"n1\",\"n2\"]\n",
		"minions match web* -o jsonpath={.hosts}":                                  "web-[1-2]\n",
		"export job/backup -o jsonpath={.spec.retry}":                              "{\"attempts\":3}\n",
		"get nodes -o name --sort-by name":                                         "n1\nn2\n",
		"get nodes -o name --sort-by -name":                                        "n2\nn1\n",
		"get nodes -o name --sort-by capacity":                                     "n2\nn1\n",
		"get nodes -o name --sort-by startedAt":                                    "n1\nn2\n",
		"nodes -o name --sort-by {.site}":                                          "n1\nn2\n", // n2 has none
		"get jobs -A -o name --sort-by .spec.timeout":                              "default/backup\nteam/report\n",
		"get hostgroups --no-headers":                                              "canary    web[001-002]                    2026-11-20 13:00:00 CET\nfrontend  os == \"linux\" and web*!@canary  2026-11-20 12:00:00 CET\n",
	} {
		if got := carillon(t.Context(), f, "", strings.Fields(args)...); got.code != 0 || got.stdout != want {
			t.Errorf("%s: want\n%s, got\n%s", args, want, got)
		}
	}
}
