package job

import "time"

// Former is what a job was before an edit.
type Former struct {
	Generation int64 `json:"generation"`
	// UpdatedAt is since when it was so, AppliedBy who applied it, and ReplacedAt when it
	// was edited.
	UpdatedAt  time.Time `json:"updatedAt"`
	AppliedBy  string    `json:"appliedBy,omitempty"`
	ReplacedAt time.Time `json:"replacedAt"`

	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        Spec              `json:"spec"`
}
