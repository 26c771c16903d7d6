// Package fieldrange holds messages of a wire protocol against the ranges of
// their fields, in the bytes as they came: before anything is decoded, so that a
// message that is refused costs no memory beyond its own.
//
// A Table says for each field of each message what is legal. A Checker is made
// of it for one message; that fails for a field without a range and for a range
// without a field, so a field that is added to the protocol has one or the
// program does not start.
//
// # Invariants
//
//	R1  What Check lets through has every known field within its range, however
//	    often a sender repeats it.
//	R2  A repeated field, and a map, has at most its Items; any other field comes
//	    once.
//	R3  Fields that are not known are let through, as the protocol promises; the
//	    size of the whole bounds them.
//	R4  Check keeps nothing. Its error tells how large a value is, and not what it
//	    is, but for what a Range.Check says of a text that is short enough.
package fieldrange
