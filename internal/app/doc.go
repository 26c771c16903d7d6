// Package app wires a scheduler node, and `carillon dev`: it opens the data
// directory, etcd, history, the hub, the engine, the API and the page, and
// closes them in the opposite order. The worker's wiring is in app/minion, so
// that the worker links none of this.
package app
