package apply

import (
	"slices"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// A step that is larger than its range, in a dialect that takes it, is a warning when
// the job is applied.
func TestWideStepsAreWarnedOf(t *testing.T) {
	t.Parallel()
	o := manifest.Object{Kind: job.KindJob, Metadata: job.Metadata{Name: "x"}, Spec: job.Spec{
		Schedules: []string{"*/5 * * * *", "*/90 * * * *"}, Dialect: job.DialectKubernetes, Command: []string{"x"},
	}}
	if p := manifest.Validate(&o); len(p) > 0 {
		t.Fatal(p)
	}
	want := []string{`spec.schedules[1]: "*/90 * * * *": the step 90 is larger than the range 0-59, so that only 0 matches; the largest is 59`}
	if got := scheduleWarnings(&o); !slices.Equal(got, want) {
		t.Errorf("warnings %q, want %q", got, want)
	}
	o.Spec.Dialect = ""
	if p := manifest.Validate(&o); len(p) != 1 || p[0].Path != "spec.schedules[1]" {
		t.Errorf("the own dialect: %v", p)
	}
}

// A zone that moves nothing is taken, and said to move nothing.
func TestIdleZonesAreWarnedOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec job.Spec
		warn bool
	}{
		{job.Spec{Schedules: []string{"*/5 * * * *"}, TimeZone: "Europe/Berlin"}, true},
		{job.Spec{Schedules: []string{"*/5 * * * *"}, TimeZone: "UTC"}, false},
		{job.Spec{Schedules: []string{"*/5 * * * *"}}, false},
		{job.Spec{Schedules: []string{"*/30 * * * *"}, TimeZone: "Asia/Kathmandu"}, false},
		{job.Spec{Schedules: []string{"*/5 * * * *", "@daily"}, TimeZone: "Europe/Berlin"}, false},
		{job.Spec{Schedules: []string{"*/5 * * * *", "CRON_TZ=UTC @daily"}, TimeZone: "Europe/Berlin"}, true},
		{job.Spec{Schedules: []string{"0 * * * *"}, TimeZone: "Europe/Berlin", Calendars: []string{"c"}, OnExcluded: job.ExcludedNext}, false},
	} {
		o := manifest.Object{Kind: job.KindJob, Metadata: job.Metadata{Name: "x"}, Spec: c.spec}
		got := scheduleWarnings(&o)
		if len(got) > 0 != c.warn || c.warn && !strings.HasPrefix(got[0], "spec.timeZone: moves nothing as long as the schedule is */5 * * * *") {
			t.Errorf("%+v: warned %q, want one: %v", c.spec, got, c.warn)
		}
	}
}

// A job that is called as a word of pause is taken, and how to pause it is told.
func TestJobCalledAllIsWarnedOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"backup": nil, "all": {"metadata.name: `carillon pause all` and resume mean another thing; write `carillon pause job all` for this job"},
	} {
		if got := nameWarnings(&manifest.Object{Kind: job.KindJob, Metadata: job.Metadata{Name: name}}); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
