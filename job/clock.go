package job

// Dialect says how the fields of a cron expression are read.
type Dialect string

// The dialects.
const (
	// DialectCarillon is that of Vixie cron, with seconds, years, L, W, # and H.
	// The default.
	DialectCarillon Dialect = "carillon"
	// DialectQuartz is that of the Quartz scheduler: seconds first, the week
	// begins with SUN = 1, and one of the two day fields is `?`.
	DialectQuartz Dialect = "quartz"
	// DialectKubernetes is that of Kubernetes' CronJob: five fields.
	DialectKubernetes Dialect = "kubernetes"
	// DialectRobfig is that of the Go library robfig/cron: as
	// DialectKubernetes, and seconds may come first.
	DialectRobfig Dialect = "robfig"
)

// Dialects lists the dialects, the default first.
func Dialects() []Dialect {
	return []Dialect{DialectCarillon, DialectQuartz, DialectKubernetes, DialectRobfig}
}

// Gap says how to handle local times that daylight saving skips.
type Gap string

// The gap policies.
const (
	// GapRunAtEnd runs them together, once, when the gap ends.
	GapRunAtEnd Gap = "run-at-end"
	// GapSkip does not run them.
	GapSkip Gap = "skip"
	// GapShift runs each as much later as the gap is long: what was due at
	// 02:30 runs at 03:30.
	GapShift Gap = "shift"
)

// Gaps lists the gap policies.
func Gaps() []Gap { return []Gap{GapRunAtEnd, GapSkip, GapShift} }

// Fold says how to handle local times that daylight saving repeats.
type Fold string

// The fold policies.
const (
	// FoldFirst runs them the first time.
	FoldFirst Fold = "first"
	// FoldSecond runs them the second time.
	FoldSecond Fold = "second"
	// FoldBoth runs them both times.
	FoldBoth Fold = "both"
)

// Folds lists the fold policies.
func Folds() []Fold { return []Fold{FoldFirst, FoldSecond, FoldBoth} }

// DST says what a schedule does when the clocks of its zone jump. Schedules of
// every hour, and @every, run through in any case.
type DST struct {
	// Gap says how to handle local times that daylight saving skips.
	// Empty: run-at-end; skip in the dialects kubernetes and robfig.
	Gap Gap `json:"gap,omitempty"`
	// Fold says how to handle local times that daylight saving repeats.
	// Empty: first; both in the dialects kubernetes and robfig.
	Fold Fold `json:"fold,omitempty"`
}
