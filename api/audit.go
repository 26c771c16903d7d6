package api

import "time"

// AuditRecord is one entry of the audit log: what an operator has ordered.
type AuditRecord struct {
	At time.Time `json:"at"`
	By string    `json:"by,omitempty"`
	// Action is what was done, as "lock.break" or "node.drain".
	Action string `json:"action"`
	// Object is what it was done to.
	Object string `json:"object"`
	Reason string `json:"reason,omitempty"`
	// Before is the object's value before, when it had one.
	Before string `json:"before,omitempty"`
}

// Order is what an operator asks for, and why.
type Order struct {
	By     string
	Reason string
}

// MaxAudit bounds a listing of audit records.
const MaxAudit = 1000
