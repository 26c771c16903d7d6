// Package cli is the carillon command: a tree of verbs over the HTTP API.
//
// Data goes to stdout, everything else to stderr, so that `-o json`, `-o yaml`
// and `-o name` can be piped. Messages begin in lower case and end without a
// full stop; problems in files are printed one per line as
// `file:line: path: message`.
//
// # Exit codes
//
//	0    ok
//	1    failed: the server refused, a run did not succeed, a check of the doctor failed
//	2    usage: an unknown verb, flag or value, or a manifest with problems
//	3    not found
//	4    conflict: somebody else changed it meanwhile
//	5    not allowed
//	6    unavailable: the server cannot be reached, or cannot answer now
//	7    not all hosts answered: a command or a run failed nowhere, and some minions were
//	     not reached, took no orders, or are gone
//	124  timed out: --timeout has passed, or the awaited run ran into its own timeout
//	130  interrupted
//
// `diff` ends with 1 where something differs, and with a higher code after any error.
//
// # Parts
//
// app is the tree of verbs. The verbs of each noun are a type: jobVerbs, runVerbs,
// nodeVerbs and so on. Each has the call, with what it needs of it: the client, the
// printer, the clock, the namespace, and the global flags. A new noun is such a type,
// and a line in app.root, getCommand or describeCommand.
//
// The package keeps no state outside Main's call and never ends the process,
// so it is tested in-process.
package cli
