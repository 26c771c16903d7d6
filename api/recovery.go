package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// RecoverRequest asks to let a cluster go on that is held since a restore.
type RecoverRequest struct {
	Order
	// DryRun: only the plan is made.
	DryRun bool
	// AcceptUnknown: minions that do not answer are not waited for. What they may have run
	// is recorded as indeterminate, and not run again.
	AcceptUnknown bool
	// LostAt is when the cluster was lost; zero: when it was restored. What was due after it
	// has certainly not run.
	LostAt time.Time
	// Adopt: etcd went back without `carillon restore`; what it holds is to be gone on from.
	// The cluster is held then, in a new epoch, and is to be recovered next.
	Adopt bool
}

// Recovery tells what is known of the time between a backup and its restore, and what
// becomes of it.
type Recovery struct {
	Epoch int64 `json:"epoch"`
	// TakenAt is when the backup was taken, LostAt up to when something may have run.
	TakenAt time.Time `json:"takenAt"`
	LostAt  time.Time `json:"lostAt"`
	// Answered is how many minions were asked and have answered; Silent are those that
	// have not.
	Answered int            `json:"answered"`
	Silent   []SilentMinion `json:"silent"`
	// Ran are the runs that minions know of and the backup does not, Open those of them that
	// have not ended. Indeterminate are occurrences that a silent minion may have run.
	Ran           int `json:"ran"`
	Open          int `json:"open"`
	Indeterminate int `json:"indeterminate"`
	// Left are the occurrences that nobody has run: the misfire policies of their jobs
	// decide.
	Left int `json:"left"`
	// Jobs are those of which something is to be told, at most MaxRecoveredJobs; MoreJobs
	// counts the others.
	Jobs     []RecoveredJob `json:"jobs"`
	MoreJobs int            `json:"moreJobs,omitempty"`
	// Lost are jobs that the backup does not know, and that minions have run.
	Lost []LostJob `json:"lost"`
	// Done: it was done, and the cluster goes on. Adopted: it is held in a new epoch.
	Done    bool `json:"done"`
	Adopted bool `json:"adopted,omitempty"`
}

// MaxRecoveredJobs bounds the jobs that a Recovery names.
const MaxRecoveredJobs = 1000

// SilentMinion is a minion that has not told what it has run.
type SilentMinion struct {
	Minion job.MinionID `json:"minion"`
	Reason string       `json:"reason"`
}

// RecoveredJob tells what becomes of a job's occurrences after a backup.
type RecoveredJob struct {
	Namespace     string `json:"namespace"`
	Name          string `json:"name"`
	Ran           int    `json:"ran"`
	Open          int    `json:"open,omitempty"`
	Indeterminate int    `json:"indeterminate,omitempty"`
	Left          int    `json:"left"`
	Policy        string `json:"policy,omitempty"`
}

// LostJob is a job that was made, or made anew, after a backup.
type LostJob struct {
	UID       job.UID `json:"uid"`
	Namespace string  `json:"namespace,omitempty"`
	Name      string  `json:"name,omitempty"`
	Runs      int     `json:"runs"`
}
