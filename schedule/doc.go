// Package schedule turns cron expressions into instants, and into English. It
// is pure: no clock, no I/O but for time zones. robfig/cron compiles the
// fields; the search for the next instant is our own, because it must end for
// every expression and every zone, and because zones jump.
//
// # What is understood
//
//	MIN HOUR DAY MONTH WEEKDAY          five fields, as in crontab(5)
//	SEC MIN HOUR DAY MONTH WEEKDAY      six fields
//	SEC MIN HOUR DAY MONTH WEEKDAY YEAR seven
//	@yearly @monthly @weekly @daily @hourly, also @annually and @midnight
//	@every 90s                          multiples of 90 s since 1970-01-01T00:00:00Z,
//	                                    so a restart or another owner shifts nothing
//	@at 2027-01-01T09:00:00Z            once
//	CRON_TZ=Europe/Berlin 0 9 * * *     in that zone, whatever the job's is; also TZ=
//
// A field is a list (1,15) of numbers, names (JAN, MON; any case), ranges (1-5),
// `*` or `?`, each but a single number with a step (*/5, 8-18/2); 3/15 means from
// 3 to the end in steps of 15. Sunday is 0 and 7. Years go from 1970 to 2261.
// @every takes a whole number of milliseconds from MinEvery to MaxEvery.
//
//	L     in DAY the last day of the month; L-3: three days before it
//	15W   in DAY the working day (Monday to Friday) nearest the 15th, in the same
//	      month; in a shorter month, 31W is nearest the last day, but in the
//	      dialect quartz there is none then: 29W, 30W and 31W leave months out
//	LW    in DAY the last working day; L-3W: the one nearest to L-3
//	5L    in WEEKDAY the last Friday of the month, also FRIL; L alone is Saturday
//	5#3   in WEEKDAY the third Friday of the month, also FRI#3
//	H     anywhere but in YEAR: a value that follows from the job's name, so that
//	      jobs spread; H(0-29) in a range, H/15 every 15 from such a start. In DAY
//	      it is 1 to 28.
//
// Day and weekday are as in Vixie cron: when both are restricted, either is
// enough; when one of them begins with `*`, both have to match (so "*/2" and
// MON mean: a Monday with an odd date).
//
// # Dialects
//
//	            fields  Sunday  day and weekday     L W #  H  22-2  gap, fold by default
//	carillon    5 6 7   0 or 7  as above            yes   yes  no   run-at-end, first
//	quartz      6 7     1       one of them is ?    yes   no   yes  run-at-end, first
//	kubernetes  5       0       either is enough,   no    no   no   skip, both
//	                            also behind */2
//	robfig      5 6     as kubernetes
//
// kubernetes and robfig give the instants of robfig/cron v3, but for days
// without a midnight, where that goes astray, and @every, which it counts from
// the start of the process.
//
// # What is read, and refused in new jobs
//
// A schedule that is stored goes on as it was. Options.Strict, which all that is
// new is read with, refuses what does less than it says: a step by which only the
// first value of its range is reached (*/90 of minutes; the dialects whose own
// scheduler takes it take it, too, and Warnings tells), a zone before @every or
// @at, and zones that do not mean the same on every host (CheckZone).
//
// # Invariants
//
//	S1  An expression that has every hour of the day goes by elapsed time: it
//	    runs through when clocks jump, also twice through an hour that comes twice.
//	S2  Any other one follows the wall clock, and runs once per matching time.
//	    Times that are left out when clocks go forward run together at the end of
//	    the gap (run-at-end), do not run (skip), or run as much later as the gap
//	    is long (shift). Times that come twice when clocks go back run the first
//	    time, the second, or both times.
//	S3  Next is strictly after its argument, never skips an instant, and ends, for
//	    every expression and zone (a zone may leave out a whole day).
//	S4  An expression that names no date that exists ("0 0 30 2 *") is refused by
//	    Parse.
//	S5  @every depends on nothing but the clock.
//	S6  Words tells schedules that are due at different times, on the clock of
//	    their zone, apart.
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
