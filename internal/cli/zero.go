package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// zeroMeansZero are flags whose zero, or empty text, is just that.
func zeroMeansZero() []string {
	return []string{"priority", "grace", "lock-delay", "tolerate", "every", "purpose"}
}

// insteadOfZero says what to write instead of the zero of a flag. Of the others
// there is nothing to say but that they can be left out.
func insteadOfZero() map[string]string {
	return map[string]string{
		"for":         "leave it out for a pause that lasts until `carillon resume`",
		"pause":       "leave it out to start the next minion as one ends; for batches that wait for one another, give 1ms or more",
		"canaries":    "leave it out for all that --canary matches, or for none",
		"batch":       "leave it out to start everywhere at once",
		"target":      "'*' stands for all minions",
		"user":        "leave it out for the minion's own account",
		"dir":         "leave it out for the minion's work directory",
		"after":       "leave it out for now",
		"tz":          "leave it out for UTC",
		"ttl":         "give how long, as in 1h",
		"uses":        "give 1 or more",
		"patience":    "give how long, as in 10m",
		"expires":     "give how long, as in 720h",
		"rollback-to": "leave it out for a release that is no rollback",
		"minimum":     "leave it out for no bound",
	}
}

// checkZeros refuses flags that are given as zero, or as an empty text, where that
// would be taken for the default. A flag whose help says what 0 means takes it.
func checkZeros(cmd *cobra.Command) error {
	var wrong []error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err := checkZero(f); err != nil {
			wrong = append(wrong, err)
		}
	})
	if len(wrong) > 0 {
		return &usageError{errors.Join(wrong...)}
	}
	return nil
}

// checkedItself are flags whose commands refuse zero themselves, with what else is wrong.
func checkedItself(f *pflag.Flag) bool {
	return f.Name == "count" || f.Name == "limit" && f.Value.Type() == "int"
}

func checkZero(f *pflag.Flag) error {
	value := f.Value.String()
	zero, ok := map[string]string{"string": "", "int": "0", "int64": "0", "duration": "0s"}[f.Value.Type()]
	if !ok || value != zero || checkedItself(f) {
		return nil
	}
	if strings.Contains(f.Usage, "(0:") || slices.Contains(zeroMeansZero(), f.Name) {
		return nil
	}
	what := "is empty"
	if value != "" {
		what = "is " + value
	}
	instead := insteadOfZero()[f.Name]
	switch {
	case f.Name == "limit" && f.Value.Type() == "duration":
		instead = "leave it out for the default, 1h; no run is without a bound: the longest is 720h"
	case instead == "":
		instead = "give a value, or leave it out"
	}
	return fmt.Errorf("--%s %s: %s", f.Name, what, instead)
}
