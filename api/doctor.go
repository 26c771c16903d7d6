package api

// CheckStatus is the result of one check of the doctor.
type CheckStatus string

// The results of a check.
const (
	CheckOK   CheckStatus = "ok"
	CheckWarn CheckStatus = "warn"
	CheckFail CheckStatus = "fail"
)

// Check is one line of the doctor's findings.
type Check struct {
	Name   string      `json:"name"`
	Status CheckStatus `json:"status"`
	Detail string      `json:"detail"`
	// Hint says what to do; empty when all is well.
	Hint string `json:"hint,omitempty"`
}
