// Package authpb is the wire protocol by which minions enroll, generated from
// enroll.proto by `make generate`.
package authpb
