package api

import "github.com/carillon-cron/carillon/job"

// Role is a role as the API tells it.
type Role struct {
	job.Role

	// BuiltIn: every cluster has it, and it cannot be changed.
	BuiltIn bool `json:"builtIn,omitempty"`
}
