package worker

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/agesecret"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/secrets"
)

func identity(t *testing.T) *agesecret.Identities {
	t.Helper()
	ids, err := agesecret.OpenIdentities(filepath.Join(t.TempDir(), "identity"))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// S7: what is sealed to the minion reaches the command, and is on no disk; what is sealed
// to others, as another secret, or not admitted by the minion's list, does not, and the
// report says why.
func TestS7_SealedSecrets(t *testing.T) {
	t.Parallel()
	const value = "correct horse battery staple"
	mine, other := identity(t), identity(t)
	of := func(ns, name string, ids *agesecret.Identities) string {
		text, err := agesecret.Seal(job.Key{Namespace: ns, Name: name}, value, []string{ids.Recipient()})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	ns := newOrder("x").Key.Namespace
	for name, c := range map[string]struct {
		sealed, list string
		ids          *agesecret.Identities
		want         string
	}{
		"mine":              {of(ns, "pw", mine), "", mine, ""},
		"a rule":            {of(ns, "pw", mine), "rules: [{name: " + ns + "/p*}]", mine, ""},
		"no rule":           {of(ns, "pw", mine), "rules: [{name: other/*}, {file: /x}]", mine, "no rule of this minion's list of secrets, secrets.yaml, allows job"},
		"an empty list":     {of(ns, "pw", mine), "rules: []", mine, "no rule of this minion's list"},
		"of another":        {of(ns, "pw", other), "", mine, "is not sealed to this minion, whose key is " + mine.Recipient() + "; seal it anew"},
		"another name":      {of(ns, "other", mine), "", mine, "was sealed as another secret"},
		"another namespace": {of("other", "pw", mine), "", mine, "was sealed as another secret"},
		"no key":            {of(ns, "pw", mine), "", nil, "has no key that opens secrets"},
		"none":              {"", "", mine, "the order came without secret " + ns + "/pw: there is none, or"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, dir := newNode(t), dataDir(t)
			var l *secrets.List
			if c.list != "" {
				l = secretList(t, "%s", c.list)
			}
			n.change = func(d *Deps) { d.Secrets, d.Identities = l, c.ids }
			start(t, n, dir)
			o := newOrder("/bin/sh", "-c", `echo "${#PW} $PW"`)
			o.Secrets = map[string]job.OrderSecret{"PW": {Secret: &job.SecretRef{Name: "pw"}, Sealed: c.sealed, Mask: true}}
			n.order(o)
			r := n.final(o)
			if c.want == "" && (r.State != job.StateSucceeded || r.Stdout.Head != "28 ***\n") || c.want != "" && (r.State != job.StateRejected || !strings.Contains(r.Reason, c.want)) || strings.Contains(fmt.Sprintf("%+v", r), value) {
				t.Errorf("%+v", r)
			}
			nowhereIn(t, dir, value)
			text, err := (&record{Kind: kindAccepted, Order: o}).encode()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := decodeRecord(text); err != nil || again.Order.Secrets["PW"].Sealed != c.sealed {
				t.Errorf("from the journal: %+v, %v", again.Order, err)
			}
		})
	}
}
