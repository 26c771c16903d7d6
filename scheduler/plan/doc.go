// Package plan says when a job is due, and what becomes of each instant.
//
// In it:
//
//   - Timing: a job's schedule, its bounds, its calendars, and the schedules that it
//     had before, as one thing that is asked for the next instant (timing.go,
//     calendar.go);
//   - Decide: what becomes of instants that have come: which run, which are skipped,
//     and which are missed (decide.go);
//   - Overlap: what an overlap policy says to a run whose start has come while another
//     one of the job runs (overlap.go).
//
// These are the first two and the third of the questions that package scheduler asks
// of an instant. They are answered from what is given alone: instants in, fates out.
// The package is pure: no etcd, no goroutine, no clock of its own, no logging.
//
// Not in it: the timers (package timers), what is committed and written, pauses (which
// come in as Rules.Closed), and starts that somebody asked for: triggers and backfills
// have instants of their own.
//
// # What it costs
//
// A job without calendars and earlier schedules is asked without allocation. What looks
// at calendars is counted in steps (Look.Steps): a caller bounds what one plan takes,
// and a job of which more would have to be looked at than calendar.SearchSteps is set
// aside (I21 of package scheduler).
package plan
