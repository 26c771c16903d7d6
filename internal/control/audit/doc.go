// Package audit writes what operators order together with a record of it, in one
// transaction. Not in it: reading the records, which is the use case of operators
// (see cluster).
package audit
