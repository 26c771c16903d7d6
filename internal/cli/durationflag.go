package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// durationFlag is the value of a flag that takes a duration, in days as well: 30d, 1d12h.
// A day has 24 hours.
type durationFlag struct{ to *time.Duration }

// addDuration adds a flag that takes a duration.
func addDuration(flags *pflag.FlagSet, to *time.Duration, name string, otherwise time.Duration, usage string) {
	*to = otherwise
	flags.Var(durationFlag{to}, name, usage)
	if otherwise == 0 {
		flags.Lookup(name).DefValue = "0" // of which help says nothing
	}
}

func (f durationFlag) String() string {
	if f.to == nil {
		return "0s"
	}
	return f.to.String()
}

func (durationFlag) Type() string { return "duration" }

// Set implements pflag.Value.
func (f durationFlag) Set(text string) error {
	d, err := parseDuration(text)
	if err != nil {
		return err
	}
	*f.to = d
	return nil
}

// parseDuration reads what time.ParseDuration reads, with days before it.
func parseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q: want a number with a unit (ms, s, m, h, d), as in 90s, 1h30m or 30d", text)
	unsigned, minus := strings.CutPrefix(text, "-")
	days, rest, found := strings.Cut(unsigned, "d")
	if !found {
		days, rest = "0", unsigned
	}
	n, err := strconv.ParseUint(days, 10, 16) // more would not fit by far
	if err != nil {
		return 0, wrong
	}
	var part time.Duration
	if rest != "" || !found {
		if part, err = time.ParseDuration(rest); err != nil || strings.ContainsAny(rest[:1], "+-") {
			return 0, wrong
		}
	}
	const day = 24 * time.Hour
	d := time.Duration(n)*day + part
	if d < part {
		return 0, wrong
	}
	if minus {
		d = -d
	}
	return d, nil
}
