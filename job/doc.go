// Package job holds Carillon's words: jobs, schedules, fires, runs, tasks,
// targets and policies. It is pure: no I/O, no clock, no etcd.
//
// A Job says what to run, when and where. An occurrence is one due instant of
// a job; its identity is the FireID: job UID, instant and kind of trigger.
// A Run is the execution of an occurrence. A Task is a run's share on one
// minion; an Order tells a minion to start a task, and a Report says what
// became of it.
//
// # Identity
//
// I1. Everything that must not happen twice carries a FireID.
// I2. A FireID never depends on the job's spec: an edit one second before an
// instant cannot make that instant run twice.
// I3. A UID is given once, at creation. Deleting and creating a job again
// under the same name makes a new UID, hence new fires.
// I4. A RunID is a pure function of the FireID, so two owners that look at the
// same occurrence name the same run.
package job
