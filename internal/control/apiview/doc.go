// Package apiview turns what is stored, and what the nodes keep, into what the API
// tells, and the other way round where somebody sends it. It is the one place that
// knows both. Not in it: reading, writing and deciding.
package apiview
