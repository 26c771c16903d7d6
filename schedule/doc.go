// Package schedule turns cron expressions into instants, and into English. It
// is pure: no clock, no I/O. Fields are parsed by robfig/cron; the search for
// the next instant is our own, because it must end for every expression and
// every time zone, and because time zones jump.
//
// # What is understood
//
//	MIN HOUR DAY MONTH WEEKDAY          five fields, as in crontab(5)
//	SEC MIN HOUR DAY MONTH WEEKDAY      six fields
//	@yearly @monthly @weekly @daily @hourly
//	@every 90s                          multiples of 90 s since 1970-01-01T00:00:00Z,
//	                                    so a restart or another owner shifts nothing
//	@at 2027-01-01T09:00:00Z            once
//	CRON_TZ=Europe/Berlin 0 9 * * *     in that zone, whatever the job's is
//
// When day and weekday are both restricted, either is enough, as in Vixie cron.
//
// # When clocks are put forward or back
//
//	S1  An expression with every hour (`*` or `*/1`) goes by elapsed time: it
//	    runs through, also twice through an hour that is repeated.
//	S2  Any other one runs once per matching wall-clock time: an instant in an
//	    hour that is left out runs when that hour would have ended, and in an
//	    hour that is repeated it runs in the first.
//	S3  Next is strictly after its argument, and ends for every expression.
//	S4  An expression that never comes due is refused when it is parsed.
//
// Time zones come from the embedded tz database, so that all nodes agree.
package schedule
