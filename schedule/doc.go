// Package schedule turns cron expressions into instants, and into English. It
// is pure: no clock, no I/O but for time zones. robfig/cron compiles the
// fields; the search for the next instant is our own, because it must end for
// every expression and every zone, and because zones jump.
//
// # What is understood
//
//	MIN HOUR DAY MONTH WEEKDAY          five fields, as in crontab(5)
//	SEC MIN HOUR DAY MONTH WEEKDAY      six fields
//	@yearly @monthly @weekly @daily @hourly, also @annually and @midnight
//	@every 90s                          multiples of 90 s since 1970-01-01T00:00:00Z,
//	                                    so a restart or another owner shifts nothing
//	@at 2027-01-01T09:00:00Z            once
//	CRON_TZ=Europe/Berlin 0 9 * * *     in that zone, whatever the job's is; also TZ=
//
// A field is a list (1,15) of numbers, names (JAN, MON; any case), ranges (1-5),
// `*` or `?`, each but a single number with a step (*/5, 8-18/2); 3/15 means from
// 3 to the end in steps of 15. Sunday is 0 and 7. @every takes a whole number of
// milliseconds from MinEvery to MaxEvery.
//
// Day and weekday are as in Vixie cron: when both are restricted, either is
// enough; when one of them begins with `*`, both have to match (so "*/2" and
// MON mean: a Monday with an odd date).
//
// # Invariants
//
//	S1  An expression that has every hour of the day goes by elapsed time: it
//	    runs through when clocks jump, also twice through an hour that comes twice.
//	S2  Any other one runs once per matching time on the wall clock. Times that
//	    are left out when clocks go forward run together at the end of the gap.
//	    Times that come twice when clocks go back run the first time.
//	S3  Next is strictly after its argument, never skips an instant, and ends, for
//	    every expression and zone (a zone may leave out a whole day).
//	S4  An expression that names no date that exists ("0 0 30 2 *") is refused by
//	    Parse.
//	S5  @every depends on nothing but the clock.
//
// Instants lie from 1700 to 2261, the range of a fire's identity: Next says that
// there is no further one beyond.
//
// # Time zones
//
// zone.go embeds the time zone database, here and not in a main package: every
// binary that reads schedules links this package, and no other binary should
// grow by it. A host's own, often newer, database goes first, as in all of Go;
// hosts with different databases may plan different instants around a change
// of law, but a fire's identity is its instant, so none runs twice.
package schedule
