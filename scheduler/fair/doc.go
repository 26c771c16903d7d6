// Package fair shares a node's time out among the jobs of its shards (I23 of package
// scheduler).
//
// In it: Load, which bounds how many fires a node takes up before it has done with
// some of them; and Line, in which what is ready is served by turns: each job has one
// before another has its second, and every other turn is that of a job that has come
// last.
//
// Not in it: what is due (package timers), and what is done with a turn. There is no
// I/O, no clock and no goroutine here. A Load may be used by many goroutines, a Line
// by one.
package fair
