// Package boottime tells the time since the machine's start. It never steps, all
// processes of a machine share it, and on Linux it goes on while the machine is
// suspended: a lease does not wait for anybody to wake.
package boottime
