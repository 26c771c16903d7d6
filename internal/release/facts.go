package release

import (
	"strconv"
	"strings"
)

// The facts by which a minion tells nodes of its releases.
const (
	// factUpdate is "on" or "off".
	factUpdate = "carillon_update"
	// factRelease is the number of the confirmed manifest, or of the own program.
	factRelease = "carillon_release"
	// factFailed is "NUMBER: reason" of the manifest that was given up last.
	factFailed = "carillon_update_failed"
)

// Facts are what a minion tells of its releases.
type Facts struct {
	// On: it updates itself.
	On bool
	// Release is the manifest that it has confirmed, or its own program's number.
	Release Number
	// Failed is the manifest that it has given up last, Reason why. Zero: none.
	Failed Number
	Reason string
}

// Map returns the facts as a minion tells them.
func (f Facts) Map() map[string]string {
	facts := map[string]string{factUpdate: "off", factRelease: strconv.FormatInt(int64(f.Release), 10)}
	if f.On {
		facts[factUpdate] = "on"
	}
	if f.Failed != 0 {
		facts[factFailed] = strconv.FormatInt(int64(f.Failed), 10) + ": " + f.Reason
	}
	return facts
}

// FactsOf reads what a minion has told. What is missing, or cannot be read, is
// zero: such a minion does not update itself, as far as anybody knows.
func FactsOf(facts map[string]string) Facts {
	f := Facts{On: facts[factUpdate] == "on", Release: number(facts[factRelease])}
	text, reason, _ := strings.Cut(facts[factFailed], ": ")
	if f.Failed = number(text); f.Failed != 0 {
		f.Reason = reason
	}
	return f
}

func number(text string) Number {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return Number(n)
}
