// Command fault runs a real cluster - an etcd, three schedulers, two workers,
// each a process of its own - while 300 jobs fire every second, and kills its
// parts. Each task appends its fire id to a file. An oracle then holds the file
// and the run records against the schedule:
//
//	duplicates   fire ids that stand in the file more than once
//	missing      occurrences that neither ran nor are recorded as not run, with a reason
//	unaccounted  runs recorded as ended on a minion that left no trace in the file
//
// The exit code is 1 unless all three are 0.
package main
