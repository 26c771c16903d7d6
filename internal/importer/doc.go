// Package importer turns what other schedulers run into job files: the lines of a
// crontab, systemd timers with their services, CronJobs of Kubernetes, and what Dkron,
// Rundeck and XXL-JOB export. It is pure: bytes in, objects and a report out. Nothing
// is applied, asked or read.
//
// Each format has a file or a few of its own. They share the book: the list of drafts,
// the names that are taken, and the notes of the report.
//
// # Invariants
//
//	IM1  Every object that Import returns is one that manifest.Decode takes, as Encode
//	     writes it. What would not be is left out, with a note of why.
//	IM2  The same sources and options give the same objects and notes: names follow from
//	     what the sources say and from their order, never from the time or the host.
//	IM3  Nothing is dropped in silence: each entry of a source is an object or a note that
//	     it was left out, and each of its settings that is not carried over has a note.
//	IM4  For any input at all Import ends and does not panic.
//	IM5  Where the other scheduler and Carillon have different defaults, the object says
//	     what the other one does: cron has no time-out, lets runs overlap, and catches up
//	     with nothing, and so do the jobs of a crontab.
//
// # What is not promised
//
// That the command works on a minion: programs, files and accounts are not looked at.
// Names change when entries that are named alike are put before others of a source.
package importer
