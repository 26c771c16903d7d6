// Package enroll is what operators decide on who may connect as a minion: tokens,
// requests, certificates that are revoked, minions that are forgotten. What it
// orders is recorded right after it, as the registrar writes it.
//
// Not in it: how certificates are made and checked; that is auth's.
package enroll
