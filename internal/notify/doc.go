// Package notify tells people what becomes of jobs: it delivers the alerts that shards
// have noted to the receivers of notifiers.
//
// # The way of an alert
//
// Whoever owns a job's shard notices that something is to be told (scheduler/notices.go),
// and writes a note for each notifier that tells of it, in the fenced transaction that it
// writes anyway. A notifier belongs to a hash shard, by its name, as a queue does: whoever
// owns that makes a delivery of each alert of a note, and sees to it until it is settled.
// So all alerts of a notifier are sent by one node at a time, in the order in which they
// came, and grouping and rates count for the cluster.
//
//	noted      a note lies at the notifier
//	pending    a delivery of its own; it waits for its group, for the rate, or for the end of quiet hours
//	sending    told together with others: which ones is stored before it is sent
//	retrying   a try failed; the next one has its time
//	delivered  the receiver has taken it
//	failed     it was tried for a day, or the receiver refuses it for good
//	dropped    too many waited
//
// Which state may follow which is one table (state.go).
//
// What is about the cluster itself, nodes, sites and minions that are lost and etcd's space,
// the owner of the first hash shard looks for (lookout.go), in the same way: it remembers
// what was told in the transaction that writes the notes.
//
// Checks of jobs (`ping`) are told by the node that owns the job, from memory (ping.go):
// who keeps a check notices itself that it hears nothing.
//
// # Invariants
//
//	N1  An alert has one id, by the run and the event, whoever notes it and how often. A
//	    notifier has one delivery of it at most, under that id.
//	N2  A note is removed only in the transaction that stores its deliveries. Both compare
//	    the fence of the notifier's shard, as does each write of a delivery.
//	N3  A delivery is delivered only after its receiver has answered so. One of which the
//	    answer, or the word of it, was lost is sent again under the same message id: at
//	    least once, and receivers that keep ids tell it apart.
//	N4  Which alerts a message of several tells is stored before it is sent first, and
//	    stays so: the same message id is the same alerts.
//	N5  Nothing here is waited for by a shard that fires: notes are operations of its
//	    own writes. A receiver that hangs holds up its own notifier for the timeout of a
//	    call, and no other: each notifier has one message under way, and of all
//	    notifiers of a node so many at a time (MaxCalls) are, which time out.
//	N6  A notifier whose receiver does not answer makes one try per pause, whatever waits:
//	    pauses grow from 5 s to hours, with jitter.
//	N7  What is kept is bounded: MaxOpen deliveries that wait, KeepSettled that are
//	    settled, per notifier. What comes beyond is dropped, and counted.
//	N8  Secrets of receivers are files of the node, below its own directory, in a folder
//	    named as the notifier's namespace: a notifier reaches no other's. They stand in no
//	    record, log or message.
//	N9  A secret whose file names hosts is sent to these only, whatever a notifier says.
//
// # Failures
//
//	owner of the job's shard crashes     before the write: the next one ends the run again,
//	                                     and notes the same alert; after it: nothing is lost
//	owner of the notifier's shard        what is pending is sent by the next one; what was
//	  crashes                            being sent is sent again, under the same id
//	receiver is down, or hangs           it is tried again, see N6; after MaxAttempts it has failed
//	receiver answers 429 or Retry-After  it is left alone for that long
//	receiver answers 410                 the delivery has failed at once
//	a secret's file is missing           as if the receiver were down: the reason is shown
//	a secret is not for the receiver     the same: nothing is sent
//	notifier is edited                   what waits is sent as the notifier is then
//	notifier is deleted                  so are its notes and deliveries
//	etcd cannot be written               what was sent is sent again when it can be
//	calendar is gone                     it is no quiet hour: rather too loud than silent
//
// # Not promised
//
// Exactly once. An order of alerts over the notifiers of a cluster. That a receiver gets
// what waited beyond MaxOpen. That a job's trouble is remembered when it is moved to
// another shard: its recovery is not told then. That a check is told of each run.
package notify
