// Package audit records what people do: together with what is done, in one transaction.
// It shows these records, masks the secrets in them, and counts what was refused.
//
// Not in it: the chain that the records are sealed in (see internal/audit/chain), and
// where they are exported to (see internal/audit/export).
package audit
