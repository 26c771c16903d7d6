package api

import "github.com/carillon-cron/carillon/job"

// SecretDetail is a secret of the cluster, sealed, and what uses it.
type SecretDetail struct {
	job.Secret
	// Jobs and Queues are those whose variables name it.
	Jobs   []job.Key `json:"jobs" nullable:"false"`
	Queues []job.Key `json:"queues" nullable:"false"`
}
