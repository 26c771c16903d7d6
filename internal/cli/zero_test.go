package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A flag that is given as zero or as an empty text is never taken for its default,
// on no command: it is refused with what to write, or its help says what 0 means.
func TestZeroFlagsAreRefused(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"pause backup --for 0s":                     "--for is 0s: leave it out for a pause that lasts until `carillon resume`",
		"pause group g --for 0s":                    "--for is 0s: leave it out",
		"exec -t * --limit 0s -- true":              "--limit is 0s: leave it out for the default, 1h; no run is without a bound: the longest is 720h",
		"exec -t * --pause 0s --batch 5 -- true":    "--pause is 0s: leave it out to start the next minion as one ends",
		"exec -t * --canary a --canaries 0 -- true": "--canaries is 0: leave it out for all that --canary matches",
		"exec -t * --batch= -- true":                "--batch is empty: leave it out to start everywhere at once",
		"exec --target= -- true":                    "--target is empty: '*' stands for all minions",
		"lock a --limit 0 -- true":                  "--limit 0: give 1 or more",
		"get runs --limit 0":                        "--limit 0: give a number above zero, or --all",
		"audit --limit 0":                           "--limit 0: give 1 or more",
		"next --schedule @daily --tz=":              "--tz is empty: leave it out for UTC",
		"next --schedule @daily --count 0":          "--count 0: give a number from 1 to 10000",
		"minions token --ttl 0s":                    "--ttl is 0s: give how long, as in 1h",
		"minions token --uses 0":                    "--uses is 0: give 1 or more",
	} {
		var stdout, stderr strings.Builder
		a := newApp(Options{Args: strings.Fields(args), Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr})
		if code := a.main(t.Context()); code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %q; want %q", args, code, stderr.String(), want)
		}
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, set := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.InheritedFlags()} {
			set.VisitAll(func(f *pflag.Flag) {
				kind := f.Value.Type()
				if kind != "int" && kind != "int64" && kind != "duration" && kind != "string" || strings.Contains(f.Usage, "(0:") {
					return
				}
				zero := map[string]string{"int": "0", "int64": "0", "duration": "0s", "string": ""}[kind]
				if err := f.Value.Set(zero); err != nil {
					return // refused anyhow
				}
				err := checkZero(f)
				if taken := zeroMeans(f.Name) || checkedItself(f); (err == nil) != taken {
					t.Errorf("%s --%s %q: %v", cmd.CommandPath(), f.Name, zero, err)
				}
			})
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(newApp(Options{}).root())
}

// zeroMeans are the flags whose zero does what it says.
func zeroMeans(name string) bool {
	switch name {
	case "priority", // of a lock: none
		"grace",      // the command is ended at once
		"lock-delay", // others are not kept out
		"tolerate",   // no failure is tolerated
		"every",      // instants are run as soon as they can
		"purpose":    // nobody is told what for
		return true
	}
	return false
}
