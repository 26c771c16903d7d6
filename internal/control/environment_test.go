package control

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// An environment that is too large for some of the minions that the target matches is
// told of when the job is applied, by the least that one of them takes.
func TestEnvironmentTooLargeForMinions(t *testing.T) {
	t.Parallel()
	takes := func(id job.MinionID, n string) job.Minion {
		return job.Minion{ID: id, Node: "n1", Facts: map[string]string{job.FactArgBytes: n}, Labels: map[string]string{"role": "db"}}
	}
	other := takes("other", "131072")
	other.Labels = nil
	away := takes("away", "131072")
	away.Node = ""
	e := setup(t, func(_ *Config, d *Deps) {
		d.Minions = fakeMinions{takes("a", "262144"), takes("b", "131072"), takes("c", "2097152"), takes("old", ""), takes("odd", "x"), other, away}
	})
	job300 := func(match string, kib int) []string {
		o := object("big", func(o *manifest.Object) { o.Spec.Env, o.Spec.Target.Match = map[string]job.EnvValue{}, match })
		for i := range kib / 100 {
			o.Spec.Env["V"+string(rune('A'+i))] = job.Text(strings.Repeat("x", 100<<10))
		}
		results, err := e.Apply(t.Context(), "f", encode(t, o), true)
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Warnings
	}
	const rest = " can start a program with (131072, by the fact argBytes); pass a file instead, or raise the limit of the worker's stack (LimitSTACK= in its unit), of which that is a quarter"
	for _, c := range []struct {
		match string
		kib   int
		want  string
	}{
		{"role == db", 300, "spec.env: with the arguments it comes to 311345 bytes, more than b and 1 more of 5 minions" + rest},
		{"b", 300, "spec.env: with the arguments it comes to 311345 bytes, more than b" + rest},
		{"c or old or odd", 300, ""},
		{"other", 100, ""},
	} {
		got := job300(c.match, c.kib)
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s, %d KiB:\n got %q\nwant %q", c.match, c.kib, got, c.want)
		}
	}
}
