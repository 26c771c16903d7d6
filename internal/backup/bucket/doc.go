// Package bucket keeps backups in a bucket of a store that speaks S3. It is apart from
// package backup so that nodes, which write no backups there, do not link it.
package bucket
