package schedule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/job"
)

// grammar is what a dialect allows in the fields of an expression.
type grammar struct {
	// counts are the numbers of fields allowed; forms tells them in words.
	counts []int
	forms  string
	// weekday is the unit of the field day of week; in numbers, Sunday is
	// sunday, the least one allowed if not 0.
	weekday unit
	// special: L, W and # are known; hash: H is.
	special, hash bool
	// wraps: a range may go over the end, as FRI-MON.
	wraps bool
	// oneDay: exactly one of day of month and day of week has to be `?`.
	oneDay bool
	// strictStar: a star with a step restricts a day field.
	strictStar bool
	// wideSteps: a step may be larger than its field, as the scheduler takes it
	// whose dialect this is.
	wideSteps bool
	// exactNear: 31W is nothing in a month without a 31st.
	exactNear bool
	gap       job.Gap
	fold      job.Fold
}

var (
	fiveForms  = "five fields (minute hour day month weekday)"
	sixForms   = fiveForms + ", six (second first)"
	sevenForms = sixForms + ", seven (year last)"
	grammars   = map[job.Dialect]*grammar{
		job.DialectCarillon: {
			counts: []int{5, 6, 7}, forms: sevenForms, weekday: unit{"day of week", 0, 7, weekdays},
			special: true, hash: true, gap: job.GapRunAtEnd, fold: job.FoldFirst,
		},
		job.DialectQuartz: {
			counts: []int{6, 7}, forms: "six fields (second minute hour day month weekday), seven (year last)", weekday: unit{"day of week", 1, 7, weekdays},
			special: true, wraps: true, oneDay: true, wideSteps: true, exactNear: true, gap: job.GapRunAtEnd, fold: job.FoldFirst,
		},
		job.DialectKubernetes: {
			counts: []int{5}, forms: fiveForms, weekday: unit{"day of week", 0, 6, weekdays},
			strictStar: true, wideSteps: true, gap: job.GapSkip, fold: job.FoldBoth,
		},
		job.DialectRobfig: {
			counts: []int{5, 6}, forms: sixForms, weekday: unit{"day of week", 0, 6, weekdays},
			strictStar: true, wideSteps: true, gap: job.GapSkip, fold: job.FoldBoth,
		},
	}
)

// examples of expressions, for messages.
func (g *grammar) examples() string {
	return g.forms + ", @daily, @every 5m, or @at 2027-01-01T00:00:00Z"
}

// settle sets the defaults of the options, and refuses words that they do not know.
func (o *Options) settle() (*grammar, error) {
	if o.Dialect == "" {
		o.Dialect = job.DialectCarillon
	}
	g, ok := grammars[o.Dialect]
	if !ok {
		return nil, unknown("dialect", o.Dialect, job.Dialects())
	}
	if o.Gap == "" {
		o.Gap = g.gap
	}
	if o.Fold == "" {
		o.Fold = g.fold
	}
	if !slices.Contains(job.Gaps(), o.Gap) {
		return nil, unknown("gap", o.Gap, job.Gaps())
	}
	if !slices.Contains(job.Folds(), o.Fold) {
		return nil, unknown("fold", o.Fold, job.Folds())
	}
	return g, nil
}

func unknown[T ~string](what string, v T, allowed []T) error {
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	hint := ""
	if near, ok := job.Nearest(string(v), words); ok {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("%s %q is unknown%s (allowed: %s)", what, string(v), hint, strings.Join(words, ", "))
}

// jumps says what a schedule does when clocks jump.
type jumps uint8

const (
	skipGap jumps = 1 << iota
	shiftGap
	runFirst
	runSecond
)

func jumpsOf(d job.DST) jumps {
	var j jumps
	switch d.Gap {
	case job.GapSkip:
		j = skipGap
	case job.GapShift:
		j = shiftGap
	case job.GapRunAtEnd: // neither
	}
	switch d.Fold {
	case job.FoldFirst:
		j |= runFirst
	case job.FoldSecond:
		j |= runSecond
	case job.FoldBoth:
		j |= runFirst | runSecond
	}
	return j
}
