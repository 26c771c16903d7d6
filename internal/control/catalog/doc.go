// Package catalog shows jobs: which there are, one of them in full, when it is due
// next and why not, and what became of an instant of it. It also deletes a job.
//
// Not in it: how jobs are written (see apply), and where they lie (see jobstore).
package catalog
