// Package agenttest provides minions that exist in memory only: they speak the
// wire protocol, journal nothing, and end every task at once. Thousands of them
// run in one process, for tests and for benchmarks.
package agenttest
