// Package apply makes the cluster hold what a manifest says: it reads what is
// stored, works out what changes, warns, and writes it in as few transactions as
// etcd takes. Turning a job on and off is applying, too.
//
// In it: the plan of each kind of object, what jobs name and whether that is there,
// the move of a job to another shard, and whether etcd has room for new jobs. Not in
// it: reading a file (see manifest), and what a single job may say (see job).
package apply
