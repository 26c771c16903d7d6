package manifest

import (
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

func TestDefaultsThatCannotBe(t *testing.T) {
	t.Parallel()
	told := ""
	for _, p := range Validate(&Object{Kind: job.KindDefaults, Metadata: job.Metadata{Namespace: "ops", Name: "mine"}, Defaults: job.DefaultsSpec{TimeZone: "Mars/Base"}}) {
		told += p.Path + ": " + p.Message + "\n"
	}
	for _, want := range []string{"metadata.name: is \"mine\"; a namespace has one set of defaults, and its name is defaults", "spec.timeZone: ", "Mars/Base"} {
		if !strings.Contains(told, want) {
			t.Errorf("%s is not told of:\n%s", want, told)
		}
	}
}

// TestFill: a zone has no effect on what goes by no clock, and stays away from it.
func TestFill(t *testing.T) {
	t.Parallel()
	d := job.DefaultsSpec{TimeZone: "Europe/Berlin"}
	for schedule, want := range map[string]string{"0 3 * * *": "Europe/Berlin", "@every 5m": ""} {
		o := Object{Kind: job.KindJob, Metadata: job.Metadata{Namespace: "ops", Name: "a"}, Spec: job.Spec{Schedules: []string{schedule}, Command: []string{"true"}}}
		if told, problems := Fill(&o, &d); o.Spec.TimeZone != want || len(told) != len(want)/len("Europe/Berlin") || len(problems) > 0 {
			t.Errorf("%s: %q, %v %v", schedule, o.Spec.TimeZone, told, problems)
		}
	}
}
