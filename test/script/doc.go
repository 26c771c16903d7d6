// Package script tests the real binaries by the pages in testdata, written as
// testscripts: what a user types, and what comes back.
//
// Beyond testscript's own commands there are:
//
//	exits CODE PROGRAM...         runs PROGRAM, which must end with CODE
//	freeport VAR...               sets each variable to a port of 127.0.0.1 that is this page's
//	expand FILE...                replaces $VAR in the files
//	setfrom VAR FILE              sets a variable to what a file holds
//	waitready URL                 waits until URL/readyz answers 200
//	waitlines FILE N              waits until FILE has N lines
//	eventually REGEXP PROGRAM...  runs PROGRAM until its stdout matches
//	idp NAME[:GROUP,...]...       starts an identity provider, $ISSUER, that knows them
//	signin NAME                   it takes each browser for NAME's
//	confirm NAME                  NAME confirms a login by a code that was begun
//	signout NAME URL STATUS       it ends NAME's sessions, and tells URL, which answers STATUS
//	checkfires FIRES RUNS STEP    compares what a job wrote with what is recorded; see checkFires
//
// $PLATFORM is that of the binaries, as linux/amd64; worker-next is a worker of
// another version.
//
// A wait has no limit but that of the test run.
//
// # Tests
//
// Each page of the documentation that shows commands is run with real programs and a
// cluster of its own: half a minute.
package script
