package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// lines writes changes in lines.
func lines(changes []etcdkv.AuditChange) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s: %s -> %s\n", c.Path, c.Before, c.After)
	}
	return b.String()
}

// TestChanges: what users wrote is told field by field, and what Carillon keeps is not.
func TestChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after, want string }{
		"the same":    {`{"spec":{"a":1},"uid":"x"}`, `{"spec":{"a":1},"uid":"y","generation":2}`, ""},
		"a field":     {`{"spec":{"a":1,"b":2}}`, `{"spec":{"a":1,"b":3}}`, "spec.b: 2 -> 3\n"},
		"come, gone":  {`{"spec":{"a":1}}`, `{"spec":{"b":{"c":"x"}}}`, "spec.a: 1 -> \nspec.b.c:  -> \"x\"\n"},
		"plain list":  {`{"spec":{"l":["a","b"]}}`, `{"spec":{"l":["b"]}}`, "spec.l: [\"a\",\"b\"] -> [\"b\"]\n"},
		"steps":       {`{"spec":{"steps":[{"run":"a"}]}}`, `{"spec":{"steps":[{"run":"a"},{"run":"b"}]}}`, "spec.steps[1].run:  -> \"b\"\n"},
		"created":     {"", `{"namespace":"ops","name":"j","labels":{"a":"b"},"spec":{"user":"u"},"uid":"x"}`, "labels.a:  -> \"b\"\nspec.user:  -> \"u\"\n"},
		"deleted":     {`{"spec":{"user":"u"}}`, "", "spec.user: \"u\" -> \n"},
		"an order":    {"", `{"schema":1,"node":"n1","by":"ada","reason":"x","since":"t"}`, "node:  -> \"n1\"\nsince:  -> \"t\"\n"},
		"kind":        {`{"spec":{"a":[1]}}`, `{"spec":{"a":{"b":1}}}`, "spec.a: [1] -> {\"b\":1}\n"},
		"damaged":     {`{`, `{"spec":{"a":1}}`, "spec.a:  -> 1\n"},
		"large, kept": {"", `{"spec":{"n":12345678901234567890}}`, "spec.n:  -> 12345678901234567890\n"},
	} {
		got, out := Changes([]byte(c.before), []byte(c.after))
		if lines(got) != c.want || out != 0 {
			t.Errorf("%s: %q, want %q; %d left out", name, lines(got), c.want, out)
		}
	}
}

// TestSecretsAreMasked: that they were changed is told, and nothing of what they are.
func TestSecretsAreMasked(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	for name, c := range map[string]struct{ field, path string }{
		"environment":          {`"env":{"PGPASSWORD":"%s"}`, "spec.env.PGPASSWORD"},
		"another name":         {`"env":{"AWS_SECRET_ACCESS_KEY":"%s"}`, "spec.env.AWS_SECRET_ACCESS_KEY"},
		"a key":                {`"env":{"STRIPE_KEY":"%s"}`, "spec.env.STRIPE_KEY"},
		"a plain word":         {`"env":{"SMTP_PASS":"%s"}`, "spec.env.SMTP_PASS"},
		"parameters":           {`"params":{"api-key":"%s"}`, "spec.params.api-key"},
		"declared, by name":    {`"params":[{"name":"dbPassword","default":"%s"}]`, "spec.params[0].default"},
		"declared, as such":    {`"params":[{"name":"x","sensitive":true,"default":"%s"}]`, "spec.params[0].default"},
		"webhook":              {`"webhook":{"tokenSHA256":"%s"}`, "spec.webhook.tokenSHA256"},
		"what refers to it":    {`"env":{"DB_TOKEN":{"secret":{"file":"%s"}}}`, "spec.env.DB_TOKEN.secret.file"},
		"in an address":        {`"env":{"DATABASE_URL":"postgres://ann:%s@db/x"}`, "spec.env.DATABASE_URL"},
		"in an argument":       {`"command":["mysql","--password=%s","x"]`, "spec.command"},
		"in a script's text":   {`"script":{"source":"export API_TOKEN=%s\nrun"}`, "spec.script.source"},
		"in the next argument": {`"command":["mysql","--db-password","%s","x"]`, "spec.command"},
		"in a text's argument": {`"env":{"OPTS":"--password %s -v"}`, "spec.env.OPTS"},
		"in JSON in a text":    {`"env":{"CONFIG":"{\"smtp_password\": \"%s\"}"}`, "spec.env.CONFIG"},
		"in a header":          {`"command":["curl","-H","Authorization: Bearer %s"]`, "spec.command"},
		"a token of the API":   {`"script":{"source":"carillon get jobs ct_%s%[1]s%[1]s%[1]s"}`, "spec.script.source"},
		"amid a long argument": {`"command":["curl","https://h/?a=b&token=%s&c=d"]`, "spec.command"},
	} {
		after := fmt.Sprintf(`{"spec":{`+c.field+`}}`, secret)
		if !json.Valid([]byte(after)) {
			t.Fatal(after)
		}
		for _, pair := range [][2]string{{"", after}, {after, ""}, {strings.ReplaceAll(after, secret, secret[:7]), after}} {
			got, _ := Changes([]byte(pair[0]), []byte(pair[1]))
			if text := lines(got); !strings.Contains(text, c.path+": ") || strings.Contains(text, secret[:7]) || !strings.Contains(text, "***") {
				t.Errorf("%s: %s -> %s is told as %s", name, pair[0], pair[1], text)
			}
		}
	}
	// What is no secret is told.
	for _, plain := range []string{`"env":{"LANG":"%s"}`, `"watch":{"key":"%s"}`, `"env":{"AUTHOR":"%s"}`, `"env":{"COMPASS":"%s"}`,
		`"command":["x","--token-file","%s"]`, `"command":["x","--author","%s"]`, `"env":{"A":"a token, %s"}`} {
		got, _ := Changes(nil, fmt.Appendf(nil, `{"spec":{`+plain+`}}`, secret))
		if !strings.Contains(lines(got), secret) {
			t.Errorf("%s is masked: %s", plain, lines(got))
		}
	}
}

// TestChangesAreBounded: whatever an object is like, what is told of it is small, and
// what is left out is counted.
func TestChangesAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		object := func(label string) []byte {
			spec := map[string]any{}
			for i := range rapid.IntRange(0, 40).Draw(t, label) {
				spec[fmt.Sprint("f", i)] = strings.Repeat("ä\"", rapid.IntRange(0, 300).Draw(t, "length"))
			}
			text, err := json.Marshal(map[string]any{"spec": spec})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		before, after := object("before"), object("after")
		changes, out := Changes(before, after)
		size := 0
		for _, c := range changes {
			size += len(c.Path) + len(c.Before) + len(c.After)
			if len(c.Before) > maxValue+30 || len(c.After) > maxValue+30 {
				t.Fatalf("%s has %d and %d bytes", c.Path, len(c.Before), len(c.After))
			}
		}
		if size > maxObject {
			t.Fatalf("%d bytes", size)
		}
		all := differ{}
		all.compare("", told(before), told(after), false)
		if len(changes)+out != len(all.changes) {
			t.Fatalf("%d told, %d left out, of %d", len(changes), out, len(all.changes))
		}
	})
}
