// Command fault runs a real cluster, disturbs it, and checks what became of
// every occurrence.
//
//	go run ./test/fault -scenario kill -for 60s -seed 7
//
// It builds the binaries and starts them as processes: one etcd, three
// schedulers, two workers. Jobs that are due every second append their fire id
// to one file, the trace; a line is one write. While they fire, a scenario
// disturbs the cluster every few seconds. Then it waits until every occurrence
// of the time before is decided, pauses the jobs, waits until no run is open,
// and compares three things: the occurrences that the schedules say there
// were, the trace, and the run records.
//
//	duplicates   fires that are in the trace more than once
//	missing      occurrences that are not in the trace, and have no record that
//	             says, with a reason, why they were not run
//	unaccounted  fires about which trace and records disagree: recorded as run
//	             without a trace, in the trace without a record that says so,
//	             started before their instant, or no occurrence of their job
//
// The last line is the result; the exit code is 0 if all three are 0. A
// scenario is a file that disturbs; the rest is shared.
package main
