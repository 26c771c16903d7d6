// Package allow is a minion's own list of what may be started on its host,
// whatever nodes order. The list is a file of rules; a start that no rule admits
// is refused.
//
//	rules:
//	  - name: restart
//	    program: /usr/bin/systemctl        # or script: SHA-256, or handler: NAME
//	    args: [restart, {glob: "app-*"}]   # exactly, by a glob, or: any
//	    user: [deploy]
//	    workingDir: /srv/app
//	    env: {TZ: UTC, LANG: {any: true}}
//	    params: [release]
//	    subjects: [ada@example.org, {glob: "token *"}]
//
// # Invariants
//
//	I1. What a rule does not name, a start may not have: no arguments, no other
//	    account than the minion's own, no directory of the order's choice, no
//	    variable. A variable counts whatever its name is, because nobody can list
//	    those that load code or change what runs. Those that Carillon sets itself, in
//	    the form that it gives them, need no name: which of them a start has depends
//	    on attempts and causes. Parameters and payloads are not among them.
//	I2. A program is the file that would be run, with all links resolved, under
//	    the name by which it is called (program.Place). How the order spells it
//	    does not matter, nor does the search path.
//	I3. A program counts only where nobody but root, the minion's own account and
//	    the account that runs it could change it or a directory above it.
//	I4. A script is its text: the SHA-256 of what is run, with its interpreter
//	    and the interpreter's arguments exactly as the rule has them.
//	I6. A rule with subjects admits a start only if it names who has caused it,
//	    who has applied what is started, and, of an item that a job has put, who has
//	    applied that job: the order tells them. A rule without
//	    does not look at them: who may order is first of all the cluster's to say.
//	I5. A file with a problem is refused as a whole, with all its problems and
//	    their lines. So is one that others than its owner may write.
//
// # Failures
//
//	no rule admits a start      refused: the reason names the nearest rule, and all that differs
//	a rule's program is gone    that rule admits nothing, and the reason says so
//	a link cannot be resolved   as above
//	the file changes later      nothing: it is read when the minion starts
//
// # What is not promised
//
// What an admitted program does with its arguments, its files and the values of
// its parameters. Files that it reads, such as a script that it is given by its
// path: name a script by its digest instead. That root, or the owner of the
// program, does not replace it between the last look and its start; see package
// program. Timeouts and limits, which only make a start smaller.
package allow
