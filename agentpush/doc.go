// Package agentpush brings orders to minions and reports back.
//
// A Hub runs in every node. Minions connect out to any node; a hub holds the
// sessions of those that chose its node, and one link to each peer that it has
// something to say to. The engine of a node hands its hub orders for minions
// wherever they are, and gets reports from wherever they come. The package
// knows nothing of etcd: the app feeds it from views, and it writes through two
// small interfaces.
//
// # An order's way
//
//	engine -> hub -> topic -> channel's slot -> stream -> minion
//	           |
//	           +-> link -> peer's hub -> topic -> ...
//
//	queued     in the topic: a bounded memory queue per minion
//	offered    in the slot: sent, and not yet answered; one offer at a time,
//	           which takes up to OfferMax messages of what is queued
//	forwarded  on a link: the peer answers for it
//	taken      the minion has journaled it and answers for it
//
// A message is an order, a question (what became of a task?) or a cancel. An
// order lives until its NotAfter. Messages for a minion that is connected
// nowhere wait here; when presence says that it has come to a peer they follow
// it there, and when it comes here they are offered.
//
// # Invariants
//
//	I1  Every order ends: the minion takes it; or exactly one report tells its
//	    shard's owner that it was dropped, that it never reached the minion,
//	    or that nobody can know. None is lost silently while its node lives.
//	I2  At most one session per minion is live at a node. Over nodes, the one
//	    with the highest epoch counts, and a node that sees a higher one than
//	    its own ends its own.
//	I3  At most one offer is with a minion: the next is made when the minion
//	    has taken the last, or in a new session.
//	I4  What was offered, and not taken when the session broke, is offered
//	    again, ahead of the rest. It may have been accepted: so it never ends
//	    as dropped or as delivery-timeout, which may be tried again elsewhere,
//	    but as indeterminate. The minion refuses what it has started already.
//	I5  No minion waits for another: a stalled one holds up its own pump only.
//	I6  What a link has carried and the peer has not settled is delivered anew
//	    when the link breaks, by whatever way is open then. The peer forgets
//	    what it has not offered yet.
//	I7  A full topic drops its oldest order, never the new one, and says so; as
//	    long as questions wait, it drops these. A question about an order that
//	    waits in the same topic, or that is asked there already, is not queued.
//	    An order whose HoldUntil passes while it waits is not offered: its owner
//	    hears that it was never accepted, and orders it again. Else a minion that
//	    is offered more than it takes in the time of a lease would be busy giving
//	    orders back, and do none.
//	I8  A report reaches the engine of the node that owns its shard at the time
//	    of arrival. One that finds no owner is tried again for ReportRetry.
//	I9  A report speaks of tasks of the minion whose session it came by, and for
//	    the minion's process at the other end of the stream, whatever it has written.
//	I10 Nothing that the engine calls blocks, and no lock is held while
//	    foreign code runs.
//	I11 A minion is not believed: each field of each of its frames has a range
//	    (bounds.go), held against the bytes before they are decoded. What is
//	    beyond ends the session, with an error that names the field, how large
//	    it is and what is allowed. Minions cut what is longer (agentpb.FitFacts,
//	    agentpb.FromReport), so none is refused for honest data.
//	I12 What a node holds or writes for what minions have sent has a budget in
//	    bytes, for one and for all (budget.go): output for readers, texts and answers for
//	    minions, reports that wait, descriptions. What a minion says of itself
//	    too often counts later, and only the newest.
//	I13 The times of a report lie between the task's instant and the report's
//	    arrival, give or take MaxSkew: others are set right, and the reason says
//	    so. A minion's clock is never a ground to refuse what became of a task.
//	I14 An order's end of a lease is never later for the reader than it is: on
//	    each hop the sender says how far its clock is ahead of the reader's at
//	    most, and the reader subtracts that. Where the two clocks are not known
//	    to the sender the end is dropped, and the order is not bound by it.
//	I15 An order, a question or a cancel of this node's engine goes with the node's
//	    signature, however it goes, once all nodes sign (package signature); one of
//	    another node with that node's, unchanged. A certificate is told once in a session and on a link.
//
// # Parts
//
// Hub is what the rest of the program calls. It makes the parts, each with its own
// state and lock, and does nothing itself:
//
//	topic, channel  what waits for one minion, and its one offer
//	channels        those of this node; pumps send what is in them
//	router          messages to channels here, or to links
//	link, links     to peers; peers are the connections, inbounds the other end
//	reports         what became of tasks, to the engines; retries are those that wait
//	frames          minions' streams: reads frames, and gives each to whom it is for
//	admission       who gets a session; conflicts: two processes with one id
//	sessions        opens and ends sessions
//	health          which minions get no orders, and why
//	Inventory       what is known of all minions: fed by the app; its parts share one
//	                roster: locals, with sessions here; locations, where minions are;
//	                targets, who is admitted; absences, since when who is away
//	presence        writes which minions are here; registrar: what they are like
//	balance         has minions go to other nodes
//	outputs, texts  tasks' output, scripts' texts
//	shares          what tasks ask of the state that they share, to the owners of their shards
//	updates         releases
//	signing         signatures of what minions are told
//	queries         what nodes hold, by asking them
//	sweeper         looks at what has run out
//
// What the parts do to one message, report or description costs the same however
// many wait; waiting_bench_test.go shows it. Not here: what a task is (package job),
// when orders are made (package scheduler), what is stored (the app does it, behind
// Registry), which targets admit what (package target).
//
// # Clocks
//
// Nodes read one another's wall clocks by the call Time, and minions' by their hello,
// the welcome and the first beat, for whoever keeps the node's time. A node whose
// clock is in doubt says so, and is not counted.
//
// An order's HoldUntil is on the monotonic clock of whoever has the order, which
// no step of a wall clock moves. Who reads orders tells its clock: a minion in
// its hello and in every beat, the callee of a link in its hello and whenever it
// settles. Its word takes a while, so the sender's clock, read when it has come,
// is ahead of it by more than in truth: a bound. The least of all counts, and
// ages by 0.05 percent, which is how much faster one clock may run than another
// (see agentpb.Ahead). So a lease may end too early for a minion, by what its
// best word took; the order comes back then, and is sent again. What is sent on a
// link before the peer has told its clock, which is awaited for a second, is bound
// by no end; nor are orders to minions and by nodes of releases that know none.
//
// # Who answers for an order
//
// The node whose engine sent it, until another node has it on an open link; that
// node until it settles: when the minion took it, or when its end is reported.
// When a link breaks, the sender answers again, and marks what it sends anew as
// possibly offered (I4). A hub that holds a message from a link that broke drops
// it silently if it is not offered yet, and leaves its end to the sender.
//
// # Releases
//
// SetUpdate has minions told of a release, which the hub does not look into, once
// in each of their sessions here. It is no order: nothing waits for an answer, and
// what comes of it is in the minion's facts. See internal/update.
//
// # What may fail
//
//	minion does not read         its one offer stays in the slot, its topic fills: I7
//	minion does not beat         BeatMisses beats later its session is closed: I4
//	connection breaks            I4
//	two processes use one id     the older session is probed with an empty
//	                             offer; if it answers, the newer one is refused.
//	                             One that comes to another node is sent to the
//	                             node of the older session first
//	minion is in trouble         it gets no orders, and is told of (Uncontrollable)
//	minions crowd at one node    it asks some to go to the others, a few at a time
//	minion goes to another node  presence says so; what waits here follows it
//	peer crashes, link breaks    I6; the link is opened anew after PeerReconnect
//	peer hangs                   keep-alive breaks the link after 15 s; an order
//	                             not settled 20 s after its end is indeterminate
//	shard changes its owner      reports go to the new one; those under way are
//	                             sent on (I8)
//	owner's node crashes         its orders that are not offered vanish with
//	                             it; the next owner asks, and orders again
//	node stops                   minions are asked to leave (Drain); what waits
//	                             is the next owner's to ask about
//	a frame is out of its range  I11; the minion comes again, and is refused again
//	minion does not read texts   StallAfter later its session is closed
//	owner of a run's shard gone  what its tasks ask is not answered, and they are told so; a
//	                             write that was on its way is told as unsure
//	text cannot be read          the minion's fetch is not answered; it asks again
//	registry cannot be written   presence and descriptions are tried again;
//	                             minions here work on
//
// # Goroutines
//
// A topic's pump and a channel's pump, parked, would be two goroutines per
// minion beside those of gRPC: memory for nothing, as most minions are idle. A
// fixed pool of senders would be worse: as many stalled minions as it has
// workers stop everybody. So a pump is a goroutine on demand. Whoever adds work
// to a channel, or frees its slot, starts it; it sends until nothing may be
// sent, and ends. A session parks two goroutines: gRPC's handler, which waits
// for the session's end (a server can end a stream only by returning), and the
// receiver.
//
// # Not promised
//
// That an order is taken once: after a broken link or session it may be offered
// again, and the minion's journal makes the second time harmless. That a report
// arrives once: engines take what is final the first time. That questions,
// cancels and acknowledgements arrive: they are repeated by whoever needs them.
// That two processes with one id at two nodes are told apart where the newer one
// cannot reach the node of the older one, or where both come at the same moment:
// the higher session ends the other then, and an order that was offered to one
// may have been started by both.
package agentpush
