// Package manifest reads and writes job files: YAML or JSON, several documents
// per file, each with apiVersion, kind, metadata and spec. The fields are those
// of job.Metadata and of the spec of the kind, such as job.Spec or job.GroupSpec,
// under their JSON names.
//
// Reading is strict and complete: Decode returns all problems at once, each
// with its file, line, column and path, what is wrong, and what would be right.
//
// # Invariants
//
//	M1  Decode returns either objects that are valid, or problems; never both,
//	    and for any input at all it ends and does not panic.
//	M2  No field is ignored: what Decode does not know is a problem, and so is a
//	    field that has no effect beside the others (see job.Fields).
//	M3  Decode(Encode(objects)) returns the objects.
//	M4  What aliases expand to is bounded (MaxAliasBytes), as is the file
//	    (MaxBytes) and the number of problems that are told (MaxProblems).
//	M5  A zero, an empty text or an empty list that is given is never taken for the
//	    default: it is refused with what to write, or means just that. A field
//	    without a value is one that is not given.
//	M6  DecodeNames finds the same objects in a file as Decode, and finds them also
//	    where Decode refuses what else is said of them.
//
// # Short forms
//
//	schedule: "*/5 * * * *"       for  schedules: ["*/5 * * * *"]
//	schedules: "*/5 * * * *"      likewise; also target.names and a one-word interpreter
//	script: echo hello            for  script: {source: echo hello}
//
// A command is always a list, because a string could mean a shell line or a
// program's name. Where text is wanted, a number, true or false counts as the
// text that was written: `command: [sleep, 10]`.
package manifest
