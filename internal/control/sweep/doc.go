// Package sweep removes what has come to its end and nobody deletes: jobs that were
// made for one run, pauses, backfills, texts of scripts.
//
// Not in it: what of them has come to its end. Each room knows that of its own.
package sweep
