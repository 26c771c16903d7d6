// Package httpapi is Carillon's HTTP API: JSON under /v1, streams of output and
// of changes, health, metrics and an OpenAPI 3.1 description of itself.
//
//	POST   /v1/apply?dryRun=&file=                  apply a manifest
//	GET    /v1/jobs?namespace=&label=k=v&q=&sort=&limit=&cursor=&facets=  list jobs
//	GET    /v1/namespaces/{ns}/jobs/{name}          one job
//	GET    /v1/namespaces/{ns}/jobs/{name}/next     its next instants
//	DELETE /v1/namespaces/{ns}/jobs/{name}          delete it
//	POST   /v1/namespaces/{ns}/jobs/{name}/run      start it now
//	POST   /v1/namespaces/{ns}/jobs/{name}/enable, .../disable
//	GET    /v1/runs?namespace=&job=&state=&q=&limit=&cursor=
//	GET    /v1/runs/{runId}                         one run
//	GET    /v1/runs/{runId}/output?minion=&follow=  newline-delimited JSON
//	GET    /v1/groups?namespace=                    list groups
//	GET    /v1/namespaces/{ns}/groups/{name}        one group
//	DELETE /v1/namespaces/{ns}/groups/{name}        delete it; it must have no jobs
//	POST   /v1/nodes/{name}/drain, .../undrain, .../forget  what operators ask of nodes
//	GET    /v1/etcd/members                         the members of the cluster's own etcd
//	POST   /v1/etcd/members/{name}/add, .../remove, .../move-leader, .../defrag
//	GET    /v1/sites                                sites: nodes, minions, shards, losses
//	POST   /v1/sites/{name}/drain|undrain           all nodes of a site
//	POST   /v1/node-tokens                          a token by which nodes join
//	POST   /v1/shards/{ref}/move, .../hold, .../release, .../failback
//	GET    /v1/audit?limit=&since=&until=&by=&action=&object=&after=  what people did, newest first
//	GET    /v1/audit/sealed?after=, /v1/audit/verify  the same as it is sealed; whether it was changed
//	POST   /v1/tokens, GET /v1/tokens, DELETE /v1/tokens/{ref}  tokens of the API
//	POST   /v1/tokens/{ref}/rotate                              another text for one
//	GET    /v1/auth/self                            who asks
//	GET    /v1/auth/login, POST /v1/auth/login, .../login/finish, /v1/auth/device-login, .../device-login/finish
//	                                                log in by the identity provider
//	DELETE /v1/auth/session                         log out
//	GET    /v1/auth/state, PUT /v1/auth/state       open to everybody, or closed
//	POST   /v1/auth/bootstrap                       become admin, by a file of a node's host
//	GET    /v1/auth/can-i?verb=&resource=           whether who asks may do something
//	GET    /v1/roles, /v1/role-bindings             who may do what
//	DELETE /v1/roles/{name}, /v1/role-bindings/{name}
//	GET    /v1/nodes, /v1/minions, /v1/shards, /v1/doctor, /v1/version
//	POST   /v1/backup                               a backup of what etcd holds
//	POST   /v1/recover                              go on after a restore, or show what would be done
//	GET    /v1/plans?namespace=, GET /v1/plan-schema                plans of other systems
//	POST   /v1/namespaces/{ns}/plans                                send one
//	GET    /v1/namespaces/{ns}/plans/{upstream}/{id}, .../tasks
//	POST   /v1/namespaces/{ns}/plan-reports                         a query in, a report out
//	POST   /v1/namespaces/{ns}/plans/{upstream}/{id}/cancel
//	GET    /v1/events                               changes, as server-sent events
//	GET    /livez, /readyz, /metrics, /openapi.json
//
// Each route says what it wants of its callers, in one table (routeRights) and in the
// document (x-carillon-right); one without a row is not served. The control that the
// API asks decides by it: see package guarded.
//
// Every error is an RFC 9457 problem document, made in one place: see Problem.
//
// Requests by names that are not the node's, and those of pages of other origins,
// are refused on every route: see httpguard.
//
// Who asks is found out before any route: by the token in "Authorization: Bearer", or by
// the account at the other end of the local socket. A token that is not good gets 401,
// or 429 after too many, on every route but /livez and /readyz.
//
// What one caller does is bounded, on each node: requests a second, and streams at a time.
// More get 429, and when they may come again in Retry-After: see Limits. /livez and /readyz
// are not counted.
//
// Each answer names its request in X-Request-Id: by the client's own id, or a new one. The
// audit has it, with where the request came from, and who asks and why in the client's words
// (X-Carillon-By, X-Carillon-Reason) where nothing better is known.
//
// What is read is tagged (ETag) and compressed for who takes it; If-None-Match has 304 for
// what a client has. If-Match names the generation of a job that is applied, deleted or
// turned on and off: with another one nothing is done, and the answer is 412. See packing.
//
// A stream ends when its client goes away. Once bytes of it are out, an error
// can no longer change the status: the output stream ends with a line that has
// the member "error" instead.
package httpapi
