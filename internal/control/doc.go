// Package control is what people can ask of a cluster: apply, look at, run and
// delete jobs; look at runs and their output, nodes, minions and shards. The
// API and the page are two faces of it.
//
// Every method may be called by many goroutines at once. Errors wrap
// job.ErrNotFound, job.ErrConflict, job.ErrUnavailable or job.ErrNoMinions, or
// are a *job.InvalidError that holds all problems.
package control
