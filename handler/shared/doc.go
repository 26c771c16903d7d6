// Package shared is what the tasks of a run share: small state under the run or its job,
// counters, and barriers. Handlers have it by Call.Shared; programs that a job starts as
// commands by [Connect], which finds the minion's socket and the task's token in the
// environment. Shell scripts use `carillon kv` and `carillon barrier`, which do the same.
//
//	state, err := shared.Connect()
//	defer state.Close()
//	n, err := state.Incr(ctx, "done", 1)
//	err = state.Barrier(ctx, "loaded", shared.Within(10*time.Minute))
//
// The page docs/sharing.md tells what is kept for how long, and the bounds. What the
// cluster promises is in internal/sharing.
//
// # Not promised
//
// That a write whose answer was lost was done, or was not: the error is ErrUnsure then.
// No write is done twice.
package shared
