// Package backups takes backups of what etcd holds for those who ask a node for one, and
// records that they did. What is in them: package internal/backup.
package backups
