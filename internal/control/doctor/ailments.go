package doctor

import (
	"cmp"
	"fmt"

	"github.com/carillon-cron/carillon/api"
)

// mostNamed is how many of a kind get a line of their own.
const mostNamed = 10

// ailments are findings of one kind: the first ones get a line each.
type ailments struct {
	name   string
	status api.CheckStatus // empty: a failure
	checks []api.Check
	more   int
	hint   string // for those without a line
	// hidden are those of jobs that the caller may not read.
	hidden int
}

func (a *ailments) add(detail, hint string) {
	if len(a.checks) == mostNamed {
		a.more++
		return
	}
	a.checks = append(a.checks, api.Check{Name: a.name, Status: cmp.Or(a.status, api.CheckFail), Detail: detail, Hint: hint})
}

// all returns the findings, or that there are none.
func (a *ailments) all(well string) []api.Check {
	if a.more > 0 {
		a.checks = append(a.checks, api.Check{Name: a.name, Status: cmp.Or(a.status, api.CheckFail), Detail: fmt.Sprintf("and %d more", a.more), Hint: a.hint})
	}
	if a.hidden > 0 {
		a.checks = append(a.checks, api.Check{Name: a.name, Status: api.CheckFail, Detail: fmt.Sprintf("%d of jobs that you may not read", a.hidden), Hint: "ask who may"})
	}
	if len(a.checks) == 0 {
		return []api.Check{{Name: a.name, Status: api.CheckOK, Detail: well}}
	}
	return a.checks
}
