package job

// Member is a task of an open run, as the owner of its shard sees it.
type Member struct {
	// Refused says why the task is none; empty: it is one.
	Refused string
	// Fire and Run are those of its run, and Job its job.
	Fire FireID
	Run  RunID
	Job  Key
	// Deleted: the job was deleted, or has moved to another shard.
	Deleted bool
	// Owner is the token of the shard's owner.
	Owner Token
	// Tasks is how many the run has.
	Tasks int
}

// Fellow is one of the tasks of an open run.
type Fellow struct {
	// Minion is empty as long as none was chosen. Share is that of the task's fire id.
	Minion  MinionID
	Share   uint32
	Attempt int
	// State is empty as long as the task has not ended for good.
	State State
}
