// Package starts starts runs beside the schedule and takes orders for open ones:
// by hand, by webhook, as a backfill, again, once for a command; to cancel and to
// promote.
//
// Not in it: looking at runs (see runs). What is asked for here is a key that the
// shard's owner reads and answers by a commit.
package starts
