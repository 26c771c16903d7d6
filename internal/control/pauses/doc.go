// Package pauses pauses the scheduled runs of a job, a group, a namespace or of all,
// and ends pauses. A pause stays for a while after its end, so that no owner who
// comes late runs what was due meanwhile.
//
// Not in it: what a pause does to an occurrence; that is the scheduler's to plan.
package pauses
