package api

import (
	"time"

	"github.com/carillon-cron/carillon/job"
)

// ScriptDetail is a script of the library in one of its versions.
type ScriptDetail struct {
	job.SavedScript
	// Versions are all that are kept, the newest first.
	Versions []ScriptVersion `json:"versions"`
	// Jobs are those whose steps name the script.
	Jobs []ScriptUser `json:"jobs"`
}

// ScriptVersion is a version of a script, in short.
type ScriptVersion struct {
	Version   int       `json:"version"`
	SHA256    string    `json:"sha256"`
	CreatedAt time.Time `json:"createdAt"`
}

// ScriptUser is a job that names a script. Version 0 is the newest.
type ScriptUser struct {
	Job     job.Key `json:"job"`
	Version int     `json:"version"`
}
