// Package minion wires the worker process: flags and environment in, the
// minion and its small HTTP service out. The HTTP service has /metrics, /livez
// and /readyz; it is there only when an address is configured.
//
// It links neither the etcd client nor viper: a worker needs a handful of
// settings and starts quickly.
package minion
