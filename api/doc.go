// Package api holds what is sent over Carillon's HTTP API: the requests, the answers,
// and the limits of both. The server, the Go client, the command line and the page
// share it.
//
// What is in here is the API's contract. How things are kept in etcd is not: a
// conversion in the server stands between a stored value and what is told of it, so
// that a key's value can change and the API stays. Jobs, runs, calendars and the like
// are told as they are written in files: they are of package job.
//
// All times are in UTC. A field that may be left out says in its comment what that
// means. All values are plain data: they may be copied, and are not safe to change from
// several goroutines at a time.
package api
