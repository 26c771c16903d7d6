package browser

import (
	_ "embed"
	"fmt"
)

// axe is axe-core, which looks for what keeps people from using a page; see axe/README.md.
//
//go:embed axe/axe.min.js
var axe string

// Barriers are findings of axe-core that are serious or critical: each with its rule, what
// is wrong, and where. Only those of some rules, where they are named.
func (p *Page) Barriers(rules ...string) []string {
	p.t.Helper()
	if p.Eval("typeof axe") != "object" {
		p.Eval(axe + ";1")
	}
	only := ""
	for _, r := range rules {
		only += fmt.Sprintf("%q,", r)
	}
	if only != "" {
		only = ", runOnly: {type: 'rule', values: [" + only + "]}"
	}
	found, _ := p.Eval(`axe.run(document, {resultTypes: ["violations"]` + only + `}).then(r => r.violations
		.filter(v => v.impact === "serious" || v.impact === "critical")
		.flatMap(v => v.nodes.map(n => v.id + " (" + v.impact + "): " + v.help + ": " + n.html.slice(0, 200) + " " + (n.any[0] || n.all[0] || n.none[0] || {message: ""}).message)))`).([]any)
	out := make([]string, len(found))
	for i := range found {
		out[i] = fmt.Sprint(found[i])
	}
	return out
}
