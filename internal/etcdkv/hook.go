package etcdkv

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// HookSecret is what calls of a job's webhook are signed with.
type HookSecret struct {
	Schema int `json:"schema"`
	// Key is the job's when the secret was made.
	Key       job.Key   `json:"key"`
	Secret    string    `json:"secret"`
	By        string    `json:"by,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
}

// HookCall is a call of a job's webhook that has started a run: the same call again
// starts none.
type HookCall struct {
	Schema int        `json:"schema"`
	Fire   job.FireID `json:"fire"`
	// Body is the SHA-256 of what the call said, in hexadecimal.
	Body string    `json:"body"`
	At   time.Time `json:"at"`
}
