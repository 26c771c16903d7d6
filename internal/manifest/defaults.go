package manifest

import (
	"fmt"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/schedule"
)

// checkDefaults tells what is wrong with the defaults of a namespace.
func checkDefaults(o *Object) []job.Problem {
	problems := o.Defaults.Validate()
	if err := schedule.CheckZone(o.Defaults.TimeZone); err != nil {
		problems = append(problems, job.Problem{Path: "spec.timeZone", Message: err.Error()})
	}
	if o.Metadata.Name != job.DefaultsName {
		problems = append(problems, job.Problem{Path: "metadata.name", Message: fmt.Sprintf("is %q; a namespace has one set of defaults, and its name is %s", o.Metadata.Name, job.DefaultsName)})
	}
	return problems
}

// Fill gives a job the defaults of its namespace that it does not say itself and that have
// an effect on it, and returns which, in words, and what is wrong with it since.
func Fill(o *Object, d *job.DefaultsSpec) ([]string, []job.Problem) {
	cache := schedule.NewCache()
	told, problems := d.Fill(&o.Spec, func(s *job.Spec) []job.Problem {
		with := *o
		with.Spec = *s
		return validate(&with, cache)
	})
	for i, p := range problems {
		problems[i] = o.Problem(p.Path, p.Message+", with the defaults of its namespace")
	}
	return told, problems
}
