// Package export copies the sealed records of the audit to where etcd does not reach: a
// file of JSON lines, or a syslog. Each node that is told to exports all records of the
// cluster, segment by segment, at its own pace.
//
// # Invariants
//
//	E1. A segment is told as a whole, in order: its records, then its hash. What is
//	    told of it last is where the export goes on.
//	E2. A file has each segment once, however the node ends: the lines of a segment are
//	    synced before its number is remembered, and what lies behind the last whole
//	    segment is cut off when the node starts. The number is found in the file itself
//	    when what was remembered is older, or gone.
//	E3. A file that was moved away is made anew, and goes on with the next segment.
//	E4. A syslog has each segment at least once: nobody tells us what it has kept.
//	E5. What cannot be written is written later. Nothing waits for it: neither what is
//	    recorded, nor what seals.
//	E6. A chain that is another one than was exported, after a backup was restored, is
//	    told from the first segment on that is not known to be the same, behind a line
//	    that says so. What was exported before stays.
//
// # Failures
//
//	the disk is full, or the       what was written of the segment is cut off, the log
//	syslog is away                 says so, and it is tried again
//	the file is no export          the node does not start: nothing is written into it
//	the export was away for so     a line tells which segments it lacks
//	long that segments are gone
//	a backup was restored          a line tells from where on the segments follow again
//
// # What is not promised
//
// That a syslog which takes a message keeps it. That a file which somebody edits is
// found to be edited: compare it with the cluster, by carillon audit verify --file.
package export
