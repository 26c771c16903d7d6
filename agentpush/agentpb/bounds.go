package agentpb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-cron/carillon/job"
)

// Revoked is what ends the session of a minion whose certificate was revoked.
const Revoked = "the minion's certificate was revoked"

// Bounds of what a minion may tell a node. Nodes end a session that goes beyond
// them, so minions keep to them: what is too long is cut, and says so.
const (
	// MaxFrame is the largest message of a minion, in bytes: the largest batch of
	// reports, and a good deal of room.
	MaxFrame = 256 << 10
	// MaxLabels is how many labels a minion may ask for, MaxFacts how many facts
	// it may tell. MaxFact is the longest value of a fact, MaxInventory the size of
	// all names and values together.
	MaxLabels    = job.MaxLabels
	MaxFacts     = 320
	MaxFact      = 1024
	MaxInventory = 32 << 10
	// MaxReports is how many reports go into one message, and MaxReportBytes the
	// size of one.
	MaxReports     = 256
	MaxReportBytes = 64 << 10
	// BatchBytes is how much of reports a minion puts into one message before it
	// sends it.
	BatchBytes = 96 << 10
	// MaxReason is the longest word on why a task ended as it did, or why output
	// cannot be read.
	MaxReason = 4 << 10
	// MaxSignal is the longest name of a signal.
	MaxSignal = 64
	// MaxChunk is the most output that goes into one message.
	MaxChunk = 16 << 10
	// ChunkWeight is what a chunk of output counts in a reader's window beside its
	// data.
	ChunkWeight = 256
	// MaxFetch is how many texts one message may ask for: as many as one order has.
	MaxFetch = job.MaxSteps + 1
	// MaxShared is how many requests of a minion's tasks for shared state may be open at a
	// time, MaxSharedRequest how many bytes one has.
	MaxShared        = 1024
	MaxSharedRequest = 32 << 10
	// MaxTroubles and MaxTrouble bound what troubles a minion: how many words, and
	// how long each.
	MaxTroubles = 8
	MaxTrouble  = 120
	// MaxVersion and MaxInstance are the longest names of a release and of a
	// process.
	MaxVersion  = 128
	MaxInstance = 128
	// MaxTook is the longest that a step may have taken.
	MaxTook = 366 * 24 * time.Hour
	// MaxRunning is more tasks than any minion runs at a time.
	MaxRunning = 1 << 20
	// MaxSession is the highest number of a session.
	MaxSession = 1 << 62
)

// FactsLeftOut is the fact that tells what is wrong with the others. It is the
// minion's own.
const FactsLeftOut = "facts_error"

// EarliestTime and LatestTime bound every instant that a minion tells: whatever
// its clock says.
func EarliestTime() time.Time { return time.Unix(0, 0).UTC() }

// LatestTime is the end of what EarliestTime is the beginning of.
func LatestTime() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }

// Cut returns the beginning of a text, as much as has n bytes; what is cut off is
// shown by three dots. The result is valid UTF-8 if the text is.
func Cut(text string, n int) string {
	const more = "..."
	if len(text) <= n {
		return text
	}
	n -= len(more)
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + more
}

// FitFacts returns the facts that a minion may tell. First come those in keep;
// then as many of the others as there is room for, in the order of their names.
// What is left out is counted in the fact FactsLeftOut. Labels are told beside
// the facts, and take of their room.
func FitFacts(found, keep, labels map[string]string) map[string]string {
	const own = 1 << 10 // for FactsLeftOut
	out := make(map[string]string, len(found))
	left, size, broken := 0, 0, 0
	for k, v := range labels {
		size += len(k) + len(v)
	}
	add := func(k string) {
		v := found[k]
		switch n := len(k) + len(v); {
		case job.CheckName(k) != nil || len(v) > MaxFact || !utf8.ValidString(v):
			broken++
		case len(out) >= MaxFacts-1 || size+n > MaxInventory-own:
			left++
		default:
			out[k] = v
			size += n
		}
	}
	names := slices.Sorted(maps.Keys(found))
	for _, first := range []bool{true, false} {
		for _, k := range names {
			if _, kept := keep[k]; kept == first && k != FactsLeftOut {
				add(k)
			}
		}
	}
	var why []string
	if said := found[FactsLeftOut]; said != "" {
		why = append(why, said)
	}
	if left > 0 {
		why = append([]string{fmt.Sprintf("%d facts left out: a minion tells at most %d facts, of %d bytes together", left, MaxFacts, MaxInventory)}, why...)
	}
	if broken > 0 {
		why = append([]string{fmt.Sprintf("%d facts left out: a fact has a name and a value of at most %d bytes", broken, MaxFact)}, why...)
	}
	if len(why) > 0 {
		out[FactsLeftOut] = Cut(strings.ToValidUTF8(strings.Join(why, "; "), "\uFFFD"), own-len(FactsLeftOut))
	}
	return out
}
