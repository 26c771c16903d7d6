// Package shim runs the commands of a minion in a process of their own, so
// that commands, and the knowledge of how they ended, outlive the minion.
//
// There is one long-lived shim per data directory, not one per command: the
// start of a Go process costs about 10 ms of processor time, which hundreds of
// commands per second could not pay. The minion (the agent) starts it once and
// talks to it over a Unix socket in the shim's directory; frames are a
// four-byte length and JSON. The package imports little, so that the process
// stays small.
//
// # Life
//
//	agent: no socket -> start "… shim --dir D" -> it locks D, listens, detaches
//	       itself with setsid and the parent part ends -> connect -> hello
//	agent dies:   commands go on; the next agent connects and is told everything
//	shim idle:    no task and no agent for Idle -> it ends and takes the socket away
//	shim dies:    the kernel kills its direct children (parent death signal);
//	              the agent ends what they have left behind (EndOrphans), and
//	              learns from the notes which commands were never started
//
// # Invariants
//
// I1. A key is started at most once in the life of a shim: a second start of
// a key that it knows is ignored. It knows a key until it is told to forget it.
// I2. The exit record is durable in the shim's log before the agent hears of it.
// I3. One agent at a time, and all that an earlier agent sent has been dealt
// with before the next one gets its hello. So a key that the hello of the
// same shim instance does not name was never started, and never will be by
// what was sent before.
// I4. Timeouts are the shim's own: they hold without an agent.
// I5. A timeout or a kill ends the whole tree: the process group, and every
// descendant that left it. A command that has a control group (package cgroup)
// is born in it, and is ended with it. Besides, the shim is their sub-reaper, so they stay its
// descendants; they are told apart by session, group, parent chain and by the
// marks in their environment.
// I6. A command's end is never held up for longer than PipeGrace by a
// background process that keeps its pipes open.
//
// I7. A command has no descriptors but its input and output, whatever the shim was
// started with.
//
// I8. Before a command is started its key is in the shim's file of starts, until it
// is forgotten. The file outlives the shim, not the host. One that cannot be
// written is taken away, and then nothing is known from it.
//
// # What is not promised
//
// Without a control group: a process that leaves its session, loses its parent and wipes its
// environment before the kill is not recognized as part of the task, also when the
// shim itself was killed. Background
// processes that a command leaves behind on a normal end are let live, as cron
// does.
package shim
