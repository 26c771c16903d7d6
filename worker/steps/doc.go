// Package steps runs the steps of a task one after the other: the minion has its
// shim start this runner as the task's command, so that one kill, one timeout and
// one control group cover the runner and all that it starts.
//
//	minion --plan file--> shim --> runner --> step, step, step
//	minion <--------result file----+
//
// # States of a step
//
//	waiting --> running --> succeeded | failed | timed-out | cancelled
//	   +-----> skipped
//
// A step is skipped when what came before does not meet its condition. A failed
// or timed-out step counts as failure for those behind it, unless it is continued.
// Once the runner is asked to end (SIGTERM), the running step is cancelled and no
// further one starts, whatever its condition.
//
// # Invariants
//
//	I1. At most one step runs at a time, and none starts before the one before it
//	    has ended with all processes of its group.
//	I2. The exit code is that of the first step that failed and was not
//	    continued, and 0 when there is none: 128 and the number for a signal, 124
//	    for a timeout, 127 for what could not be started.
//	I3. Nothing but the steps writes to stdout; the runner writes to stderr only
//	    lines "step NAME: ..." about steps that did not succeed.
//	I4. The result file tells of every step that has ended as soon as it has; it is
//	    written in place, as its directory is not the user's.
//	I5. A step dies with the runner: SIGKILL of the runner kills the step's leader.
//
// # Failures
//
//	a step cannot be started     it has failed with exit code 127; the others go on as after a failure
//	a step's timeout             SIGTERM to its group, SIGKILL after Grace
//	the result file is full      the steps run; what cannot be written is missing in the record
//	the plan cannot be read      nothing runs, exit code 127
//
// # What is not promised
//
// That the result file is true: the steps run as the same user and can write it.
// It is for people; the task's state is its exit code. Processes that leave the
// step's process group outlive the step's timeout, but not the task's.
package steps
