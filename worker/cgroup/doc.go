// Package cgroup puts commands into control groups (version 2), so that they
// can be bounded and ended with all that they have started, whatever it does to
// hide.
//
//	DIR                  the minion's own group, or the one that it is given
//	DIR/minion           where the minion itself should be
//	DIR/carillon         parent of all commands; has the controllers
//	DIR/carillon/NAME    one command: memory.max, pids.max, cpu.max, cgroup.kill
//
// # Where the minion has to be
//
// A group that has processes of its own cannot give controllers to its
// children, unless it is the root. A minion that finds itself in a group called
// minion takes the parent, which then has no processes. A systemd unit gets
// that with
//
//	Delegate=yes
//	DelegateSubgroup=minion
//
// The minion does not move itself: the service manager could not start the next
// one in a group that has given its controllers away. Without such a place
// commands get groups all the same, by which they are ended, but no limits.
//
// # Invariants
//
// C1. Make returns a directory only if every limit that was asked for has been
// written to it. A limit that cannot be enforced is an error, never ignored.
// C2. No process is moved, and nothing is changed above DIR.
// C3. Sweep removes only groups without processes: the kernel refuses the rest.
//
// # What is not promised
//
// A command that runs as root may leave its group. What it has a service
// manager or a container engine start for it was never in it.
package cgroup
