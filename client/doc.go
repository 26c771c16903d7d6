// Package client asks a Carillon cluster over its HTTP API.
//
// A [Client] has a part for each kind of thing: Jobs, Runs, Pauses, Minions and so on.
// What is sent and answered is of package api, and of package job where it is written
// in files as well. Nothing in here is kept: each call is one request, and no call is
// tried again by itself.
//
// Errors: an [*Error] is an answer of the server that is an error, with all problems of
// what was sent; an [*UnreachableError] is a server that does not answer. The context
// ends each call; an answer that is not a stream may take [RequestTimeout].
//
// A Client may be used by several goroutines at a time.
//
// What is not in here: metrics and the health checks.
package client
