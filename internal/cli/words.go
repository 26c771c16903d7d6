package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// nounVerbs are the verbs behind which stands what they are about, as in get jobs.
func nounVerbs() []string { return []string{"get", "describe", "delete"} }

// jobNameVerbs are the verbs behind which stands the name of a job.
func jobNameVerbs() []string {
	return []string{"pause", "resume", "enable", "disable", "run", "runs", "logs", "next", "versions", "rollback"}
}

// shortNouns are short words for things that are in no file.
func shortNouns() map[string]string {
	return map[string]string{"no": "nodes", "m": "minions", "mi": "minions", "sh": "shards", "r": "runs", "bf": "backfills", "lk": "lock"}
}

// asMeant returns the arguments with words as people type them in the form that the verbs
// read: KIND/NAME is split in two, and a kind may be written in another case, in short, or
// with the first letters that only one has. What is not understood stays as it is, and the
// verbs tell what is wrong with it.
func asMeant(root *cobra.Command, args []string) ([]string, error) {
	args = slices.Clone(args)
	words := wordsIn(args, root.PersistentFlags())
	if len(words) == 0 {
		return args, nil
	}
	verb := args[words[0]]
	i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == verb })
	if i < 0 {
		return args, nil
	}
	cmd := root.Commands()[i]
	words = wordsIn(args, append([]*pflag.FlagSet{root.PersistentFlags(), cmd.PersistentFlags(), cmd.Flags()}, flagsBelow(cmd)...)...)
	if len(words) < 2 {
		return args, nil
	}
	switch {
	case slices.Contains(nounVerbs(), verb):
		return nounsAsMeant(cmd, args, words[1:])
	case slices.Contains(jobNameVerbs(), verb):
		return jobsAsMeant(cmd, args, words[1:])
	}
	return args, nil
}

func flagsBelow(cmd *cobra.Command) []*pflag.FlagSet {
	var sets []*pflag.FlagSet
	for _, c := range cmd.Commands() {
		sets = append(sets, c.Flags())
	}
	return sets
}

// wordsIn returns where in args the words are that are neither flags nor their values.
func wordsIn(args []string, sets ...*pflag.FlagSet) []int {
	takes := func(find func(*pflag.FlagSet) *pflag.Flag) bool {
		for _, s := range sets {
			if f := find(s); f != nil {
				return f.NoOptDefVal == ""
			}
		}
		return false
	}
	var words []int
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return words
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			words = append(words, i)
		case strings.Contains(arg, "="):
		case strings.HasPrefix(arg, "--"):
			if takes(func(s *pflag.FlagSet) *pflag.Flag { return s.Lookup(arg[2:]) }) {
				i++
			}
		default: // -A, -An team, -nteam
			for at := 1; at < len(arg); at++ {
				if !takes(func(s *pflag.FlagSet) *pflag.Flag { return s.ShorthandLookup(arg[at : at+1]) }) {
					continue
				}
				if at == len(arg)-1 {
					i++
				}
				break
			}
		}
	}
	return words
}

// nounsAsMeant has the noun behind a verb be one of its commands.
func nounsAsMeant(cmd *cobra.Command, args []string, words []int) ([]string, error) {
	at := words[0]
	word, name, named := strings.Cut(args[at], "/")
	noun, known := nounMeant(cmd, word)
	if !known {
		return args, nil
	}
	if !named {
		args[at] = noun
		return args, nil
	}
	args[at] = name
	for _, w := range words[1:] {
		other, rest, also := strings.Cut(args[w], "/")
		if !also {
			continue
		}
		switch n, ok := nounMeant(cmd, other); {
		case !ok: // a namespace
		case n != noun:
			return nil, usagef("%s: %s and %s are two kinds; give the names of one kind at a time", cmd.CommandPath(), noun, n)
		default:
			args[w] = rest
		}
	}
	return slices.Insert(args, at, noun), nil
}

// nounMeant returns the command of a verb that a word means.
func nounMeant(cmd *cobra.Command, word string) (string, bool) {
	lower := strings.ToLower(word)
	find := func(w string) (string, bool) {
		for _, c := range cmd.Commands() {
			if c.Name() == w || slices.Contains(c.Aliases, w) {
				return c.Name(), true
			}
		}
		return "", false
	}
	for _, w := range []string{word, lower, shortNouns()[lower]} {
		if noun, ok := find(w); ok && w != "" {
			return noun, true
		}
	}
	for _, kind := range manifest.Kinds() {
		if words := kindWords(kind); slices.Contains(words, lower) {
			return find(words[0])
		}
	}
	if len(lower) < 2 {
		return "", false
	}
	var begun []string
	for _, c := range cmd.Commands() {
		if slices.ContainsFunc(append([]string{c.Name()}, c.Aliases...), func(w string) bool { return strings.HasPrefix(strings.ToLower(w), lower) }) {
			begun = append(begun, c.Name())
		}
	}
	if len(begun) != 1 {
		return "", false
	}
	return begun[0], true
}

// jobsAsMeant reads job/NAME, and group/NAME where the verb is of groups, too. A job of a
// namespace that is called job is job/job/NAME. Short words are not read there, as more
// namespaces may be called so.
func jobsAsMeant(cmd *cobra.Command, args []string, words []int) ([]string, error) {
	scope := ""
	for _, at := range words {
		word, name, named := strings.Cut(args[at], "/")
		if !named {
			continue
		}
		lower := strings.ToLower(word)
		switch noun, below := nounMeant(cmd, lower); {
		case slices.Contains(kindWords(job.KindJob)[:2], lower):
			args[at] = name
		case below && slices.Contains(kindWords(job.KindGroup)[:2], lower):
			args[at], scope = name, noun
		}
	}
	if scope != "" {
		return slices.Insert(args, words[0], scope), nil
	}
	return args, nil
}
